//! The messages of a [`Reports`](super::Reports): to be sent, to be sent later, and what became of them.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::message::Message;
use crate::adapter::Error;
use crate::delivery::Report;

/// How many messages may have been taken and not been told of. Those that wait for another attempt are among them.
const MOST: usize = 1000;

/// How much content they may have; the last one taken may go beyond.
const MOST_OCTETS: usize = 256 << 20;

/// A message, and its place in the order of all.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) message: Message,
    pub(super) content: Bytes,
}

pub(super) type Told = (usize, Result<Report, Error>);

/// Shared by who takes the messages and those who send them.
pub(super) struct Batch {
    state: Mutex<State>,
    /// How many messages may be there to be sent, so that who sends never waits for one.
    ahead: usize,
}

#[derive(Default)]
struct State {
    /// To be sent, by their order: what comes back for any reason goes before what is new.
    ready: BTreeMap<usize, Job>,
    /// To be sent at a time.
    later: BTreeMap<(Instant, usize), Job>,
    reports: VecDeque<Told>,
    /// Taken and not told of.
    open: usize,
    /// Content of those that have not come to their ends.
    octets: usize,
    /// There are no more.
    complete: bool,
    /// Nobody wants to know any more.
    abandoned: bool,
    workers: usize,
    /// How many of them are not sending.
    free: usize,
    /// Counts what workers may want to know.
    changes: u64,
    waiting: BTreeMap<usize, Waker>,
    caller: Option<Waker>,
}

/// How it stands with a batch.
pub(super) struct Standing {
    /// There is something to send.
    pub(super) is_ready: bool,
    /// There is nothing to send, and never will be.
    pub(super) is_over: bool,
    /// When there will be something to send.
    pub(super) alarm: Option<Instant>,
    pub(super) changes: u64,
}

impl State {
    fn has_room(&self, ahead: usize) -> bool {
        !self.complete && self.open < MOST && self.octets < MOST_OCTETS && self.ready.len() < ahead
    }

    fn is_over(&self) -> bool {
        self.abandoned || self.complete && self.open == self.reports.len()
    }

    /// Who is to know that something has changed for workers.
    fn changed(&mut self) -> BTreeMap<usize, Waker> {
        self.changes = self.changes.wrapping_add(1);
        take(&mut self.waiting)
    }

    fn come_due(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let job = first.remove();
            self.ready.insert(job.index, job);
        }
    }
}

/// Of who takes the messages.
impl Batch {
    pub(super) fn new(ahead: usize) -> Self {
        Self { state: Mutex::default(), ahead }
    }

    pub(super) fn has_room(&self) -> bool {
        self.lock().has_room(self.ahead)
    }

    /// Another message was taken, with so many octets of content: it is put in, or told of.
    pub(super) fn opened(&self, octets: usize) {
        let mut state = self.lock();
        state.open = state.open.saturating_add(1);
        state.octets = state.octets.saturating_add(octets);
    }

