//! The connections of a mailer: who has one, who waits for one, which are to be closed.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::task::Task;
use crate::adapter::sending::client::Client;
use crate::adapter::sending::runtime::{Runtime, System};
use crate::adapter::serving::either;
use crate::delivery::{Pool, PoolAction, PoolPolicy, Ticket};
use crate::time::Instant;

/// A connection of a mailer.
pub(super) type Connection<R> = Client<R, <R as System>::Socket>;

/// The connections of a mailer.
pub(super) struct Places<R: Runtime> {
    state: Mutex<State<R>>,
    epoch: std::time::Instant,
}

struct State<R: Runtime> {
    pool: Pool<Connection<R>>,
    /// Those who have asked for a connection and have not seen the answer.
    asked: BTreeMap<Ticket, Asked<R>>,
    /// To be closed by whoever keeps house.
    closing: Vec<(Ticket, Connection<R>)>,
    /// Somebody keeps house.
    kept: bool,
    keeper: Option<Waker>,
    /// When the keeper looks again by itself.
    alarm: Option<Instant>,
    /// Those who wait until all is closed.
    leaving: Vec<Waker>,
    /// Nothing more is handed out.
    ending: bool,
    /// Those who wait for something else, and give up then.
    resting: BTreeMap<u64, Waker>,
    last_rest: u64,
}

enum Asked<R: Runtime> {
    Waiting(Option<Waker>),
    Answered(Answer<R>),
}

enum Answer<R: Runtime> {
    Open,
    Connection(Connection<R>),
    Refused,
}

impl<R: Runtime> Places<R> {
    pub(super) fn new(policy: PoolPolicy) -> Self {
        let state = State {
            pool: Pool::new(policy),
            asked: BTreeMap::new(),
            closing: Vec::new(),
            kept: false,
            keeper: None,
            alarm: None,
            leaving: Vec::new(),
            ending: false,
            resting: BTreeMap::new(),
            last_rest: 0,
        };
        Self { state: Mutex::new(state), epoch: R::now() }
    }

    fn now(&self) -> Instant {
        Instant::since_epoch(R::now().saturating_duration_since(self.epoch))
    }

    /// Changes something and does what follows from it. Those who are concerned are woken when the lock is free.
    fn act<T>(&self, change: impl FnOnce(&mut State<R>, Instant) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let changed = change(&mut state, now);
        let mut wakers = Vec::new();
        // What is dropped here may take its time.
        let mut dropped = Vec::new();
        loop {
            match state.pool.next(now) {
                Some(PoolAction::Hand(ticket, connection)) => {
                    wakers.extend(state.answer(ticket, Answer::Connection(connection)));
                }
                Some(PoolAction::Open(ticket)) => wakers.extend(state.answer(ticket, Answer::Open)),
                Some(PoolAction::Refuse(ticket)) => wakers.extend(state.answer(ticket, Answer::Refused)),
                Some(PoolAction::Close(ticket, connection)) if state.kept => state.closing.push((ticket, connection)),
                Some(PoolAction::Close(ticket, connection)) => {
                    dropped.push(connection);
                    state.pool.release(ticket);
                }
                None => break,
            }
        }
        if !state.closing.is_empty() || state.is_early() || state.pool.is_closed() {
            wakers.extend(state.keeper.take());
        }
        if state.pool.is_closed() {
            wakers.append(&mut state.leaving);
        }
        if state.ending {
            wakers.extend(std::mem::take(&mut state.resting).into_values());
        }
        drop(state);
        drop(dropped);
        wakers.into_iter().for_each(Waker::wake);
        changed
    }

    /// Hands nothing more out.
    pub(super) fn close(&self) {
        self.act(|state, _| {
            state.pool.close();
            state.ending = true;
        });
    }

    /// Whether nothing more is handed out.
    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// Whether somebody waits for a connection.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().pool.waiting() > 0
    }

    /// Waits until nothing more is handed out.
    pub(super) fn ending(&self) -> impl Future<Output = ()> {
        let mut rest = Rest { places: self, number: None };
        poll_fn(move |context| rest.poll(context))
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all is closed.
    pub(super) async fn closed(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.pool.is_closed() {
                return Poll::Ready(());
            }
            state.leaving.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A wait that the end of a mailer ends.
struct Rest<'a, R: Runtime> {
    places: &'a Places<R>,
    number: Option<u64>,
}

impl<R: Runtime> Rest<'_, R> {
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.places.lock();
        if state.ending {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.last_rest = state.last_rest.saturating_add(1);
            state.last_rest
        });
        state.resting.insert(number, context.waker().clone());
        Poll::Pending
    }
}

impl<R: Runtime> Drop for Rest<'_, R> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.places.lock().resting.remove(&number);
        }
    }
}

impl<R: Runtime> State<R> {
    fn answer(&mut self, ticket: Ticket, answer: Answer<R>) -> Option<Waker> {
        match self.asked.insert(ticket, Asked::Answered(answer)) {
            Some(Asked::Waiting(waker)) => waker,
            _ => None,
        }
    }

    /// Whether something is due before the keeper looks by itself.
    fn is_early(&self) -> bool {
        match (self.pool.deadline(), self.alarm) {
            (Some(deadline), Some(alarm)) => deadline < alarm,
            (deadline, _) => deadline.is_some(),
        }
    }
}

