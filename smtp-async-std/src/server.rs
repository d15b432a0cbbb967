//! The server: listen, serve, shut down.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown as HalfClose, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_std::channel::{self, Receiver, Sender};
use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
use async_std::task;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::or;
#[cfg(feature = "tls")]
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::adapter::tls::TlsSide;
use smtp_proto::adapter::{Error, Service};
use smtp_proto::server::{self, Config, Connection, Handler, Shutdown, dispatch};

use crate::channel::Channel;
use crate::deadline::within;
use crate::driver::{Driver, Next};

/// How long nothing is accepted after accepting failed: the process is out of descriptors or memory.
const RESPITE: Duration = Duration::from_millis(100);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    service: Service,
    stop: Handle,
    stopped: Stopped,
}

/// Shuts a server down from elsewhere.
#[derive(Debug, Clone)]
pub struct Handle {
    gently: Sender<Infallible>,
    now: Sender<Infallible>,
}

/// Tells when a server shuts down: the channels, which never hold anything, are closed then.
#[derive(Debug, Clone)]
struct Stopped {
    gently: Receiver<Infallible>,
    now: Receiver<Infallible>,
}

impl Handle {
    /// Takes no more connections, ends sessions when their transaction is over, and lets [`Server::serve`] return
    /// when all have ended.
    pub fn shut_down(&self) {
        self.gently.close();
    }

    /// Like [`Handle::shut_down`], but transactions that run are broken off, too: their clients are told 421.
    pub fn shut_down_now(&self) {
        self.now.close();
        self.gently.close();
    }
}

impl Stopped {
    fn new() -> (Handle, Self) {
        let ((gently, gently_stopped), (now, now_stopped)) = (channel::bounded(1), channel::bounded(1));
        (Handle { gently, now }, Self { gently: gently_stopped, now: now_stopped })
    }

    /// What comes behind the shutdown that was told last: gently, then at once, then nothing.
    fn next(&self, told: Option<Shutdown>) -> Option<(&Receiver<Infallible>, Shutdown)> {
        match told {
            None => Some((&self.gently, Shutdown::AfterTransaction)),
            Some(Shutdown::AfterTransaction) => Some((&self.now, Shutdown::Now)),
            Some(Shutdown::Now) => None,
        }
    }

    /// What `future` gives, or the next kind of shutdown when that comes first.
    async fn unless<T>(&self, told: Option<Shutdown>, future: impl Future<Output = T>) -> Result<T, Shutdown> {
        let Some((stopped, shutdown)) = self.next(told) else { return Ok(future.await) };
        let stopped = async {
            let _ = stopped.recv().await;
            Err(shutdown)
        };
        or(stopped, async { Ok(future.await) }).await
    }
}

impl Server {
    /// Listens on the first of the addresses that can be had.
    ///
    /// # Errors
    /// When none can.
    pub async fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        let (stop, stopped) = Stopped::new();
        Ok(Self { listener: TcpListener::bind(address).await?, service: config.into(), stop, stopped })
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
        self.stop.clone()
    }

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler of its own.
    pub async fn serve<H: Handler + 'static>(self, mut new_handler: impl FnMut(&Connection) -> H) {
        let Self { listener, service, stop: _stop, stopped } = self;
        // Every session holds a sender; when all are gone, so are the sessions.
        let (running, ended) = channel::bounded::<Infallible>(1);
        let mut count = 0;
        while let Ok(accepted) = stopped.unless(None, listener.accept()).await {
            let Ok((stream, peer)) = accepted else {
                task::sleep(RESPITE).await;
                continue;
            };
            count += 1;
            let connection = Connection::new(count, Some(peer));
            let handler = new_handler(&connection);
            let (service, stopped, running) = (service.clone(), stopped.clone(), running.clone());
            task::spawn(async move {
                session(stream, connection, service, handler, stopped).await;
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
    service: Service,
    handler: H,
    stopped: Stopped,
) {
    // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again below.
    let _ = stream.set_nodelay(true);
    // The handler has been told how it ended.
    let _ = run(Socket(stream), connection, service, handler, stopped).await;
}

/// Serves one connection that was accepted elsewhere. The service is a [`Service`], or just its configuration.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub async fn serve_connection<S, H>(
    stream: S,
    connection: Connection,
    service: impl Into<Service>,
    handler: H,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let (_never, stopped) = Stopped::new();
    run(stream, connection, service.into(), handler, stopped).await
}

async fn run<S, H>(
    stream: S,
    connection: Connection,
    service: Service,
    mut handler: H,
    stopped: Stopped,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let peer = connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
    let (config, tls) = service.into_parts();
    let mut machine = server::Server::new(config, smtp_proto::Instant::default());
    if tls.is_none() {
        machine.tls_unavailable();
    }
    let mut driver = Driver::new(Channel::new(stream, TlsSide::Server(tls)), machine, peer, Instant::now());
    let (mut told, mut misuse) = (None, None);
    loop {
        let next = match stopped.unless(told, driver.next()).await {
            Ok(next) => next?,
            Err(shutdown) => {
                told = Some(shutdown);
                driver.machine.shut_down(shutdown);
                continue;
            }
        };
        match next {
            Next::Event(event) => {
                let deadline = driver.deadline();
                let dispatched = dispatch(&mut handler, driver.machine.session(), event);
                match within(deadline, dispatched).await {
                    Some(Some(decision)) => misuse = misuse.or(driver.machine.decide(decision).err()),
                    Some(None) => {}
                    None => driver.machine.overdue(),
                }
            }
            Next::Decide => {}
            Next::Closed => break,
        }
    }
    driver.linger().await;
    misuse.map_or(Ok(()), |misuse| Err(Error::misuse(driver.peer(), misuse, None)))
}

/// A socket that tells the peer when it closes: that of the runtime waits until it is dropped.
struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, octets)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(HalfClose::Write))
    }
}