    /// There are no more.
    pub(super) fn complete(&self) {
        let waiting = {
            let mut state = self.lock();
            state.complete = true;
            state.changed()
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Whether there is to be another worker, of so many at most. It is counted.
    pub(super) fn hire(&self, most: usize) -> bool {
        let mut state = self.lock();
        let wanted = state.workers < most && state.free < state.ready.len();
        if wanted {
            (state.workers, state.free) = (state.workers.saturating_add(1), state.free.saturating_add(1));
        }
        wanted
    }

    /// Whether there are messages and nobody sends them.
    pub(super) fn is_deserted(&self) -> bool {
        let state = self.lock();
        state.workers == 0 && !(state.ready.is_empty() && state.later.is_empty())
    }

    /// What became of a message; `None` inside when there is nothing to come.
    pub(super) fn poll_told(&self, context: &Context<'_>) -> Poll<Option<Told>> {
        let mut state = self.lock();
        if let Some(told) = state.reports.pop_front() {
            state.open = state.open.saturating_sub(1);
            return Poll::Ready(Some(told));
        }
        if state.is_over() {
            return Poll::Ready(None);
        }
        state.caller = Some(context.waker().clone());
        Poll::Pending
    }

    /// Nobody wants to know any more: what is not being sent is not sent.
    pub(super) fn abandon(&self) {
        let (waiting, _dropped) = {
            let mut state = self.lock();
            state.abandoned = true;
            (state.changed(), (take(&mut state.ready), take(&mut state.later)))
        };
        waiting.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of who sends them.
impl Batch {
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let mut state = self.lock();
        state.come_due(now);
        Standing {
            is_ready: !state.ready.is_empty(),
            is_over: state.is_over(),
            alarm: state.later.first_key_value().map(|((at, _), _)| *at),
            changes: state.changes,
        }
    }

    /// Waits until something has changed since then.
    pub(super) async fn changed(&self, worker: usize, since: u64) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.changes != since {
                return Poll::Ready(());
            }
            state.waiting.insert(worker, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until there is nothing to send, and never will be.
    pub(super) async fn over(&self, worker: usize) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.is_over() {
                return Poll::Ready(());
            }
            state.waiting.insert(worker, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Takes the first message, if one may be sent now.
    pub(super) fn take(&self, admit: impl FnOnce() -> Result<(), Instant>) -> Result<Option<Job>, Instant> {
        let (job, caller) = {
            let mut state = self.lock();
            if state.ready.is_empty() {
                return Ok(None);
            }
            admit()?;
            (state.ready.pop_first().map(|(_, job)| job), state.caller.take())
        };
        caller.into_iter().for_each(Waker::wake);
        Ok(job)
    }

    /// Has a message sent as soon as that can be, or not before a moment.
    pub(super) fn put_in(&self, job: Job, at: Option<Instant>) {
        let (waiting, _dropped) = {
            let mut state = self.lock();
            let dropped = match at {
                _ if state.abandoned => Some(job),
                Some(at) => state.later.insert((at, job.index), job),
                None => state.ready.insert(job.index, job),
            };
            (state.changed(), dropped)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Takes out all that is not being sent.
    pub(super) fn take_all(&self) -> Vec<Job> {
        let mut state = self.lock();
        let (ready, later) = (take(&mut state.ready), take(&mut state.later));
        ready.into_values().chain(later.into_values()).collect()
    }

    /// What became of a message with so many octets of content.
    pub(super) fn tell(&self, index: usize, octets: usize, result: Result<Report, Error>) {
        let (waiting, caller) = {
            let mut state = self.lock();
            state.octets = state.octets.saturating_sub(octets);
            state.reports.push_back((index, result));
            let waiting = if state.is_over() { state.changed() } else { BTreeMap::new() };
            (waiting, state.caller.take())
        };
        caller.into_iter().chain(waiting.into_values()).for_each(Waker::wake);
    }

    /// A worker begins to send, or ends that.
    pub(super) fn is_busy(&self, busy: bool) {
        let mut state = self.lock();
        state.free = if busy { state.free.saturating_sub(1) } else { state.free.saturating_add(1) };
    }

    /// A worker that was free is there no more.
    pub(super) fn leave(&self, worker: usize) {
        let caller = {
            let mut state = self.lock();
            (state.workers, state.free) = (state.workers.saturating_sub(1), state.free.saturating_sub(1));
            state.waiting.remove(&worker);
            state.caller.take()
        };
        caller.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_large_or_many_are_not_all_taken() {
        let batch = Batch::new(10);
        batch.opened(MOST_OCTETS - 1);
        assert!(batch.has_room());
        batch.opened(1);
        assert!(!batch.has_room());
        batch.tell(1, 1, Err(Error::MailerClosed));
        assert!(batch.has_room());
        (2..MOST).for_each(|_| batch.opened(0));
        assert!(!batch.has_room());
        // What has been told of makes room.
        let told = batch.poll_told(&Context::from_waker(Waker::noop()));
        assert!(matches!(told, Poll::Ready(Some((1, Err(Error::MailerClosed))))), "{told:?}");
        assert!(batch.has_room());
        batch.complete();
        assert!(!batch.has_room());
    }
}
