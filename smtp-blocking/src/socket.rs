//! A connection to a server, of whichever kind.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(feature = "socks")]
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "socks")]
use std::task::Context;
use std::task::{Poll, Waker};
use std::thread::Builder;
use std::time::Duration;

#[cfg(feature = "socks")]
use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "socks")]
use smtp_proto::adapter::sending::Socks5;
use smtp_proto::adapter::sending::{acknowledge_at_once, open_from};
#[cfg(feature = "socks")]
use tokio_socks::{io::Compat, tcp::Socks5Stream};

use crate::stream::Stream;

/// A connection to a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// What a thread that connects leaves behind, and whom it wakes.
#[derive(Default)]
struct Opening {
    opened: Option<io::Result<TcpStream>>,
    waker: Option<Waker>,
}

impl Socket {
    /// Connects on a thread of its own, so that several can be tried at a time.
    pub(crate) async fn open(address: SocketAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<Self> {
        let opening = Arc::new(Mutex::new(Opening::default()));
        let theirs = Arc::clone(&opening);
        let thread = Builder::new().name("smtp connection".to_owned()).spawn(move || {
            let opened = open(address, source, limit);
            let mut opening = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            opening.opened = Some(opened);
            let waker = opening.waker.take();
            drop(opening);
            waker.into_iter().for_each(Waker::wake);
        });
        if thread.is_err() {
            // Then one after the other.
            return open(address, source, limit).map(Self::Tcp);
        }
        let opened = poll_fn(|context| {
            let mut opening = opening.lock().unwrap_or_else(PoisonError::into_inner);
            match opening.opened.take() {
                Some(opened) => Poll::Ready(opened),
                None => {
                    opening.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        opened.await.map(Self::Tcp)
    }

    /// Sets how long reads and writes wait.
    #[cfg(feature = "socks")]
    pub(crate) fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    /// Asks a proxy, over this connection, for one to that host and port.
    #[cfg(feature = "socks")]
    pub(crate) async fn through(self, host: &str, port: u16, proxy: &Socks5) -> io::Result<Self> {
        let stream = Compat::new(Waiting(self));
        let asked = match proxy.credentials() {
            Some((username, password)) => {
                let password = password.reveal_str().ok_or(io::ErrorKind::InvalidInput)?;
                Socks5Stream::connect_with_password_and_socket(stream, (host, port), username, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
        };
        match asked {
            Ok(stream) => Ok(stream.into_inner().into_inner().0),
            Err(tokio_socks::Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

fn open(address: SocketAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<TcpStream> {
    if limit.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let stream = match source {
        Some(source) => open_from(source, address, limit)?,
        None => TcpStream::connect_timeout(&address, limit)?,
    };
    // Small writes are never to wait for the acknowledgement of earlier ones.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The stream in it, whatever that is.
macro_rules! stream {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            #[cfg(unix)]
            Socket::Unix($stream) => $call,
        }
    };
}

impl Read for Socket {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let received = stream!(self, stream => stream.read(octets))?;
        if let Self::Tcp(stream) = self {
            acknowledge_at_once(stream);
        }
        Ok(received)
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        stream!(self, stream => stream.write(octets))
    }

    fn write_vectored(&mut self, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        stream!(self, stream => stream.write_vectored(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        stream!(self, stream => stream.flush())
    }
}

impl Stream for Socket {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        stream!(self, stream => stream.set_read_timeout(timeout))
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        stream!(self, stream => stream.set_write_timeout(timeout))
    }

    fn is_readable(&self) -> bool {
        stream!(self, stream => Stream::is_readable(stream))
    }

    fn close(&mut self) -> io::Result<()> {
        stream!(self, stream => Stream::close(stream))
    }
}

/// A socket that blocks, where one is asked for that would not.
#[cfg(feature = "socks")]
struct Waiting(Socket);

#[cfg(feature = "socks")]
impl AsyncRead for Waiting {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.read(into))
    }
}

#[cfg(feature = "socks")]
impl AsyncWrite for Waiting {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(octets))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Stream::close(&mut self.0))
    }
}
