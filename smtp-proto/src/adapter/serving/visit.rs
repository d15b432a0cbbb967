//! A connection while it is served: its place among the others, who is told of it, and what it runs in.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::gate::Ticket;
use super::handle::{Handle, Watch};
use super::observer::{Counting, Observer, name};
use super::trace::Trace;
use crate::server::{CloseReason, Connection, Decision, Event, Session};

/// A connection while it is served.
#[derive(Debug)]
pub struct Visit {
    /// What is told of it.
    pub account: Account,
    /// Whether it is to end.
    pub watch: Watch,
    _ticket: Option<Ticket>,
}

impl Visit {
    pub(super) fn new(connection: Connection, handle: &Handle, ticket: Option<Ticket>) -> Self {
        Self { account: Account::new(connection, handle.observers()), watch: handle.watch(), _ticket: ticket }
    }

    /// Of a connection that was accepted elsewhere: no limit is on it.
    pub fn unlimited(connection: Connection, handle: &Handle) -> Self {
        Self::new(connection, handle, None)
    }

    /// What it is known by.
    pub fn connection(&self) -> &Connection {
        &self.account.connection
    }

    /// The other end, for messages.
    pub fn peer(&self) -> String {
        self.connection().peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string())
    }
}

/// Those who are told.
#[derive(Clone)]
pub(super) struct Observers {
    pub(super) counting: Arc<Counting>,
    pub(super) others: Vec<Arc<dyn Observer>>,
}

impl Observers {
    /// Tells everybody. Whoever panics harms nobody else.
    pub(super) fn tell(&self, what: impl Fn(&dyn Observer)) {
        what(&*self.counting);
        for observer in &self.others {
            if catch_unwind(AssertUnwindSafe(|| what(&**observer))).is_err() {
                self.counting.failure();
            }
        }
    }
}

/// What is told of a session. Its end is told when it is dropped.
pub struct Account {
    connection: Connection,
    observers: Observers,
    trace: Trace,
    began: Instant,
    /// Messages, octets and refusals that have been told.
    told: (u64, u64, u64),
    reason: Option<CloseReason>,
}

/// An event that a handler deals with.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    event: &'static str,
    since: Instant,
}

/// A handler panicked.
#[derive(Debug, Clone, Copy)]
pub struct Panicked;

impl Account {
    fn new(connection: Connection, observers: Observers) -> Self {
        observers.tell(|observer| observer.opened(&connection));
        let trace = Trace::new(&connection);
        Self { connection, observers, trace, began: Instant::now(), told: (0, 0, 0), reason: None }
    }

    /// Something happens.
    pub fn event(&mut self, session: &Session, event: &Event) -> Asked {
        self.note(session);
        if let Event::Closing(reason) = event {
            self.reason = Some(reason.clone());
        }
        self.trace.event(event);
        self.observers.tell(|observer| observer.event(&self.connection, session, event));
        Asked { event: name(event), since: Instant::now() }
    }

    /// The handler has dealt with it.
    pub fn decided(&self, session: &Session, asked: Asked, decision: Option<&Decision>) {
        let took = asked.since.elapsed();
        self.trace.decided(asked.event, decision);
        self.observers.tell(|observer| observer.decided(&self.connection, session, asked.event, decision, took));
    }

    /// The handler has not dealt with it.
    pub fn failed(&self, session: &Session, asked: Asked) {
        self.trace.failed(asked.event);
        self.observers.tell(|observer| observer.failed(&self.connection, session, asked.event));
    }

    /// Takes note of what has come of the session.
    pub fn note(&mut self, session: &Session) {
        let (messages, octets, refused) = self.told;
        if session.messages() > messages {
            let octets = session.octets().saturating_sub(octets);
            self.trace.accepted(octets);
            self.observers.tell(|observer| observer.accepted(&self.connection, session, octets));
        }
        let refused = session.refused().saturating_sub(refused);
        if refused > 0 {
            self.observers.tell(|observer| observer.refused(&self.connection, session, refused));
        }
        self.told = (session.messages(), session.octets(), session.refused());
    }

    /// Runs a hook, which is lent. A panic in it goes no further; it must not be polled again then.
    pub fn hook<F: Future>(&self, mut hook: Pin<&mut F>) -> impl Future<Output = Result<F::Output, Panicked>> {
        poll_fn(move |context| match self.call(|| hook.as_mut().poll(context)) {
            Ok(polled) => polled.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        })
    }

    /// Calls a hook. A panic in it goes no further.
    ///
    /// # Errors
    /// When it panics.
    pub fn call<T>(&self, hook: impl FnOnce() -> T) -> Result<T, Panicked> {
        // What the handler leaves half-done nobody sees: it is not called any more.
        self.trace.within(|| catch_unwind(AssertUnwindSafe(hook)).map_err(|_| Panicked))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (reason, lasted) = (self.reason.as_ref(), self.began.elapsed());
        self.trace.closed(reason);
        self.observers.tell(|observer| observer.closed(&self.connection, reason, lasted));
    }
}
