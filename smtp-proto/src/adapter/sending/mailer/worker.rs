//! Whoever sends messages of a [`Reports`](super::Reports): over a connection at a time, as many on their way as that
//! allows.

use std::pin::pin;
use std::sync::Arc;
use std::thread::panicking;
use std::time::Instant;

use super::batch::{Batch, Job};
use super::session::{Session, Whole};
use super::{Route, Shared, after};
use crate::adapter::Error;
use crate::adapter::sending::runtime::{Drive, Runtime};
use crate::adapter::serving::{Either, either};
use crate::client::{Content, Event, Outcome, RequestId};
use crate::delivery::{Endpoint, NextAttempt};

/// How many messages go over a connection before somebody else gets it who waits for one.
const TURN: u32 = 32;

/// Sends messages of a batch until there are no more.
pub(super) struct Worker<R: Runtime> {
    shared: Arc<Shared<R>>,
    batch: Arc<Batch>,
    number: usize,
    /// Messages that it has taken.
    held: Vec<Held>,
    busy: bool,
    /// The rate allows no attempt before.
    not_before: Option<Instant>,
}

/// A message that a worker has taken.
struct Held {
    job: Job,
    /// Since when it has been on its way: from then on it may arrive.
    given: Option<Instant>,
    /// What the session knows it as.
    id: Option<RequestId>,
}

impl<R: Runtime> Worker<R> {
    pub(super) fn new(shared: Arc<Shared<R>>, batch: Arc<Batch>, number: usize) -> Self {
        Self { shared, batch, number, held: Vec::new(), busy: false, not_before: None }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (batch, number) = (Arc::clone(&self.batch), self.number);
        while self.has_work().await {
            let work = async {
                match &shared.route {
                    Route::Endpoint(endpoint) => self.work(&shared, endpoint).await,
                    Route::Direct(_) => self.work_directly(&shared).await,
                }
            };
            // A connection with messages on their way is lost then.
            if let Either::First(()) = either(pin!(batch.over(number)), pin!(work)).await {
                return;
            }
            self.set_busy(false);
        }
    }

    /// Waits until there is something to send; false when there never will be.
    async fn has_work(&mut self) -> bool {
        loop {
            if self.shared.places.is_ending() {
                self.shared.give_up(&self.batch);
                return false;
            }
            let now = R::now();
            let standing = self.batch.standing(now);
            let not_before = self.not_before.filter(|not_before| *not_before > now);
            match not_before {
                _ if standing.is_over => return false,
                None if standing.is_ready => return true,
                _ => {}
            }
            let alarm = if standing.is_ready { not_before } else { standing.alarm };
            let rested = self.shared.rested(alarm);
            either(pin!(self.batch.changed(self.number, standing.changes)), pin!(rested)).await;
        }
    }

    /// Takes a message if one may be sent.
    fn take(&mut self) -> bool {
        self.not_before = None;
        match self.batch.take(|| self.shared.admit()) {
            Ok(Some(job)) => {
                self.held.push(Held { job, given: None, id: None });
                self.set_busy(true);
                return true;
            }
            Ok(None) => {}
            Err(later) => self.not_before = Some(later),
        }
        false
    }

    fn set_busy(&mut self, busy: bool) {
        if std::mem::replace(&mut self.busy, busy) != busy {
            self.batch.is_busy(busy);
        }
    }

    /// Sends messages over a connection for as long as there are any.
    async fn work(&mut self, shared: &Shared<R>, endpoint: &Endpoint) {
        // When it is closed, somebody else sees that.
        let Some(lease) = shared.lease().await else { return };
        if !self.take() {
            lease.give_back_unused();
            return;
        }
        match shared.open(lease, endpoint).await {
            Ok(session) => self.run_session(session).await,
            Err(error) => {
                if let Some(Held { job, .. }) = self.held.pop() {
                    shared.conclude(&self.batch, job, Err(error));
                }
            }
        }
    }

    async fn run_session(&mut self, mut session: Session<R>) {
        let mut given = 0u32;
        loop {
            self.supply(&mut session, &mut given);
            if self.held.iter().all(|held| held.given.is_none()) {
                break;
            }
            match self.outcome(&mut session).await {
                Some(Ok((id, outcome))) => self.take_outcome(&mut session, id, outcome),
                // Every message has had its outcome before.
                Some(Err(_)) => break,
                None => {}
            }
        }
        self.put_back();
        session.give_back();
    }

