//! A connection to a server, of whichever kind.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::Builder;
use std::time::{Duration, Instant};

use smtp_proto::adapter::sending::open_from;

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
    pub(crate) async fn open(address: SocketAddr, source: Option<IpAddr>, until: Instant) -> io::Result<Self> {
        let opening = Arc::new(Mutex::new(Opening::default()));
        let theirs = Arc::clone(&opening);
        let thread = Builder::new().name("smtp connection".to_owned()).spawn(move || {
            let opened = open(address, source, until);
            let mut opening = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            opening.opened = Some(opened);
            let waker = opening.waker.take();
            drop(opening);
            waker.into_iter().for_each(Waker::wake);
        });
        if thread.is_err() {
            // Then one after the other.
            return open(address, source, until).map(Self::Tcp);
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
}

fn open(address: SocketAddr, source: Option<IpAddr>, until: Instant) -> io::Result<TcpStream> {
    let left = until.saturating_duration_since(Instant::now());
    let stream = match source {
        Some(source) => open_from(source, address, until)?,
        None if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
        None => TcpStream::connect_timeout(&address, left)?,
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
        stream!(self, stream => stream.read(octets))
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
