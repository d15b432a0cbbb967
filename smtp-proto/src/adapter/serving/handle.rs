//! What ends sessions from elsewhere and tells what they do, and how they come to know of it.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::observer::{Counting, Counts, Observer};
use super::session::{Drive, Either, either};
use super::visit::Observers;
use crate::server::Shutdown;

/// How long a session may go on that was told to end at once: then its hook is dropped, or its connection.
const GRACE: Duration = Duration::from_secs(1);

/// Ends a server, or sessions that are served one by one, from elsewhere, and tells what they do. Clones are the same.
#[derive(Clone, Default)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    /// Counts the changes of the orders, so that looking costs nothing while there is none.
    changes: AtomicUsize,
    changed: Condvar,
    counting: Arc<Counting>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
}

#[derive(Default)]
struct Orders {
    shutdown: Option<Shutdown>,
    /// When whoever ends gently is told to end at once.
    limit: Option<Instant>,
    /// Who is told of a change.
    wakers: HashMap<usize, Waker>,
    next_key: usize,
}

impl Handle {
    /// A handle of its own, for sessions that are served one by one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends a server gently: it takes no more connections, sessions end when their transaction is over, and `serve`
    /// returns when all have ended.
    pub fn shut_down(&self) {
        self.order(Some(Shutdown::AfterTransaction), None);
    }

    /// Like [`Handle::shut_down`], but transactions that run are broken off, too: their clients are told 421.
    ///
    /// What a handler does then it may finish within a second. In asynchronous adapters a hook that takes longer is
    /// dropped; a thread has to be waited for.
    pub fn shut_down_now(&self) {
        self.order(Some(Shutdown::Now), None);
    }

    /// [Ends gently](Handle::shut_down), and [at once](Handle::shut_down_now) when that takes longer than `limit`. Of
    /// several limits the earliest holds.
    pub fn shut_down_within(&self, limit: Duration) {
        self.order(Some(Shutdown::AfterTransaction), Instant::now().checked_add(limit));
    }

    /// What has been done so far. Sessions that run are in it.
    pub fn counts(&self) -> Counts {
        self.shared.counting.counts()
    }

    /// Tells this observer of everything from now on; sessions that run already keep it to themselves.
    pub fn observe(&self, observer: impl Observer + 'static) {
        self.shared.observers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(observer));
    }

    pub(super) fn observers(&self) -> Observers {
        let others = self.shared.observers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Observers { counting: Arc::clone(&self.shared.counting), others }
    }

    fn order(&self, shutdown: Option<Shutdown>, limit: Option<Instant>) {
        let mut orders = self.orders();
        let shutdown = if orders.shutdown == Some(Shutdown::Now) { orders.shutdown } else { shutdown };
        let limit = [orders.limit, limit].into_iter().flatten().min();
        if (shutdown, limit) == (orders.shutdown, orders.limit) {
            return;
        }
        (orders.shutdown, orders.limit) = (shutdown, limit);
        self.shared.changes.fetch_add(1, Ordering::AcqRel);
        // Not under the lock: a waker may be anything.
        let wakers: Vec<_> = orders.wakers.values().cloned().collect();
        drop(orders);
        self.shared.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until it is used.
    pub fn wait(&self) {
        let orders = self.orders();
        drop(self.shared.changed.wait_while(orders, |orders| orders.shutdown.is_none()));
    }

    /// What somebody looks at who is to end with it.
    pub fn watch(&self) -> Watch {
        Watch { handle: self.clone(), seen: 0, shutdown: None, limit: None, key: None, waker: None, told_now: None }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shutdown", &self.orders().shutdown).finish_non_exhaustive()
    }
}

/// What somebody looks at who ends with a [`Handle`].
#[derive(Debug)]
pub struct Watch {
    handle: Handle,
    /// The number of changes up to the last look.
    seen: usize,
    shutdown: Option<Shutdown>,
    limit: Option<Instant>,
    key: Option<usize>,
    /// What is registered under the key.
    waker: Option<Waker>,
    told_now: Option<Instant>,
}

/// What a wait for orders came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// There are new orders.
    Orders,
    /// Who was told to end at once has not.
    Overtime,
}

impl Watch {
    /// How to end, if it is to end.
    pub fn shutdown(&mut self) -> Option<Shutdown> {
        if self.has_changed() {
            let orders = self.handle.orders();
            // Changes are counted under the lock.
            self.seen = self.handle.shared.changes.load(Ordering::Acquire);
            (self.shutdown, self.limit) = (orders.shutdown, orders.limit);
        }
        self.shutdown
    }

    /// The same for somebody who only looks now and then: the limit is looked at as well.
    pub fn shutdown_by_now(&mut self) -> Option<Shutdown> {
        let gentle = self.shutdown() == Some(Shutdown::AfterTransaction);
        if gentle && self.limit.is_some_and(|limit| limit <= Instant::now()) {
            self.handle.shut_down_now();
        }
        self.shutdown()
    }

    /// Whether it was told to end at once so long ago that it is to be broken off.
    pub fn is_overtime(&mut self) -> bool {
        self.shutdown_by_now() == Some(Shutdown::Now)
            && self.told_now.get_or_insert_with(Instant::now).elapsed() >= GRACE
    }

    /// Waits until it is to end.
    pub async fn until_shutdown(&mut self) {
        while self.shutdown().is_none() {
            poll_fn(|context| self.poll_change(context)).await;
        }
    }

    /// Waits for new orders, or until there was time enough to follow the last.
    pub(super) async fn attention<D: Drive>(&mut self) -> Attention {
        if self.has_changed() {
            return Attention::Orders;
        }
        let until = match self.shutdown {
            None => None,
            Some(Shutdown::AfterTransaction) => self.limit,
            Some(Shutdown::Now) => D::now().checked_add(GRACE),
        };
        let change = poll_fn(|context| self.poll_change(context));
        match either(pin!(change), pin!(D::sleep_until(until))).await {
            Either::First(()) => Attention::Orders,
            Either::Second(()) if self.shutdown == Some(Shutdown::Now) => Attention::Overtime,
            Either::Second(()) => {
                self.handle.shut_down_now();
                Attention::Orders
            }
        }
    }

    /// Waits until there was time enough to end.
    pub(super) async fn overtime<D: Drive>(&mut self) {
        while self.attention::<D>().await != Attention::Overtime {
            self.shutdown();
        }
    }

    fn has_changed(&self) -> bool {
        self.handle.shared.changes.load(Ordering::Acquire) != self.seen
    }

    fn poll_change(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            let waker = context.waker().clone();
            let mut orders = self.handle.orders();
            let key = *self.key.get_or_insert_with(|| {
                orders.next_key = orders.next_key.wrapping_add(1);
                orders.next_key
            });
            orders.wakers.insert(key, waker.clone());
            self.waker = Some(waker);
        }
        // Behind the registration, so that no change is missed.
        if self.has_changed() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.handle.orders().wakers.remove(&key);
        }
    }
}
