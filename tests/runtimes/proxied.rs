//! TLS from the first octet behind a PROXY header: both may come in one go, cut anywhere (PROXY-007).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use smtp_proto::adapter::Service;
use smtp_proto::adapter::serving::Handle;
use smtp_proto::server::{CloseReason, Connection, TlsPolicy};
use smtp_tests::runtime::Runtime;

use super::pressure::wide;
use super::secured::{NAME, Secure, server_policy, server_tls, tls_client};
use super::support::{Ear, Heard, Raw, joined, on_tokio};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 465\r\n";

/// A stream whose first read gives so many octets at most.
struct Cut<S> {
    stream: S,
    first: Option<usize>,
}

impl<S: Read> Read for Cut<S> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let most = self.first.unwrap_or(usize::MAX).min(octets.len());
        let received = self.stream.read(&mut octets[..most])?;
        self.first = None;
        Ok(received)
    }
}

impl<S: Write> Write for Cut<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: smtp_blocking::Stream> smtp_blocking::Stream for Cut<S> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn close(&mut self) -> io::Result<()> {
        self.stream.close()
    }
}

impl<S: async_std::io::Read + Unpin> async_std::io::Read for Cut<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = self.first.unwrap_or(usize::MAX).min(octets.len());
        let received = ready!(Pin::new(&mut self.stream).poll_read(context, &mut octets[..most]))?;
        self.first = None;
        Poll::Ready(Ok(received))
    }
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(first) = self.first else { return Pin::new(&mut self.stream).poll_read(context, buffer) };
        let mut octets = vec![0; first.min(buffer.remaining())];
        let mut limited = tokio::io::ReadBuf::new(&mut octets);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut limited))?;
        buffer.put_slice(limited.filled());
        self.first = None;
        Poll::Ready(Ok(()))
    }
}

macro_rules! writer {
    ($writer:path, $close:ident) => {
        impl<S: $writer + Unpin> $writer for Cut<S> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                octets: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write(context, octets)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(context)
            }

            fn $close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).$close(context)
            }
        }
    };
}

writer!(tokio::io::AsyncWrite, poll_shutdown);
writer!(async_std::io::Write, poll_close);

/// Serves one connection whose first read is cut, on another thread; gives how it ended.
fn serve(runtime: Runtime, stream: TcpStream, first: usize) -> thread::JoinHandle<Heard> {
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut config = server_policy(TlsPolicy::Implicit);
        config.proxy_protocol = true;
        let service = Service::new(config).tls(server_tls());
        let (connection, handler, handle) = (Connection::new(1, None), Ear::new(1, &tell), Handle::new());
        let first = Some(first);
        stream.set_nonblocking(runtime != Runtime::Blocking).unwrap();
        let served = match runtime {
            Runtime::Tokio => on_tokio(async {
                let stream = Cut { stream: tokio::net::TcpStream::from_std(stream).unwrap(), first };
                smtp_tokio::serve_connection(stream, connection, service, handler, &handle).await
            }),
            Runtime::AsyncStd => {
                let stream = Cut { stream: async_std::net::TcpStream::from(stream), first };
                let served = smtp_async_std::serve_connection(stream, connection, service, handler, &handle);
                async_std::task::block_on(served)
            }
            Runtime::Blocking => {
                let stream = Cut { stream, first };
                smtp_blocking::serve_connection(stream, connection, service, handler, &handle)
            }
        };
        served.unwrap();
        heard.recv().unwrap().1
    })
}

fn tls_behind_a_proxy_header_may_come_with_it(runtime: Runtime) {
    let mut most = usize::MAX;
    let near = 1..=HEADER.len() + 8;
    let far = (HEADER.len() + 9..).step_by(23);
    for first in near.chain(far) {
        let (ours, theirs) = wide();
        let server = serve(runtime, theirs, first);
        let mut connection = tls_client(NAME);
        let mut opening = HEADER.to_vec();
        connection.write_tls(&mut opening).unwrap();
        most = opening.len();
        (&ours).write_all(&opening).unwrap();
        let mut client = Secure::over(ours, connection).unwrap_or_else(|error| panic!("cut at {first}: {error}"));
        assert!(client.reply().starts_with("220"), "cut at {first}");
        assert!(client.ask("QUIT").starts_with("221"));
        client.end();
        drop(client);
        assert_eq!(joined(server), Heard::Closing(CloseReason::Quit), "cut at {first}");
        if first > most {
            break;
        }
    }
    assert!(most > HEADER.len() + 100, "the handshake begins with more than {most} octets");
}

fn what_is_not_tls_behind_a_proxy_header_is_not_answered(runtime: Runtime) {
    for first in [HEADER.len(), HEADER.len() + 3, 4096] {
        let (ours, theirs) = wide();
        let server = serve(runtime, theirs, first);
        let mut client = Raw::over(ours);
        client.say([HEADER, b"EHLO client.example.org\r\n"].concat());
        let said = client.rest();
        // An alert of TLS, at most.
        assert!(said.is_empty() || said[0] == 21, "{said:?}");
        drop(client);
        assert_eq!(joined(server), Heard::Closing(CloseReason::TlsFailed));
    }
}

on_each_runtime!(tls_behind_a_proxy_header_may_come_with_it, what_is_not_tls_behind_a_proxy_header_is_not_answered);
