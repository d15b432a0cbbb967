//! A connection to a server, of whichever kind.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_std::net::TcpStream;
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use async_std::task::spawn_blocking;
use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "socks")]
use smtp_proto::adapter::sending::Socks5;
use smtp_proto::adapter::sending::{acknowledge_at_once, open_from};
#[cfg(feature = "socks")]
use tokio_socks::{io::Compat, tcp::Socks5Stream};

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

impl Socket {
    pub(crate) async fn open(address: SocketAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<Self> {
        let stream = match source {
            // The runtime has nothing for that.
            Some(source) => spawn_blocking(move || open_from(source, address, limit)).await?.into(),
            None => TcpStream::connect(address).await?,
        };
        // Small writes are never to wait for the acknowledgement of earlier ones.
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Asks a proxy, over this connection, for one to that host and port.
    #[cfg(feature = "socks")]
    pub(crate) async fn through(self, host: &str, port: u16, proxy: &Socks5) -> io::Result<Self> {
        let stream = Compat::new(self);
        let asked = match proxy.credentials() {
            Some((username, password)) => {
                let password = password.reveal_str().ok_or(io::ErrorKind::InvalidInput)?;
                Socks5Stream::connect_with_password_and_socket(stream, (host, port), username, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
        };
        match asked {
            Ok(stream) => Ok(stream.into_inner().into_inner()),
            Err(tokio_socks::Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
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

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let received = stream!(&mut *socket, stream => Pin::new(stream).poll_read(context, into));
        if let (Self::Tcp(stream), Poll::Ready(Ok(_))) = (socket, &received) {
            acknowledge_at_once(stream);
        }
        received
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        stream!(self.get_mut(), stream => Pin::new(stream).poll_write(context, octets))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, octets))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self.get_mut(), stream => Pin::new(stream).poll_close(context))
    }
}
