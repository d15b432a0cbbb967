//! Sockets that listen, of whichever kind, and what they accept.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use async_std::os::unix::net::{UnixListener, UnixStream};
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::AsyncWriteExt;
use futures_lite::future::poll_once;
use smtp_proto::adapter::serving::{LocalAddress, SocketFile};

/// A socket that listens: of async-std or of the standard library, TCP or Unix.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    pub(crate) address: LocalAddress,
    /// The name that goes with the socket.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection that came in. It tells the peer when it closes: the streams of the runtime wait until they are dropped.
pub(crate) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// The same, with a name that goes with it.
    #[cfg(unix)]
    pub(crate) fn named(self, file: SocketFile) -> Self {
        Self { _file: Some(file), ..self }
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, peer))
            }
            #[cfg(unix)]
            Socket::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

impl Accepted {
    /// The addresses of the other end and of this one.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match self {
            Self::Tcp(stream, peer) => (Some(*peer), stream.local_addr().ok()),
            #[cfg(unix)]
            Self::Unix(_) => (None, None),
        }
    }

    /// Says this, if it can be said at once, and closes.
    pub(crate) async fn turn_away(mut self, words: &[u8]) {
        // Who does not take it has to guess.
        let _ = poll_once(self.write(words)).await;
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &mut [u8]) -> Poll<io::Result<usize>> {
        self.reader().poll_read(context, octets)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.get_mut() {
            Self::Tcp(stream, _) => stream.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        })
    }
}

impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: TcpListener) -> io::Result<Self> {
        let address = LocalAddress::Tcp(listener.local_addr()?);
        Ok(Self { socket: Socket::Tcp(listener), address, _file: None })
    }
}

impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        TcpListener::from(listener).try_into()
    }
}

#[cfg(unix)]
impl TryFrom<UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: UnixListener) -> io::Result<Self> {
        let path = listener.local_addr()?.as_pathname().map(Into::into);
        let address = LocalAddress::Unix(path.unwrap_or_default());
        Ok(Self { socket: Socket::Unix(listener), address, _file: None })
    }
}

#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        UnixListener::from(listener).try_into()
    }
}
