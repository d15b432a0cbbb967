//! Connecting from an address of one's own choice, for adapters whose runtime has nothing for that.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

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
