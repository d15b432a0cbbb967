//! What clients need of a runtime: time, sockets, something that moves a session's octets.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::mailer::Task;
#[cfg(feature = "socks")]
use super::socks::Socks5;
use crate::adapter::Error;
use crate::adapter::serving::Next;
use crate::adapter::tls::ClientTls;
use crate::client::{Client, Event};

/// Time and sockets.
pub trait System: Copy + Send + Sync + 'static {
    /// A connection to a server.
    type Socket: Send + 'static;

    /// Whether a future holds its thread up while it waits for a connection, so that of two of them on one thread the
    /// second waits for the first.
    const BLOCKS: bool = false;

    /// The time.
    fn now() -> Instant;

    /// Waits; without end when there is none.
    fn sleep_until(until: Option<Instant>) -> impl Future<Output = ()> + Send;

    /// The addresses of `host:port`.
    fn addresses(server: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects, from this address of its own if there is one. May give up after the limit by itself.
    fn open(
        address: SocketAddr,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> impl Future<Output = io::Result<Self::Socket>> + Send;

    /// Connects to a Unix socket.
    #[cfg(unix)]
    fn open_unix(path: &Path) -> impl Future<Output = io::Result<Self::Socket>> + Send;

    /// Asks a proxy, over this connection, for one to that host and port. May give up after the limit by itself.
    #[cfg(feature = "socks")]
    fn through(
        _connection: Self::Socket,
        _host: &str,
        _port: u16,
        _proxy: &Socks5,
        _limit: Duration,
    ) -> impl Future<Output = io::Result<Self::Socket>> + Send {
        // Another adapter of this program has the feature.
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// The address of this end, if it has one.
    fn local_address(socket: &Self::Socket) -> Option<IpAddr>;
}

/// A runtime that can have sessions over streams of this kind.
pub trait Drives<S>: System {
    /// A session.
    type Driver: Drive;

    /// A session that has not begun. `peer` is `host` or `host:port`.
    fn drive(stream: S, tls: Option<ClientTls>, machine: Client, peer: &str) -> Self::Driver;
}

/// A runtime that can read content from readers of this kind.
pub trait Reads<C>: System {
    /// Reads some octets to the end of `piece`, which has room for them; how many, none at the end.
    fn read(content: &mut C, piece: &mut BytesMut) -> impl Future<Output = io::Result<usize>>;
}

/// All that clients need of a runtime.
pub trait Runtime: System + Drives<<Self as System>::Socket> {
    /// Runs this beside everything else.
    fn spawn(task: Task<Self>);
}

/// A client's machine with its connection.
pub trait Drive {
    /// The machine.
    fn machine(&mut self) -> &mut Client;

    /// What it knows.
    fn session(&self) -> &Client;

    /// The other end, for messages.
    fn peer(&self) -> &str;

    /// Runs the machine to its next event. Nothing is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Result<Next<Event>, Error>>;

    /// Takes what has arrived between two messages, and waits for nothing: the server may have ended the session.
    fn glance(&mut self);
}
