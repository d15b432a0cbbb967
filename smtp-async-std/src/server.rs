//! The server: listen, serve, shut down.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_std::channel::{self, Receiver, Sender};
use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
use async_std::task;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::or;
use smtp_proto::adapter::Error;
use smtp_proto::server::{self, Config, Connection, Handler, Shutdown, dispatch};

use crate::driver::{Driver, Next, within};

/// How long nothing is accepted after accepting failed: the process is out of descriptors or memory.
const RESPITE: Duration = Duration::from_millis(100);

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    config: Arc<Config>,
    stop: Sender<Infallible>,
    stopped: Stopped,
}

/// Shuts a server down from elsewhere.
#[derive(Clone)]
pub struct Handle(Sender<Infallible>);

/// Tells when a server shuts down: its channel, which never holds anything, is closed then.
#[derive(Clone)]
struct Stopped(Receiver<Infallible>);

impl Handle {
    /// Takes no more connections, ends sessions when their transaction is over, and lets [`Server::serve`] return
    /// when all have ended.
    pub fn shut_down(&self) {
        self.0.close();
    }
}

impl Stopped {
    /// What `future` gives, or nothing when the server shuts down first.
    async fn unless<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            let _ = self.0.recv().await;
            None
        };
        or(stopped, async { Some(future.await) }).await
    }
}

impl Server {
    /// Listens on the first of the addresses that can be had.
    ///
    /// # Errors
    /// When none can.
    pub async fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        let (stop, stopped) = channel::bounded(1);
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            config: Arc::new(config),
            stop,
            stopped: Stopped(stopped),
        })
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
        Handle(self.stop.clone())
    }

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler of its own.
    pub async fn serve<H: Handler + 'static>(self, mut new_handler: impl FnMut(&Connection) -> H) {
        let Self { listener, config, stop: _stop, stopped } = self;
        // Every session holds a sender; when all are gone, so are the sessions.
        let (running, ended) = channel::bounded::<Infallible>(1);
        let mut count = 0;
        while let Some(accepted) = stopped.unless(listener.accept()).await {
            let Ok((stream, peer)) = accepted else {
                task::sleep(RESPITE).await;
                continue;
            };
            count += 1;
            let connection = Connection::new(count, Some(peer));
            let handler = new_handler(&connection);
            let (config, stopped, running) = (Arc::clone(&config), stopped.clone(), running.clone());
            task::spawn(async move {
                session(stream, connection, config, handler, stopped).await;
                drop(running);
            });
        }
        drop((listener, running));
        let _ = ended.recv().await;
    }
}

async fn session<H: Handler>(
    stream: TcpStream,
    connection: Connection,
    config: Arc<Config>,
    handler: H,
    stopped: Stopped,
) {
    // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again below.
    let _ = stream.set_nodelay(true);
    // The handler has been told how it ended.
    let _ = run(stream, connection, config, handler, stopped).await;
}

/// Serves one connection that was accepted elsewhere.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub async fn serve_connection<S, H>(
    stream: S,
    connection: Connection,
    config: Arc<Config>,
    handler: H,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let (_never, stopped) = channel::bounded(1);
    run(stream, connection, config, handler, Stopped(stopped)).await
}

async fn run<S, H>(
    stream: S,
    connection: Connection,
    config: Arc<Config>,
    mut handler: H,
    stopped: Stopped,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let peer = connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
    let machine = server::Server::new(config, smtp_proto::Instant::default());
    let mut driver = Driver::new(stream, machine, peer, Instant::now());
    let mut stopping = false;
    loop {
        let next = if stopping { Some(driver.next().await) } else { stopped.unless(driver.next()).await };
        match next.transpose()? {
            None => {
                stopping = true;
                driver.machine.shut_down(Shutdown::AfterTransaction);
            }
            Some(Next::Event(event)) => {
                let deadline = driver.deadline();
                let dispatched = dispatch(&mut handler, driver.machine.session(), event);
                // Overdue: the machine says so itself.
                let decision = within(deadline, dispatched).await.flatten();
                if let Some(decision) = decision {
                    driver.machine.decide(decision).map_err(|misuse| Error::misuse(driver.peer(), misuse, None))?;
                }
            }
            Some(Next::Decide) => {}
            Some(Next::Closed) => return Ok(()),
        }
    }
}
