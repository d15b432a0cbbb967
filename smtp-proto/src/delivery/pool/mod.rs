//! Connections that are kept: who gets one, when there is to be another, when one is to end.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

/// How many connections there are, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolPolicy {
    /// Connections in all: idle, in use, and those that are just being opened or closed. Default 5; never under 1.
    pub connections: usize,
    /// Messages over one connection. Default 100; never under 1.
    pub messages: u32,
    /// How old a connection may be when it is handed out, or gets further messages, from the moment it was to be opened.
    /// Default 10 minutes.
    pub age: Duration,
    /// How long a connection is kept that nobody uses. Default 1 minute: servers wait for five by RFC 5321 section
    /// 4.5.3.2.7, and for less under load.
    pub idle: Duration,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self { connections: 5, messages: 100, age: Duration::from_secs(600), idle: Duration::from_secs(60) }
    }
}

/// Names a request for a connection, and the place that it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What is to be done for a pool.
#[derive(Debug, PartialEq, Eq)]
pub enum PoolAction<C> {
    /// The one who asked gets this connection.
    Hand(Ticket, C),
    /// The one who asked opens a connection.
    Open(Ticket),
    /// A connection is to be closed, and this new ticket to be released when it is.
    Close(Ticket, C),
    /// The one who asked gets nothing: the pool is closed.
    Refuse(Ticket),
}

/// The bookkeeping of kept connections `C`.
///
/// Behind every call, do what [`Pool::next`] says until it says nothing, and again at [`Pool::deadline`]. Whoever has a
/// ticket ends with it by one call: [`Pool::give_back`] with a connection in order, or [`Pool::release`] in every other
/// case, be it waiting, opening or sending. That is all a guard needs to do that is dropped, whatever was going on.
///
/// Connections go to who asked first. The one used last is handed out first, so that those too many become idle.
///
/// ```
/// use smtp_proto::Instant;
/// use smtp_proto::delivery::{Pool, PoolAction, PoolPolicy};
/// let now = Instant::default();
/// let mut pool = Pool::new(PoolPolicy::default());
/// let first = pool.request();
/// assert_eq!(pool.next(now), Some(PoolAction::Open(first)));
/// pool.give_back(first, "the connection", 1, now);
/// let second = pool.request();
/// assert_eq!(pool.next(now), Some(PoolAction::Hand(second, "the connection")));
/// ```
#[derive(Debug)]
pub struct Pool<C> {
    policy: PoolPolicy,
    last_ticket: u64,
    /// Who has asked and got nothing, in their order.
    waiting: VecDeque<Ticket>,
    /// Places that are taken, by whose ticket.
    places: BTreeMap<Ticket, Use>,
    /// The one used last is the last.
    idle: Vec<Idle<C>>,
    /// Given back, and not to be used again.
    spent: VecDeque<(Ticket, C)>,
    closed: bool,
}

/// What a connection has behind it.
#[derive(Debug, Clone, Copy)]
struct Use {
    opened: Instant,
    messages: u32,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    behind: Use,
    since: Instant,
}

impl<C> Pool<C> {
    /// A pool without connections.
    pub fn new(policy: PoolPolicy) -> Self {
        Self {
            policy,
            last_ticket: 0,
            waiting: VecDeque::new(),
            places: BTreeMap::new(),
            idle: Vec::new(),
            spent: VecDeque::new(),
            closed: false,
        }
    }

    /// Asks for a connection.
    pub fn request(&mut self) -> Ticket {
        let ticket = self.ticket();
        self.waiting.push_back(ticket);
        ticket
    }

    /// What is to be done, or `None` when there is nothing before the next call or the deadline.
    pub fn next(&mut self, now: Instant) -> Option<PoolAction<C>> {
        let ended = |idle: &Idle<C>| self.closed || self.end(idle) <= now;
        if let Some(position) = self.idle.iter().position(ended) {
            let Idle { connection, behind, .. } = self.idle.remove(position);
            return Some(PoolAction::Close(self.closing(behind), connection));
        }
        if let Some((ticket, connection)) = self.spent.pop_front() {
            return Some(PoolAction::Close(ticket, connection));
        }
        let first = *self.waiting.front()?;
        let action = if self.closed {
            PoolAction::Refuse(first)
        } else if let Some(Idle { connection, behind, .. }) = self.idle.pop() {
            self.places.insert(first, behind);
            PoolAction::Hand(first, connection)
        } else if self.places.len() < self.policy.connections.max(1) {
            self.places.insert(first, Use { opened: now, messages: 0 });
            PoolAction::Open(first)
        } else {
            return None;
        };
        self.waiting.pop_front();
        Some(action)
    }

    /// When [`Pool::next`] is to be asked although nothing else happens: a connection is idle for too long, or too old.
    pub fn deadline(&self) -> Option<Instant> {
        self.idle.iter().map(|idle| self.end(idle)).min()
    }

    /// How many messages may be sent over the connection that a ticket was given, or is to open.
    pub fn allowance(&self, ticket: Ticket) -> u32 {
        self.places.get(&ticket).map_or(0, |behind| self.policy.messages.max(1).saturating_sub(behind.messages))
    }

    /// Whether the connection that a ticket was given is too old for further messages, behind the first.
    pub fn is_old(&self, ticket: Ticket, now: Instant) -> bool {
        self.places.get(&ticket).is_some_and(|behind| behind.opened.after(self.policy.age) <= now)
    }

    /// Takes a connection back that is in order, between two messages, after so many of them under this ticket.
    pub fn give_back(&mut self, ticket: Ticket, connection: C, messages: u32, now: Instant) {
        let Some(mut behind) = self.places.remove(&ticket) else {
            // Its place is another's by now.
            let ticket = self.ticket();
            self.spent.push_back((ticket, connection));
            return;
        };
        behind.messages = behind.messages.saturating_add(messages);
        if self.closed || behind.messages >= self.policy.messages.max(1) {
            let ticket = self.closing(behind);
            self.spent.push_back((ticket, connection));
        } else {
            self.idle.push(Idle { connection, behind, since: now });
        }
    }

    /// Ends with a ticket: its turn or its place is free. A connection that it had is not used again; the caller has it,
    /// or lost it.
    pub fn release(&mut self, ticket: Ticket) {
        if self.places.remove(&ticket).is_none() {
            self.waiting.retain(|waiting| *waiting != ticket);
        }
    }

    /// Takes out what is idle, for a caller whose means to close connections are gone: drop it.
    pub fn take_idle(&mut self) -> Vec<C> {
        self.idle.drain(..).map(|idle| idle.connection).collect()
    }

    /// Hands nothing more out. What is in use stays so until it comes back; who waits is refused.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether it was closed, and everything has ended.
    pub fn is_closed(&self) -> bool {
        self.closed && self.waiting.is_empty() && self.connections() == 0 && self.spent.is_empty()
    }

    /// Connections in all, as the policy counts them.
    pub fn connections(&self) -> usize {
        self.places.len().saturating_add(self.idle.len())
    }

    /// How many wait for a connection.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.saturating_add(1);
        Ticket(self.last_ticket)
    }

    /// A place for a connection that must not be used again, even if it should be given back.
    fn closing(&mut self, behind: Use) -> Ticket {
        let ticket = self.ticket();
        self.places.insert(ticket, Use { messages: u32::MAX, ..behind });
        ticket
    }

    fn end(&self, idle: &Idle<C>) -> Instant {
        idle.since.after(self.policy.idle).min(idle.behind.opened.after(self.policy.age))
    }
}

#[cfg(test)]
mod tests;
