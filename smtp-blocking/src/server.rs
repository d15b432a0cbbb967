//! The server: listen, serve, shut down.

use std::io;
use std::net::ToSocketAddrs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use smtp_proto::Machine;
use smtp_proto::adapter::serving::{
    ConnectionLimits, Handle, LocalAddress, Observer, Panicked, Reception, Visit, Watch, listen,
};
use smtp_proto::adapter::tls::TlsSide;
use smtp_proto::adapter::{Error, Service};
use smtp_proto::server::Connection;

use crate::channel::Channel;
use crate::driver::{Driver, Next, waited};
use crate::handler::{Handler, dispatch};
use crate::listener::{Accepted, Listener};
use crate::stream::Stream;

/// How long nothing is accepted after accepting failed: the process is out of descriptors, threads or memory.
const RESPITE: Duration = Duration::from_millis(100);

/// How often a session that waits looks whether the server shuts down.
const ATTENTION: Duration = Duration::from_millis(200);

/// How long to wait for a thread that was woken before looking whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

/// After how many looks it is woken again.
const INSISTENCE: usize = 20;

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
    pub fn bind(self, address: impl ToSocketAddrs, service: impl Into<Service>) -> io::Result<Self> {
        let service = service.into();
        let listener = listen(address.to_socket_addrs()?, &service)?;
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

    /// Listens on a socket that is open already: TCP or Unix.
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

    /// Serves until it is shut down and the last session has ended. Each connection gets a handler and a thread of
    /// its own.
    pub fn serve<H: Handler>(self, new_handler: impl FnMut(&Connection) -> H + Send) {
        let (handle, reception) = (self.handle.clone(), &Reception::new(self.handle, self.limits, new_handler));
        let knocks: Vec<_> = self.entrances.iter().map(|(listener, _)| listener.knock.clone()).collect();
        // To be fetched, so that none is lost where a thread cannot be had.
        let entrances: Vec<_> = self.entrances.into_iter().map(|entrance| Mutex::new(Some(entrance))).collect();
        thread::scope(|scope| {
            let accepting: Vec<_> = (entrances.iter().enumerate())
                .filter_map(|(number, entrance)| {
                    let accept = move || {
                        let entrance = entrance.lock().unwrap_or_else(PoisonError::into_inner).take();
                        if let Some((listener, service)) = entrance {
                            accept(scope, number, &listener, &service, reception);
                        }
                    };
                    started(scope, &format!("smtp listener {number}"), &mut reception.watch(), accept)
                })
                .collect();
            if !accepting.is_empty() {
                handle.wait();
            }
            for (thread, knock) in accepting.iter().zip(knocks) {
                for look in (0..INSISTENCE).cycle().take_while(|_| !thread.is_finished()) {
                    if look == 0 {
                        knock.knock();
                    }
                    thread::sleep(GLANCE);
                }
            }
        });
    }
}

/// Starts a thread, as soon as one can be had.
fn started<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    watch: &mut Watch,
    run: impl Fn() + Copy + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, ()>> {
    while watch.shutdown().is_none() {
        match Builder::new().name(name.to_owned()).spawn_scoped(scope, run) {
            Ok(thread) => return Some(thread),
            Err(_) => thread::sleep(RESPITE),
        }
    }
    None
}

/// Serves whoever comes to a listener.
fn accept<'scope, F, H>(
    scope: &'scope Scope<'scope, '_>,
    number: usize,
    listener: &Listener,
    service: &Service,
    reception: &Reception<F>,
) where
    F: FnMut(&Connection) -> H,
    H: Handler + 'scope,
{
    let mut watch = reception.watch();
    while watch.shutdown().is_none() {
        let accepted = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if waited(&error) => continue,
            Err(_) => {
                thread::sleep(RESPITE);
                continue;
            }
        };
        if watch.shutdown().is_some() {
            break;
        }
        let received = reception.receive(number, accepted.addresses(), service);
        let (visit, handler) = match received {
            Ok(received) => received,
            Err(words) => {
                accepted.turn_away(&words);
                continue;
            }
        };
        let (name, service) = (format!("smtp {}", visit.connection().id), service.clone());
        let session = move || {
            // The handler has been told how it ended. A panic in it ends this session and no other.
            let _ = catch_unwind(AssertUnwindSafe(|| match accepted {
                Accepted::Tcp(stream, _) => run(stream, service, handler, visit),
                #[cfg(unix)]
                Accepted::Unix(stream) => run(stream, service, handler, visit),
            }));
        };
        if Builder::new().name(name).spawn_scoped(scope, session).is_err() {
            thread::sleep(RESPITE);
        }
    }
}

/// Serves one connection that was accepted elsewhere, until it ends or `handle` ends it. The service is a [`Service`],
/// or just its configuration.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub fn serve_connection<S, H>(
    stream: S,
    connection: Connection,
    service: impl Into<Service>,
    handler: H,
    handle: &Handle,
) -> Result<(), Error>
where
    S: Stream,
    H: Handler,
{
    run(stream, service.into(), handler, Visit::unlimited(connection, handle))
}

fn run<S, H>(stream: S, service: Service, mut handler: H, visit: Visit) -> Result<(), Error>
where
    S: Stream,
    H: Handler,
{
    let peer = visit.peer();
    let (machine, tls) = service.into_machine(visit.connection().id);
    let channel = Channel::new(stream, TlsSide::Server(tls));
    let mut driver = Driver::new(channel, machine, peer, Instant::now(), Some(ATTENTION));
    let Visit { mut account, mut watch, .. } = visit;
    let (mut misuse, mut panicked) = (None, false);
    loop {
        account.note(driver.machine.session());
        if let Some(shutdown) = watch.shutdown_by_now() {
            driver.machine.shut_down(shutdown);
        }
        match driver.next()? {
            Next::Event(event) => {
                let session = driver.machine.session();
                let asked = account.event(session, &event);
                if panicked {
                    continue;
                }
                match account.call(|| dispatch(&mut handler, session, event)) {
                    Ok(decision) => {
                        account.decided(session, asked, decision.as_ref());
                        if let Some(decision) = decision {
                            misuse = misuse.or(driver.machine.decide(decision).err());
                        }
                    }
                    Err(Panicked) => {
                        panicked = true;
                        account.failed(session, asked);
                        driver.machine.application_failed();
                    }
                }
            }
            // The goodbye takes too long.
            Next::Waiting if watch.is_overtime() => driver.machine.connection_lost(),
            Next::Decide | Next::Waiting => {}
            Next::Closed => break,
        }
    }
    driver.linger();
    misuse.map_or(Ok(()), |misuse| Err(Error::misuse(driver.peer(), misuse, None)))
}
