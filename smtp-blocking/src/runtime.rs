//! What the shared parts of clients need of threads.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::thread::Builder;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use smtp_proto::adapter::Error;
#[cfg(feature = "socks")]
use smtp_proto::adapter::sending::Socks5;
use smtp_proto::adapter::sending::{Drive, Drives, Reads, Runtime, System, Task};
use smtp_proto::adapter::serving;
use smtp_proto::adapter::tls::{ClientTls, TlsSide};
use smtp_proto::client::{Client, Event};

use crate::channel::Channel;
use crate::driver::{Driver, Next};
use crate::socket::Socket;
use crate::stream::Stream;
use crate::waiting::{finished, sleep_until};

/// Threads: its futures are for [`finished`](crate::waiting::finished).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threads;

impl System for Threads {
    type Socket = Socket;

    const BLOCKS: bool = true;

    fn now() -> Instant {
        Instant::now()
    }

    fn sleep_until(until: Option<Instant>) -> impl Future<Output = ()> + Send {
        sleep_until(until)
    }

    async fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(server.to_socket_addrs()?.collect())
    }

    async fn open(address: SocketAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<Socket> {
        Socket::open(address, source, limit).await
    }

    #[cfg(unix)]
    async fn open_unix(path: &Path) -> io::Result<Socket> {
        Ok(Socket::Unix(UnixStream::connect(path)?))
    }

    #[cfg(feature = "socks")]
    async fn through(connection: Socket, host: &str, port: u16, proxy: &Socks5, limit: Duration) -> io::Result<Socket> {
        // Whoever asks does not come back before the proxy has answered.
        connection.set_timeouts(Some(limit))?;
        let through = connection.through(host, port, proxy).await.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        through.set_timeouts(None)?;
        Ok(through)
    }

    fn local_address(socket: &Socket) -> Option<IpAddr> {
        match socket {
            Socket::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            #[cfg(unix)]
            Socket::Unix(_) => None,
        }
    }
}

impl<S: Stream> Drives<S> for Threads {
    type Driver = Driver<S, Client>;

    fn drive(stream: S, tls: Option<ClientTls>, machine: Client, peer: &str) -> Self::Driver {
        Driver::new(Channel::new(stream, TlsSide::Client(tls)), machine, peer.to_owned(), Instant::now(), None)
    }
}

impl<C: Read> Reads<C> for Threads {
    async fn read(content: &mut C, piece: &mut BytesMut) -> io::Result<usize> {
        let filled = piece.len();
        piece.resize(piece.capacity(), 0);
        let read = loop {
            match content.read(piece.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        piece.truncate(filled.saturating_add(read.as_ref().map_or(0, |read| *read)));
        read
    }
}

impl Runtime for Threads {
    fn spawn(task: Task<Self>) {
        // Where there is no thread to be had, no connection is kept, and whoever has messages sends them by itself.
        let _ = Builder::new().name("smtp mailer".to_owned()).spawn(|| finished(task.run()));
    }
}

impl<S: Stream> Drive for Driver<S, Client> {
    fn machine(&mut self) -> &mut Client {
        &mut self.machine
    }

    fn session(&self) -> &Client {
        &self.machine
    }

    fn peer(&self) -> &str {
        self.peer()
    }

    async fn next(&mut self) -> Result<serving::Next<Event>, Error> {
        loop {
            return Ok(match self.next()? {
                Next::Event(event) => serving::Next::Event(event),
                Next::Decide => serving::Next::Decide,
                Next::Closed => serving::Next::Closed,
                Next::Waiting => continue,
            });
        }
    }

    fn glance(&mut self) {
        self.glance();
    }
}
