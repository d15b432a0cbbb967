//! Who is told what servers do, and what it comes to in numbers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::reception::TurnedAway;
use crate::server::{CloseReason, Connection, Decision, Event, Session};

/// Is told what servers and sessions do: for metrics and logs. Every method does nothing by default.
///
/// It is called between the events of a session, by whatever serves it: be quick. A panic in it is caught and counted.
/// The name of an event is that of its hook in `Handler`.
#[allow(unused_variables, reason = "the names of the arguments are documentation")]
pub trait Observer: Send + Sync {
    /// A session begins.
    fn opened(&self, connection: &Connection) {}

    /// A connection is turned away.
    fn turned_away(&self, connection: &Connection, reason: TurnedAway) {}

    /// Something happens: the handler is called next. Credentials are in an [`Event::Authenticate`]: keep nothing of
    /// them.
    fn event(&self, connection: &Connection, session: &Session, event: &Event) {}

    /// The handler has dealt with an event and took so long; the decision, where it was asked for one, or where it
    /// refuses what comes in.
    fn decided(
        &self,
        connection: &Connection,
        session: &Session,
        event: &'static str,
        decision: Option<&Decision>,
        took: Duration,
    ) {
    }

    /// The handler has not dealt with an event: it panicked, or took too long and was given up.
    fn failed(&self, connection: &Connection, session: &Session, event: &'static str) {}

    /// A message with so many octets is accepted.
    fn accepted(&self, connection: &Connection, session: &Session, octets: u64) {}

    /// So many senders, recipients or messages are refused, for whatever reason.
    fn refused(&self, connection: &Connection, session: &Session, count: u64) {}

    /// A session is over; without a reason when it was broken off.
    fn closed(&self, connection: &Connection, reason: Option<&CloseReason>, lasted: Duration) {}
}

/// What a server, or sessions under one handle, have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Sessions that are open.
    pub open: u64,
    /// Sessions that were ever open.
    pub sessions: u64,
    /// Connections that were turned away.
    pub turned_away: u64,
    /// Messages that were accepted.
    pub messages: u64,
    /// Octets of their content.
    pub octets: u64,
    /// Senders, recipients and messages that were refused.
    pub refused: u64,
    /// Panics of the application, and hooks that were given up.
    pub failures: u64,
}

/// The observer that counts.
#[derive(Debug, Default)]
pub(super) struct Counting(Mutex<Counts>);

impl Counting {
    pub(super) fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failure(&self) {
        self.add(1, |counts| &mut counts.failures);
    }

    fn add(&self, number: u64, count: impl FnOnce(&mut Counts) -> &mut u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count(&mut counts);
        *count = count.saturating_add(number);
    }
}

impl Observer for Counting {
    fn opened(&self, _: &Connection) {
        self.add(1, |counts| &mut counts.open);
        self.add(1, |counts| &mut counts.sessions);
    }

    fn turned_away(&self, _: &Connection, reason: TurnedAway) {
        self.add(1, |counts| &mut counts.turned_away);
        if reason == TurnedAway::ApplicationFailed {
            self.failure();
        }
    }

    fn failed(&self, _: &Connection, _: &Session, _: &'static str) {
        self.failure();
    }

    fn accepted(&self, _: &Connection, _: &Session, octets: u64) {
        self.add(1, |counts| &mut counts.messages);
        self.add(octets, |counts| &mut counts.octets);
    }

    fn refused(&self, _: &Connection, _: &Session, count: u64) {
        self.add(count, |counts| &mut counts.refused);
    }

    fn closed(&self, _: &Connection, _: Option<&CloseReason>, _: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.open = counts.open.saturating_sub(1);
    }
}

/// The name of the hook for an event.
pub(super) fn name(event: &Event) -> &'static str {
    match event {
        Event::Connected => "connected",
        Event::Hello(_) => "hello",
        Event::StartTls => "starttls",
        Event::Authenticate(_) => "authenticate",
        Event::AuthenticationFailed(_) => "authentication_failed",
        Event::Authenticated(_) => "authenticated",
        Event::Mail(_) => "mail",
        Event::Recipients(_) => "recipients",
        Event::Data => "data",
        Event::Body(_) => "body",
        Event::Burl { .. } => "burl",
        Event::MessageEnd { .. } => "message_end",
        Event::Verify(_) => "verify",
        Event::Expand(_) => "expand",
        Event::Help(_) => "help",
        Event::Etrn(_) => "etrn",
        Event::Xclient(_) => "xclient",
        Event::Other { .. } => "other",
        Event::Reset(_) => "reset",
        Event::Abuse(_) => "abuse",
        Event::Closing(_) => "closing",
    }
}
