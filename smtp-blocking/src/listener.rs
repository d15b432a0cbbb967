//! Sockets that listen, of whichever kind.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use smtp_proto::adapter::serving::{Knock, LocalAddress, SocketFile};

/// How long to wait for a connection before looking around.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A socket that listens: TCP or Unix.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    pub(crate) address: LocalAddress,
    pub(crate) knock: Knock,
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

    /// Waits for a connection; fails with [`WouldBlock`](io::ErrorKind::WouldBlock) when none has come for a while.
    pub(crate) fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again.
                let _ = stream.set_nodelay(true);
                // Some systems take that over from the listener.
                stream.set_read_timeout(None)?;
                Ok(Accepted::Tcp(stream, peer))
            }
            #[cfg(unix)]
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_read_timeout(None)?;
                Ok(Accepted::Unix(stream))
            }
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
        // Who does not take it has to guess.
        let _ = match self {
            Self::Tcp(mut stream, _) => stream.set_nonblocking(true).and_then(|()| stream.write(words)),
            #[cfg(unix)]
            Self::Unix(mut stream) => stream.set_nonblocking(true).and_then(|()| stream.write(words)),
        };
    }
}

impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(false)?;
        let (address, knock) = (LocalAddress::Tcp(listener.local_addr()?), Knock::at(&listener, LONGEST_WAIT)?);
        Ok(Self { socket: Socket::Tcp(listener), address, knock, _file: None })
    }
}

#[cfg(unix)]
impl TryFrom<UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(false)?;
        let path = listener.local_addr()?.as_pathname().map(Into::into);
        let (address, knock) = (LocalAddress::Unix(path.unwrap_or_default()), Knock::at(&listener, LONGEST_WAIT)?);
        Ok(Self { socket: Socket::Unix(listener), address, knock, _file: None })
    }
}