    /// Waits for an outcome; `None` when there may be something to send.
    async fn outcome(&self, session: &mut Session<R>) -> Option<Result<(RequestId, Outcome), Error>> {
        let standing = self.batch.standing(R::now());
        let alarm = if standing.is_ready { self.not_before } else { standing.alarm };
        let outcome = session.connection.until(|event| match event {
            Event::Outcome { id, outcome } => Some((id, outcome)),
            _ => None,
        });
        let changed = self.batch.changed(self.number, standing.changes);
        let changed = async { either(pin!(changed), pin!(R::sleep_until(alarm))).await };
        match either(pin!(changed), pin!(outcome)).await {
            Either::First(_) => None,
            Either::Second(outcome) => Some(outcome),
        }
    }

    /// Gives the session as many messages as it has room for.
    fn supply(&mut self, session: &mut Session<R>, given: &mut u32) {
        self.not_before = None;
        loop {
            let is_there = self.held.iter().any(|held| held.given.is_none());
            let ending = self.shared.places.is_ending() && !is_there;
            let room = !ending && session.connection.driver.session().has_room();
            if !room || *given >= session.allowance(TURN, self.shared.places.is_wanted()) || !(is_there || self.take())
            {
                return;
            }
            let Some(position) = self.held.iter().position(|held| held.given.is_none()) else { return };
            let Some(held) = self.held.get_mut(position) else { return };
            let Some(envelope) = held.job.message.due() else { return };
            let content = Content::Whole(held.job.content.clone());
            match session.connection.call(|machine| machine.send(envelope, content)) {
                Ok(id) => {
                    (held.given, held.id) = (Some(R::now()), Some(id));
                    *given = given.saturating_add(1);
                }
                // What is over takes nothing; the message goes over another.
                Err(Error::Over { .. }) => return,
                Err(error) => {
                    let Held { job, .. } = self.held.swap_remove(position);
                    self.shared.conclude(&self.batch, job, Err(error));
                }
            }
        }
    }

    fn take_outcome(&mut self, session: &mut Session<R>, id: RequestId, outcome: Outcome) {
        let Some(position) = self.held.iter().position(|held| held.id == Some(id)) else { return };
        let Held { job, given, .. } = self.held.swap_remove(position);
        if let Some(since) = given {
            let took = R::now().saturating_duration_since(since);
            self.shared.record(|health| health.responded(took));
        }
        if session.has_judged(&outcome) {
            self.shared.conclude(&self.batch, job, Ok(outcome));
        } else {
            self.batch.put_in(job, None);
        }
    }

    /// Sends one message to where its recipients are.
    async fn work_directly(&mut self, shared: &Shared<R>) {
        if !self.take() {
            return;
        }
        let Some(held) = self.held.first_mut() else { return };
        let Some(envelope) = held.job.message.due() else { return };
        let content = Whole(held.job.content.clone());
        held.given = Some(R::now());
        let attempt = shared.attempt(&envelope, &content).await;
        if let Some(Held { job, .. }) = self.held.pop() {
            shared.conclude(&self.batch, job, attempt);
        }
    }

    /// Has others send what was not given to a session.
    fn put_back(&mut self) {
        for Held { job, given, .. } in std::mem::take(&mut self.held) {
            // What panicked once would do so again.
            if given.is_none() && !panicking() {
                self.batch.put_in(job, None);
            } else {
                // Its session is gone, and with it what is known.
                self.batch.tell(job.index, job.content.len(), Ok(job.message.lost()));
            }
        }
    }
}

impl<R: Runtime> Shared<R> {
    /// Takes what came of an attempt.
    pub(super) fn conclude(&self, batch: &Batch, mut job: Job, attempt: Result<Outcome, Error>) {
        match job.message.attempted(self, attempt) {
            NextAttempt::AtOnce => batch.put_in(job, None),
            NextAttempt::After(delay) => batch.put_in(job, Some(after::<R>(delay))),
            NextAttempt::Done => self.end(batch, job),
        }
    }

    pub(super) fn end(&self, batch: &Batch, job: Job) {
        let result = job.message.ended(self);
        batch.tell(job.index, job.content.len(), result);
    }

    /// The mailer is closed: what waits is not sent.
    pub(super) fn give_up(&self, batch: &Batch) {
        for mut job in batch.take_all() {
            job.message.give_up(Error::MailerClosed);
            self.end(batch, job);
        }
    }
}

/// The runtime has ended, or did not run it, or something panicked.
impl<R: Runtime> Drop for Worker<R> {
    fn drop(&mut self) {
        // A message whose reports nobody wants comes to no end that is told.
        if !self.batch.is_abandoned() {
            self.put_back();
        }
        self.set_busy(false);
        self.batch.leave(self.number);
    }
}
