//! Sockets that listen.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::adapter::Service;

/// Connections that wait to be accepted. The system may allow fewer.
const BACKLOG: i32 = 1024;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LocalAddress {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket; an empty path when it has no name.
    Unix(PathBuf),
}

impl LocalAddress {
    /// The address and port of a TCP socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    /// `address:port`, or `unix:path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Listens on the first of these addresses that can be had. An IPv6 socket takes no IPv4 connections, so that
/// `0.0.0.0` and `[::]` can have the same port; addresses are taken over from connections that have ended.
///
/// # Errors
/// When none can be had, or there is none; and when the service must not be on that port.
pub fn listen(addresses: impl IntoIterator<Item = SocketAddr>, service: &Service) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "there is no address to listen on");
    for address in addresses {
        service.check_port(address.port())?;
        match open(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Elsewhere it would take the address from others who listen.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Wakes a thread that waits for a connection, with one.
#[derive(Debug, Clone)]
pub struct Knock(SockAddr);

impl Knock {
    /// For whoever waits at this socket. Where the system knows how (Linux), waits there end with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) by themselves after so long: knocks may not get through, to a Unix
    /// socket whose name is gone, or when the process is out of descriptors.
    ///
    /// # Errors
    /// When the system does not say where it listens.
    pub fn at<'a>(socket: impl Into<SockRef<'a>>, longest: Duration) -> io::Result<Self> {
        let socket = socket.into();
        socket.set_read_timeout(Some(longest))?;
        let address = socket.local_addr()?;
        Ok(Self(match address.as_socket() {
            Some(SocketAddr::V4(any)) if any.ip().is_unspecified() => {
                SocketAddr::from((Ipv4Addr::LOCALHOST, any.port())).into()
            }
            Some(SocketAddr::V6(any)) if any.ip().is_unspecified() => {
                SocketAddr::from((Ipv6Addr::LOCALHOST, any.port())).into()
            }
            _ => address,
        }))
    }

    /// Connects and is gone.
    pub fn knock(&self) {
        if let Ok(socket) = Socket::new(self.0.domain(), Type::STREAM, None) {
            // Whoever calls looks whether it helped.
            let _ = socket.connect_timeout(&self.0, Duration::from_secs(1));
        }
    }
}

/// The name of a Unix socket in the file system, removed at the end if it still is the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    #[cfg(unix)]
    identity: (u64, u64),
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::os::unix::net::UnixListener;

    use super::{BACKLOG, Domain, Path, SockAddr, Socket, SocketFile, Type, io};

    /// Listens at a path. A socket that is there is replaced when nobody listens on it.
    ///
    /// # Errors
    /// When somebody listens, or the path cannot be had.
    pub fn listen_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
        let address = SockAddr::unix(path)?;
        if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) && is_deserted(&address)? {
            fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&address)?;
        let file = fs::symlink_metadata(path)?;
        let file = SocketFile { path: path.to_owned(), identity: (file.dev(), file.ino()) };
        socket.listen(BACKLOG)?;
        Ok((OwnedFd::from(socket).into(), file))
    }

    /// Whether nobody listens: not even one who is too busy to accept.
    fn is_deserted(address: &SockAddr) -> io::Result<bool> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
                // Whoever comes next replaces it.
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}

#[cfg(unix)]
pub use unix::listen_unix;
