//! The server: listen, serve, shut down.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::adapter::tls::TlsSide;
use smtp_proto::adapter::{Error, Service};
use smtp_proto::server::{self, Config, Connection, Handler, Shutdown, dispatch};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::JoinSet;

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
    stop: watch::Sender<Option<Shutdown>>,
}

/// Shuts a server down from elsewhere.
#[derive(Debug, Clone)]
pub struct Handle(watch::Sender<Option<Shutdown>>);

impl Handle {
    /// Takes no more connections, ends sessions when their transaction is over, and lets [`Server::serve`] return
    /// when all have ended.
    pub fn shut_down(&self) {
        self.0.send_if_modified(|stop| stop.replace(stop.unwrap_or(Shutdown::AfterTransaction)).is_none());
    }

    /// Like [`Handle::shut_down`], but transactions that run are broken off, too: their clients are told 421.
    pub fn shut_down_now(&self) {
        self.0.send_replace(Some(Shutdown::Now));
    }
}

impl Server {
    /// Listens on the first of the addresses that can be had.
    ///
    /// # Errors
    /// When none can.
    pub async fn bind(address: impl ToSocketAddrs, config: Config) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, service: config.into(), stop: watch::Sender::new(None) })
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
        Handle(self.stop.clone())
    }

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler of its own.
    pub async fn serve<H: Handler + 'static>(self, mut new_handler: impl FnMut(&Connection) -> H) {
        let Self { listener, service, stop } = self;
        let mut stopped = stop.subscribe();
        let mut sessions = JoinSet::new();
        let mut count = 0;
        loop {
            let accepted = tokio::select! {
                // In this order: nobody is let in any more once it is to stop.
                biased;
                _ = stopped.wait_for(Option::is_some) => break,
                Some(_) = sessions.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(RESPITE).await;
                continue;
            };
            count += 1;
            let connection = Connection::new(count, Some(peer));
            let handler = new_handler(&connection);
            sessions.spawn(session(stream, connection, service.clone(), handler, stop.subscribe()));
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
    }
}

async fn session<H: Handler>(
    stream: TcpStream,
    connection: Connection,
    service: Service,
    handler: H,
    stopped: watch::Receiver<Option<Shutdown>>,
) {
    // Small writes are never to wait for the acknowledgement of earlier ones. What fails here fails again below.
    let _ = stream.set_nodelay(true);
    // The handler has been told how it ended.
    let _ = run(stream, connection, service, handler, stopped).await;
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
    let never = watch::Sender::new(None);
    run(stream, connection, service.into(), handler, never.subscribe()).await
}

async fn run<S, H>(
    stream: S,
    connection: Connection,
    service: Service,
    mut handler: H,
    mut stopped: watch::Receiver<Option<Shutdown>>,
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
        let next = tokio::select! {
            biased;
            Ok(stop) = stopped.wait_for(|stop| *stop != told) => {
                told = *stop;
                if let Some(shutdown) = told {
                    driver.machine.shut_down(shutdown);
                }
                continue;
            }
            next = driver.next() => next?,
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
