//! Who comes to a server, and who is turned away.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;

use super::gate::{ConnectionLimits, Gate};
use super::handle::{Handle, Watch};
use super::visit::Visit;
use crate::adapter::Service;
use crate::server::{Connection, TlsPolicy};
use crate::wire::{Reply, ReplyForm};

const FAILED: Reply = Reply::from_static("421 4.3.0 Local error; try again later");
const FULL: Reply = Reply::from_static("421 4.7.0 Too many connections; try again later");

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TurnedAway {
    /// There are as many as there may be in all.
    Total,
    /// There are as many as there may be from its address.
    PerAddress,
    /// The application made no handler for it: it panicked.
    ApplicationFailed,
}

impl TurnedAway {
    /// What the client is told: nothing in clear where TLS comes first.
    fn words(self, service: &Service) -> BytesMut {
        let (config, mut words) = (service.config(), BytesMut::new());
        if config.tls != TlsPolicy::Implicit {
            let reply = match self {
                Self::Total | Self::PerAddress => FULL,
                Self::ApplicationFailed => FAILED,
            };
            // RFC 2034 section 4: no enhanced code in a greeting.
            reply.write(ReplyForm::default(), &mut words);
        }
        words
    }
}

/// The addresses of the other end of a connection and of this one.
type Addresses = (Option<SocketAddr>, Option<SocketAddr>);

/// Where connections come to, whichever socket accepted them.
#[derive(Debug)]
pub struct Reception<F> {
    handle: Handle,
    gate: Arc<Gate>,
    arrivals: Mutex<Arrivals<F>>,
}

#[derive(Debug)]
struct Arrivals<F> {
    count: u64,
    new_handler: F,
}

impl<F> Reception<F> {
    /// Lets in as many as the limits allow, and makes a handler for each.
    pub fn new(handle: Handle, limits: ConnectionLimits, new_handler: F) -> Self {
        Self { handle, gate: Gate::new(limits), arrivals: Mutex::new(Arrivals { count: 0, new_handler }) }
    }

    /// Whether the server is to end.
    pub fn watch(&self) -> Watch {
        self.handle.watch()
    }

    /// Takes in a connection that came to the listener of this number. The addresses are those of the other end and of
    /// this one, where they have some.
    ///
    /// # Errors
    /// When it is turned away: try to write this, and close.
    pub fn receive<H>(
        &self,
        listener: usize,
        (peer, local): Addresses,
        service: &Service,
    ) -> Result<(Visit, H), BytesMut>
    where
        F: FnMut(&Connection) -> H,
    {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.count = arrivals.count.saturating_add(1);
        let connection = Connection { listener, local, ..Connection::new(arrivals.count, peer) };
        let client = peer.filter(|_| !service.config().proxy_protocol);
        let admitted = self.gate.admit(client.map(|client| client.ip())).and_then(|ticket| {
            let handler = catch_unwind(AssertUnwindSafe(|| (arrivals.new_handler)(&connection)));
            handler.map(|handler| (ticket, handler)).map_err(|_| TurnedAway::ApplicationFailed)
        });
        drop(arrivals);
        match admitted {
            Ok((ticket, handler)) => Ok((Visit::new(connection, &self.handle, Some(ticket)), handler)),
            Err(reason) => {
                self.handle.observers().tell(|observer| observer.turned_away(&connection, reason));
                Err(reason.words(service))
            }
        }
    }
}
