//! The server: listen, serve, shut down.

use std::io;
use std::time::{Duration, Instant};

use smtp_proto::adapter::serving::{
    ConnectionLimits, Drive, Handle, LocalAddress, Next, Observer, Reception, Visit, all, listen, serve_session,
};
use smtp_proto::adapter::tls::TlsSide;
use smtp_proto::adapter::{Error, Service};
use smtp_proto::server::{self, Connection, Event, Handler};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{ToSocketAddrs, lookup_host};
use tokio::task::JoinSet;

use crate::channel::Channel;
use crate::deadline::{now, sleep_until};
use crate::driver::Driver;
use crate::listener::{Accepted, Listener};

/// How long nothing is accepted after accepting failed: the process is out of descriptors or memory.
const RESPITE: Duration = Duration::from_millis(100);

/// A server, with as many listeners as it is given, each with a service of its own.
#[derive(Debug, Default)]
pub struct Server {
    entrances: Vec<(Listener, Service)>,
    limits: ConnectionLimits,
    handle: Handle,
}

impl Server {
    /// A server that does not listen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on the first of the addresses that can be had. The service is a [`Service`], or just its configuration.
    ///
    /// IPv6 sockets take no IPv4 connections: call this twice, with `0.0.0.0` and `[::]`, to have both.
    ///
    /// # Errors
    /// When no address can be had; [`InvalidInput`](io::ErrorKind::InvalidInput) for LMTP on port 25 (RFC 2033
    /// section 5).
    pub async fn bind(self, address: impl ToSocketAddrs, service: impl Into<Service>) -> io::Result<Self> {
        let service = service.into();
        let listener = listen(lookup_host(address).await?, &service)?;
        self.add(listener.try_into()?, service)
    }

    /// Listens on a Unix socket at this path. A socket that is there is replaced if nobody listens on it; the file is
    /// removed when the server ends. Who may connect is up to the folder it is in.
    ///
    /// # Errors
    /// When the path cannot be had: [`AddrInUse`](io::ErrorKind::AddrInUse) when somebody listens there or it is no
    /// socket.
    #[cfg(unix)]
    pub fn bind_unix(self, path: impl AsRef<std::path::Path>, service: impl Into<Service>) -> io::Result<Self> {
        let (listener, file) = smtp_proto::adapter::serving::listen_unix(path.as_ref())?;
        self.add(Listener::try_from(listener)?.named(file), service.into())
    }

    /// Listens on a socket that is open already: TCP or Unix, of tokio or of the standard library.
    ///
    /// # Errors
    /// When the system says no; [`InvalidInput`](io::ErrorKind::InvalidInput) for LMTP on port 25.
    pub fn listen<L>(self, listener: L, service: impl Into<Service>) -> io::Result<Self>
    where
        L: TryInto<Listener, Error = io::Error>,
    {
        self.add(listener.try_into()?, service.into())
    }

    fn add(mut self, listener: Listener, service: Service) -> io::Result<Self> {
        if let Some(address) = listener.address.tcp() {
            service.check_port(address.port())?;
        }
        self.entrances.push((listener, service));
        Ok(self)
    }

    /// How many connections it has at a time.
    #[must_use]
    pub fn limits(self, limits: ConnectionLimits) -> Self {
        Self { limits, ..self }
    }

    /// Tells this observer of everything; may be called for several.
    #[must_use]
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.handle.observe(observer);
        self
    }

    /// Where it listens, in the order in which the listeners were added.
    pub fn local_addresses(&self) -> Vec<LocalAddress> {
        self.entrances.iter().map(|(listener, _)| listener.address.clone()).collect()
    }

    /// For shutting it down later, and for looking at what it does.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler of its own.
    pub async fn serve<H: Handler + 'static>(self, new_handler: impl FnMut(&Connection) -> H) {
        let reception = Reception::new(self.handle, self.limits, new_handler);
        let entrances = self.entrances.into_iter().enumerate();
        all(entrances.map(|(number, (listener, service))| accept(number, listener, service, &reception))).await;
    }
}

/// Serves whoever comes to a listener.
async fn accept<F, H>(number: usize, listener: Listener, service: Service, reception: &Reception<F>)
where
    F: FnMut(&Connection) -> H,
    H: Handler + 'static,
{
    let (mut watch, mut sessions) = (reception.watch(), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            // In this order: nobody is let in any more once it is to stop.
            biased;
            () = watch.until_shutdown() => break,
            Some(_) = sessions.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok(accepted) = accepted else {
            tokio::time::sleep(RESPITE).await;
            continue;
        };
        let received = reception.receive(number, accepted.addresses(), &service);
        let (visit, handler) = match received {
            Ok(received) => received,
            Err(words) => {
                accepted.turn_away(&words);
                continue;
            }
        };
        match accepted {
            Accepted::Tcp(stream, _) => sessions.spawn(run(stream, service.clone(), handler, visit)),
            #[cfg(unix)]
            Accepted::Unix(stream) => sessions.spawn(run(stream, service.clone(), handler, visit)),
        };
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// Serves one connection that was accepted elsewhere, until it ends or `handle` ends it. The service is a [`Service`],
/// or just its configuration.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub async fn serve_connection<S, H>(
    stream: S,
    connection: Connection,
    service: impl Into<Service>,
    handler: H,
    handle: &Handle,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    run(stream, service.into(), handler, Visit::unlimited(connection, handle)).await
}

async fn run<S, H>(stream: S, service: Service, handler: H, visit: Visit) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let peer = visit.peer();
    let (machine, tls) = service.into_machine(visit.connection().id);
    let channel = Channel::new(stream, TlsSide::Server(tls));
    // Futures keep what they are given twice; the driver is the largest part of a session.
    let mut driver = Box::new(Driver::new(channel, machine, peer, now()));
    serve_session(&mut *driver, handler, visit).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drive for Driver<S, server::Server> {
    fn machine(&mut self) -> &mut server::Server {
        &mut self.machine
    }

    fn session(&self) -> &server::Session {
        self.machine.session()
    }

    fn peer(&self) -> &str {
        self.peer()
    }

    fn next(&mut self) -> impl Future<Output = Result<Next<Event>, Error>> {
        self.next()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn linger(&mut self) -> impl Future<Output = ()> {
        self.linger()
    }

    fn now() -> Instant {
        now()
    }

    fn sleep_until(until: Option<Instant>) -> impl Future<Output = ()> {
        sleep_until(until)
    }
}
