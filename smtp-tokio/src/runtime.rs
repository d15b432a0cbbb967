//! What the shared parts of clients need of tokio.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use smtp_proto::adapter::Error;
#[cfg(feature = "socks")]
use smtp_proto::adapter::sending::Socks5;
use smtp_proto::adapter::sending::{Drive, Drives, Reads, Runtime, System, Task};
use smtp_proto::adapter::serving::Next;
use smtp_proto::adapter::tls::{ClientTls, TlsSide};
use smtp_proto::client::{Client, Event};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::channel::Channel;
use crate::deadline::{now, sleep_until};
use crate::driver::Driver;
use crate::socket::Socket;

/// The runtime.
#[derive(Debug, Clone, Copy)]
pub struct Tokio;

impl System for Tokio {
    type Socket = Socket;

    fn now() -> Instant {
        now()
    }

    fn sleep_until(until: Option<Instant>) -> impl Future<Output = ()> + Send {
        sleep_until(until)
    }

    async fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(server).await?.collect())
    }

    async fn open(address: SocketAddr, source: Option<IpAddr>, _limit: Duration) -> io::Result<Socket> {
        Socket::open(address, source).await
    }

    #[cfg(unix)]
    async fn open_unix(path: &Path) -> io::Result<Socket> {
        Ok(Socket::Unix(UnixStream::connect(path).await?))
    }

    #[cfg(feature = "socks")]
    async fn through(
        connection: Socket,
        host: &str,
        port: u16,
        proxy: &Socks5,
        _limit: Duration,
    ) -> io::Result<Socket> {
        connection.through(host, port, proxy).await
    }

    fn local_address(socket: &Socket) -> Option<IpAddr> {
        match socket {
            Socket::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            #[cfg(unix)]
            Socket::Unix(_) => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drives<S> for Tokio {
    type Driver = Driver<S, Client>;

    fn drive(stream: S, tls: Option<ClientTls>, machine: Client, peer: &str) -> Self::Driver {
        Driver::new(Channel::new(stream, TlsSide::Client(tls)), machine, peer.to_owned(), now())
    }
}

impl<C: AsyncRead + Unpin> Reads<C> for Tokio {
    async fn read(content: &mut C, piece: &mut BytesMut) -> io::Result<usize> {
        content.read_buf(piece).await
    }
}

impl Runtime for Tokio {
    fn spawn(task: Task<Self>) {
        drop(tokio::spawn(task.run()));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drive for Driver<S, Client> {
    fn machine(&mut self) -> &mut Client {
        &mut self.machine
    }

    fn session(&self) -> &Client {
        &self.machine
    }

    fn peer(&self) -> &str {
        self.peer()
    }

    fn next(&mut self) -> impl Future<Output = Result<Next<Event>, Error>> {
        self.next()
    }

    fn glance(&mut self) {
        self.glance();
    }
}
