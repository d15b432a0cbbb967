//! Both sides over streams that the application brings along, some of which send nothing before they are flushed.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use smtp_proto::adapter::serving::Handle;
use smtp_proto::client::Outcome;
use smtp_proto::server::{CloseReason, Connection};

use super::support::{Ear, Heard, client_config, envelope, joined, limited, on_tokio, server_config};

/// A stream that keeps what is written until it is flushed.
struct Hoard<S> {
    stream: S,
    held: Vec<u8>,
}

impl<S> Hoard<S> {
    fn new(stream: S) -> Self {
        Self { stream, held: Vec::new() }
    }
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Hoard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: async_std::io::Read + Unpin> async_std::io::Read for Hoard<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

macro_rules! hoarding_writer {
    ($writer:path, $close:ident) => {
        impl<S: $writer + Unpin> $writer for Hoard<S> {
            fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(self.held.write(data))
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Self { stream, held } = self.get_mut();
                while !held.is_empty() {
                    let written = ready!(Pin::new(&mut *stream).poll_write(context, held))?;
                    held.drain(..written);
                }
                Pin::new(stream).poll_flush(context)
            }

            fn $close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                ready!(self.as_mut().poll_flush(context))?;
                Pin::new(&mut self.stream).$close(context)
            }
        }
    };
}

hoarding_writer!(tokio::io::AsyncWrite, poll_shutdown);
hoarding_writer!(async_std::io::Write, poll_close);

impl<S: Read> Read for Hoard<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl<S: Write> Write for Hoard<S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.held.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.held)?;
        self.held.clear();
        self.stream.flush()
    }
}

impl<S: smtp_blocking::Stream> smtp_blocking::Stream for Hoard<S> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        self.stream.close()
    }
}

const CONTENT: &str = "Subject: x\r\n\r\n..\r\nThe end\r\n";

fn ear() -> (Ear, Receiver<(u64, Heard)>) {
    let (tell, heard) = mpsc::channel();
    (Ear::new(1, &tell), heard)
}

fn has_arrived(outcome: &Outcome, heard: &Receiver<(u64, Heard)>) {
    assert!(outcome.is_delivered(), "{outcome:?}");
    let heard: Vec<_> = heard.iter().map(|(_, heard)| heard).collect();
    let [Heard::Message(message), end] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(message.content, CONTENT.as_bytes());
    assert_eq!(*end, Heard::Closing(CloseReason::Quit));
}

macro_rules! asynchronous {
    ($adapter:ident, $ours:ident, $theirs:ident, $ear:ident) => {{
        let server = async {
            let (connection, config) = (Connection::new(1, None), Arc::new(server_config()));
            $adapter::serve_connection($theirs, connection, config, $ear, &Handle::new()).await
        };
        let client = async {
            let mut client = $adapter::Connector::new(client_config()).connect_over($ours, "the other end").await?;
            let outcome = client.send(envelope("jane", &["joe"]), CONTENT).await?;
            client.quit().await?;
            Ok::<_, smtp_proto::adapter::Error>(outcome)
        };
        (server, client)
    }};
}

fn over_tokio<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>((ours, theirs): (S, S)) {
    let (ear, heard) = ear();
    let (server, client) = asynchronous!(smtp_tokio, ours, theirs, ear);
    let (served, outcome) = on_tokio(async { tokio::join!(server, client) });
    served.unwrap();
    has_arrived(&outcome.unwrap(), &heard);
}

#[test]
fn tokio_serves_and_sends_over_a_pipe_of_one_octet() {
    limited(|| over_tokio(tokio::io::duplex(1)));
}

#[test]
fn tokio_serves_and_sends_over_a_stream_that_has_to_be_flushed() {
    limited(|| {
        let (ours, theirs) = tokio::io::duplex(1);
        over_tokio((Hoard::new(ours), Hoard::new(theirs)));
    });
}

fn over_async_std<S>((ours, theirs): (S, S))
where
    S: async_std::io::Read + async_std::io::Write + Unpin + Send + 'static,
{
    let (ear, heard) = ear();
    let (server, client) = asynchronous!(smtp_async_std, ours, theirs, ear);
    let (served, outcome) = async_std::task::block_on(async {
        let server = async_std::task::spawn(server);
        let outcome = client.await;
        (server.await, outcome)
    });
    served.unwrap();
    has_arrived(&outcome.unwrap(), &heard);
}

fn over_threads<S: smtp_blocking::Stream + Send + 'static>((ours, theirs): (S, S)) {
    let (ear, heard) = ear();
    let server = thread::spawn(move || {
        let (connection, config) = (Connection::new(1, None), Arc::new(server_config()));
        smtp_blocking::serve_connection(theirs, connection, config, ear, &Handle::new())
    });
    let mut client = smtp_blocking::Connector::new(client_config()).connect_over(ours, "the other end").unwrap();
    let outcome = client.send(envelope("jane", &["joe"]), CONTENT).unwrap();
    client.quit().unwrap();
    joined(server).unwrap();
    has_arrived(&outcome, &heard);
}

#[cfg(unix)]
mod over_unix_sockets {
    use super::{Hoard, limited, over_async_std, over_threads};

    #[test]
    fn async_std_serves_and_sends() {
        limited(|| over_async_std(async_std::os::unix::net::UnixStream::pair().unwrap()));
    }

    #[test]
    fn async_std_flushes() {
        limited(|| {
            let (ours, theirs) = async_std::os::unix::net::UnixStream::pair().unwrap();
            over_async_std((Hoard::new(ours), Hoard::new(theirs)));
        });
    }

    #[test]
    fn blocking_serves_and_sends() {
        limited(|| over_threads(std::os::unix::net::UnixStream::pair().unwrap()));
    }

    #[test]
    fn blocking_flushes() {
        limited(|| {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            over_threads((Hoard::new(ours), Hoard::new(theirs)));
        });
    }
}
