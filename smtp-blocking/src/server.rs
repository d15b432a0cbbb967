//! The server: listen, serve, shut down.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::adapter::tls::TlsSide;
use smtp_proto::adapter::{Error, Service};
use smtp_proto::server::{self, Config, Connection, Shutdown};

use crate::channel::Channel;
use crate::driver::{Driver, Next};
use crate::handler::{Handler, dispatch};
use crate::stream::Stream;

/// How long nothing is accepted after accepting failed: the process is out of descriptors, threads or memory.
const RESPITE: Duration = Duration::from_millis(100);

/// How often a session that waits looks whether the server shuts down.
const ATTENTION: Duration = Duration::from_millis(200);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    service: Service,
    stop: Arc<Stop>,
}

/// How a server is to stop, if it is.
#[derive(Debug, Default)]
struct Stop {
    gently: AtomicBool,
    now: AtomicBool,
}

impl Stop {
    fn is_on(&self) -> bool {
        self.kind().is_some()
    }

    fn kind(&self) -> Option<Shutdown> {
        let gently = self.gently.load(Ordering::Acquire).then_some(Shutdown::AfterTransaction);
        if self.now.load(Ordering::Acquire) { Some(Shutdown::Now) } else { gently }
    }
}

/// Shuts a server down from elsewhere.
#[derive(Debug, Clone)]
pub struct Handle {
    stop: Arc<Stop>,
    address: Option<SocketAddr>,
}

impl Handle {
    /// Takes no more connections, ends sessions when their transaction is over, and lets [`Server::serve`] return
    /// when all have ended.
    pub fn shut_down(&self) {
        self.stop.gently.store(true, Ordering::Release);
        self.wake();
    }

    /// Like [`Handle::shut_down`], but transactions that run are broken off, too: their clients are told 421.
    pub fn shut_down_now(&self) {
        self.stop.now.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // The listener waits for a connection; this is one.
        if let Some(address) = self.address {
            drop(TcpStream::connect_timeout(&address, Duration::from_secs(1)));
        }
    }
}

impl Server {
    /// Listens on the first of the addresses that can be had.
    ///
    /// # Errors
    /// When none can.
    pub fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        Ok(Self { listener, service: config.into(), stop: Arc::default() })
    }

    /// Has TLS, for STARTTLS and from the first octet on, as the configuration says.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: ServerTls) -> Self {
        Self { service: self.service.tls(tls), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// For shutting it down later.
    pub fn handle(&self) -> Handle {
        let reachable = |address: SocketAddr| {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            SocketAddr::new(ip, address.port())
        };
        Handle { stop: Arc::clone(&self.stop), address: self.local_address().ok().map(reachable) }
    }

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler and a thread of
    /// its own.
    pub fn serve<H: Handler>(self, mut new_handler: impl FnMut(&Connection) -> H) {
        let Self { listener, service, stop } = self;
        let stop = &*stop;
        let mut count = 0;
        thread::scope(|scope| {
            while !stop.is_on() {
                let Ok((stream, peer)) = listener.accept() else {
                    thread::sleep(RESPITE);
                    continue;
                };
                if stop.is_on() {
                    break;
                }
                count += 1;
                let connection = Connection::new(count, Some(peer));
                let handler = new_handler(&connection);
                let service = service.clone();
                let session = move || session(stream, connection, service, handler, stop);
                if thread::Builder::new().name(format!("smtp {count}")).spawn_scoped(scope, session).is_err() {
                    thread::sleep(RESPITE);
                }
            }
            drop(listener);
        });
    }
}

fn session<H: Handler>(stream: TcpStream, connection: Connection, service: Service, handler: H, stop: &Stop) {
    // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again below.
    let _ = stream.set_nodelay(true);
    // The handler has been told how it ended. A panic in it ends this session and no other.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(stream, connection, service, handler, stop)));
}

/// Serves one connection that was accepted elsewhere. The service is a [`Service`], or just its configuration.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub fn serve_connection<S, H>(
    stream: S,
    connection: Connection,
    service: impl Into<Service>,
    handler: H,
) -> Result<(), Error>
where
    S: Stream,
    H: Handler,
{
    run(stream, connection, service.into(), handler, &Stop::default())
}

fn run<S, H>(stream: S, connection: Connection, service: Service, mut handler: H, stop: &Stop) -> Result<(), Error>
where
    S: Stream,
    H: Handler,
{
    let peer = connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
    let (config, tls) = service.into_parts();
    let mut machine = server::Server::new(config, smtp_proto::Instant::default());
    if tls.is_none() {
        machine.tls_unavailable();
    }
    let mut driver =
        Driver::new(Channel::new(stream, TlsSide::Server(tls)), machine, peer, Instant::now(), Some(ATTENTION));
    let mut misuse = None;
    loop {
        if let Some(shutdown) = stop.kind() {
            driver.machine.shut_down(shutdown);
        }
        match driver.next()? {
            Next::Event(event) => {
                if let Some(decision) = dispatch(&mut handler, driver.machine.session(), event) {
                    misuse = misuse.or(driver.machine.decide(decision).err());
                }
            }
            Next::Decide | Next::Waiting => {}
            Next::Closed => break,
        }
    }
    driver.linger();
    misuse.map_or(Ok(()), |misuse| Err(Error::misuse(driver.peer(), misuse, None)))
}
