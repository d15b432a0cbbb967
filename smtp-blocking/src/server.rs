//! The server: listen, serve, shut down.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smtp_proto::adapter::Error;
use smtp_proto::server::{self, Config, Connection, Shutdown};

use crate::driver::{Driver, Next};
use crate::handler::{Handler, dispatch};
use crate::stream::Stream;

/// How long nothing is accepted after accepting failed: the process is out of descriptors, threads or memory.
const RESPITE: Duration = Duration::from_millis(100);

/// How often a session that waits looks whether the server shuts down.
const ATTENTION: Duration = Duration::from_millis(200);

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    config: Arc<Config>,
    stopped: Arc<AtomicBool>,
}

/// Shuts a server down from elsewhere.
#[derive(Clone)]
pub struct Handle {
    stopped: Arc<AtomicBool>,
    address: Option<SocketAddr>,
}

impl Handle {
    /// Takes no more connections, ends sessions when their transaction is over, and lets [`Server::serve`] return
    /// when all have ended.
    pub fn shut_down(&self) {
        self.stopped.store(true, Ordering::Release);
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
        Ok(Self { listener, config: Arc::new(config), stopped: Arc::default() })
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
        Handle { stopped: Arc::clone(&self.stopped), address: self.local_address().ok().map(reachable) }
    }

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler and a thread of
    /// its own.
    pub fn serve<H: Handler>(self, mut new_handler: impl FnMut(&Connection) -> H) {
        let Self { listener, config, stopped } = self;
        let stopped = &*stopped;
        let mut count = 0;
        thread::scope(|scope| {
            while !stopped.load(Ordering::Acquire) {
                let Ok((stream, peer)) = listener.accept() else {
                    thread::sleep(RESPITE);
                    continue;
                };
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                count += 1;
                let connection = Connection::new(count, Some(peer));
                let handler = new_handler(&connection);
                let config = Arc::clone(&config);
                let session = move || session(stream, connection, config, handler, stopped);
                if thread::Builder::new().name(format!("smtp {count}")).spawn_scoped(scope, session).is_err() {
                    thread::sleep(RESPITE);
                }
            }
            drop(listener);
        });
    }
}

fn session<H: Handler>(
    stream: TcpStream,
    connection: Connection,
    config: Arc<Config>,
    handler: H,
    stopped: &AtomicBool,
) {
    // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again below.
    let _ = stream.set_nodelay(true);
    // The handler has been told how it ended. A panic in it ends this session and no other.
    let _ =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(stream, connection, config, handler, stopped)));
}

/// Serves one connection that was accepted elsewhere.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub fn serve_connection<S, H>(stream: S, connection: Connection, config: Arc<Config>, handler: H) -> Result<(), Error>
where
    S: Stream,
    H: Handler,
{
    run(stream, connection, config, handler, &AtomicBool::new(false))
}

fn run<S, H>(
    stream: S,
    connection: Connection,
    config: Arc<Config>,
    mut handler: H,
    stopped: &AtomicBool,
) -> Result<(), Error>
where
    S: Stream,
    H: Handler,
{
    let peer = connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
    let machine = server::Server::new(config, smtp_proto::Instant::default());
    let mut driver = Driver::new(stream, machine, peer, Instant::now(), Some(ATTENTION));
    loop {
        if stopped.load(Ordering::Acquire) {
            driver.machine.shut_down(Shutdown::AfterTransaction);
        }
        match driver.next()? {
            Next::Event(event) => {
                if let Some(decision) = dispatch(&mut handler, driver.machine.session(), event) {
                    driver.machine.decide(decision).map_err(|misuse| Error::misuse(driver.peer(), misuse, None))?;
                }
            }
            Next::Decide | Next::Waiting => {}
            Next::Closed => return Ok(()),
        }
    }
}