/// A place among the connections. Whoever drops it loses the connection in it.
pub(super) struct Lease<R: Runtime> {
    places: Arc<Places<R>>,
    ticket: Ticket,
    /// The connection, if there is one already.
    pub(super) connection: Option<Connection<R>>,
    ended: bool,
}

impl<R: Runtime> Lease<R> {
    /// Waits for a place; `None` when there is none to be had any more.
    pub(super) async fn ask(places: &Arc<Places<R>>) -> Option<Self> {
        let (ticket, kept) = places.act(|state, _| {
            let ticket = state.pool.request();
            state.asked.insert(ticket, Asked::Waiting(None));
            (ticket, std::mem::replace(&mut state.kept, true))
        });
        let mut lease = Self { places: Arc::clone(places), ticket, connection: None, ended: false };
        if !kept {
            R::spawn(Task::housekeeping(Housekeeping { places: Arc::clone(places) }));
        }
        match poll_fn(|context| lease.poll_answer(context)).await {
            Answer::Open => {}
            Answer::Connection(connection) => lease.connection = Some(connection),
            Answer::Refused => return None,
        }
        Some(lease)
    }

    fn poll_answer(&mut self, context: &Context<'_>) -> Poll<Answer<R>> {
        let mut state = self.places.lock();
        match state.asked.remove(&self.ticket) {
            Some(Asked::Answered(answer)) => Poll::Ready(answer),
            Some(Asked::Waiting(_)) => {
                state.asked.insert(self.ticket, Asked::Waiting(Some(context.waker().clone())));
                Poll::Pending
            }
            None => Poll::Ready(Answer::Refused),
        }
    }

    /// How many messages may be sent over the connection.
    pub(super) fn allowance(&self) -> u32 {
        self.places.lock().pool.allowance(self.ticket)
    }

    /// Whether the connection is too old for further messages.
    pub(super) fn is_old(&self) -> bool {
        let now = self.places.now();
        self.places.lock().pool.is_old(self.ticket, now)
    }

    /// Gives the place back that nothing was done with.
    pub(super) fn give_back_unused(mut self) {
        if let Some(connection) = self.connection.take() {
            self.give_back(connection, 0);
        }
    }

    /// Gives a connection back that is in order, after so many messages.
    pub(super) fn give_back(mut self, connection: Connection<R>, messages: u32) {
        self.ended = true;
        self.places.act(|state, now| state.pool.give_back(self.ticket, connection, messages, now));
    }
}

impl<R: Runtime> Drop for Lease<R> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.places.act(|state, now| match state.asked.remove(&self.ticket) {
            // Nobody has touched it.
            Some(Asked::Answered(Answer::Connection(connection))) => {
                state.pool.give_back(self.ticket, connection, 0, now);
            }
            _ => state.pool.release(self.ticket),
        });
    }
}

/// Closes connections that are idle for too long, too old, or no longer needed.
pub(super) struct Housekeeping<R: Runtime> {
    places: Arc<Places<R>>,
}

impl<R: Runtime> Housekeeping<R> {
    /// Keeps house until there is nothing left to keep.
    pub(super) async fn run(self) {
        let places = &*self.places;
        let mut quitting = Vec::new();
        loop {
            let (closing, alarm, closed) = places.act(|state, _| {
                // What is idle no longer goes into `closing` behind this: then there is no wait.
                state.alarm = state.pool.deadline();
                (std::mem::take(&mut state.closing), state.alarm, state.pool.is_closed())
            });
            if closed {
                return;
            }
            quitting.extend(closing.into_iter().map(|(ticket, connection)| Box::pin(quit::<R>(ticket, connection))));
            let change = poll_fn(|context| {
                let mut ended = Vec::new();
                quitting.retain_mut(|quitting| match quitting.as_mut().poll(context) {
                    Poll::Ready(ticket) => {
                        ended.push(ticket);
                        false
                    }
                    Poll::Pending => true,
                });
                if !ended.is_empty() {
                    places.act(|state, _| ended.into_iter().for_each(|ticket| state.pool.release(ticket)));
                    return Poll::Ready(());
                }
                places.poll_work(context)
            });
            let alarm = alarm.and_then(|alarm| places.epoch.checked_add(alarm.elapsed()));
            either(pin!(change), pin!(R::sleep_until(alarm))).await;
        }
    }
}

impl<R: Runtime> Places<R> {
    /// Waits until there is something to do for who keeps house.
    fn poll_work(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.closing.is_empty() || state.is_early() || state.pool.is_closed() {
            return Poll::Ready(());
        }
        state.keeper = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The runtime has ended, or did not run it: what it would have closed is dropped.
impl<R: Runtime> Drop for Housekeeping<R> {
    fn drop(&mut self) {
        let dropped = self.places.act(|state, _| {
            (state.kept, state.keeper, state.alarm) = (false, None, None);
            let closing = std::mem::take(&mut state.closing);
            closing.iter().for_each(|(ticket, _)| state.pool.release(*ticket));
            (closing, state.pool.take_idle())
        });
        drop(dropped);
    }
}

async fn quit<R: Runtime>(ticket: Ticket, connection: Connection<R>) -> Ticket {
    // What fails here was not needed any more.
    let _ = connection.quit().await;
    ticket
}
