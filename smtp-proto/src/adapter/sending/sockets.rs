//! What adapters want of sockets and their runtimes do not have.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// Connects from this address, which blocks until there is a connection or the time is over, which must not be zero.
///
/// # Errors
/// When there is none: [`TimedOut`](io::ErrorKind::TimedOut) at the end of the time.
pub fn open_from(source: IpAddr, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), limit)?;
    Ok(socket.into())
}

/// Has the system acknowledge at once what was just read, where it can be told to (Linux). A server that does not set
/// TCP_NODELAY may write the replies to one group in two parts, and then keeps the second back until the first is
/// acknowledged, which systems put off by 40 ms and more.
pub fn acknowledge_at_once<'s, S>(socket: &'s S)
where
    SockRef<'s>: From<&'s S>,
{
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // It only takes longer without.
    let _ = SockRef::from(socket).set_tcp_quickack(true);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}
