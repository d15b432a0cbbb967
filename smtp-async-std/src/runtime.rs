//! What the shared parts of clients need of async-std.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::{Duration, Instant};

use async_std::net::ToSocketAddrs;
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::AsyncReadExt;
use smtp_proto::adapter::Error;
#[cfg(feature = "socks")]
use smtp_proto::adapter::sending::Socks5;
use smtp_proto::adapter::sending::{Drive, Drives, Reads, Runtime, System, Task};
use smtp_proto::adapter::serving::Next;
use smtp_proto::adapter::tls::{ClientTls, TlsSide};
use smtp_proto::client::{Client, Event};

use crate::channel::Channel;
use crate::deadline::sleep_until;
use crate::driver::Driver;
use crate::socket::Socket;

/// The runtime.
#[derive(Debug, Clone, Copy)]
pub struct AsyncStd;

impl System for AsyncStd {
    type Socket = Socket;

    fn now() -> Instant {
        Instant::now()
    }

    fn sleep_until(until: Option<Instant>) -> impl Future<Output = ()> + Send {
        sleep_until(until)
    }

    async fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(server.to_socket_addrs().await?.collect())
    }

    async fn open(address: SocketAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<Socket> {
        Socket::open(address, source, limit).await
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

impl<S: AsyncRead + AsyncWrite + Unpin> Drives<S> for AsyncStd {
    type Driver = Driver<S, Client>;

    fn drive(stream: S, tls: Option<ClientTls>, machine: Client, peer: &str) -> Self::Driver {
        Driver::new(Channel::new(stream, TlsSide::Client(tls)), machine, peer.to_owned(), Instant::now())
    }
}

impl<C: AsyncRead + Unpin> Reads<C> for AsyncStd {
    async fn read(content: &mut C, piece: &mut BytesMut) -> io::Result<usize> {
        let filled = piece.len();
        piece.resize(piece.capacity(), 0);
        let read = content.read(piece.get_mut(filled..).unwrap_or_default()).await;
        piece.truncate(filled.saturating_add(read.as_ref().map_or(0, |read| *read)));
        read
    }
}

impl Runtime for AsyncStd {
    fn spawn(task: Task<Self>) {
        drop(async_std::task::spawn(task.run()));
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
