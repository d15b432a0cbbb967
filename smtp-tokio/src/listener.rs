//! Sockets that listen, of whichever kind.

use std::io::{self, Write};
use std::net::SocketAddr;

use smtp_proto::adapter::serving::{LocalAddress, SocketFile};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// A socket that listens: of tokio or of the standard library, TCP or Unix.
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

/// A connection that came in.
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
    pub(crate) fn turn_away(self, words: &[u8]) {
        // The runtime does not know of the new socket yet; the system does. Who does not take it has to guess.
        let _ = match self {
            Self::Tcp(stream, _) => stream.into_std().and_then(|mut stream| stream.write(words)),
            #[cfg(unix)]
            Self::Unix(stream) => stream.into_std().and_then(|mut stream| stream.write(words)),
        };
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
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)?.try_into()
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
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)?.try_into()
    }
}
