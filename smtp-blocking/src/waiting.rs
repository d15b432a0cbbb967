//! Futures on a thread that waits for them: what the adapters share of their clients is written with futures.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

thread_local! {
    /// When the thread looks again, if nothing wakes it before.
    static ALARM: Cell<Option<Instant>> = const { Cell::new(None) };
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future. What it waits for may block while it is polled.
pub(crate) fn finished<T>(future: impl Future<Output = T>) -> T {
    // One may wait for another.
    let outer = ALARM.take();
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let output = loop {
        ALARM.set(None);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            break output;
        }
        match ALARM.get() {
            Some(alarm) => thread::park_timeout(alarm.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    };
    ALARM.set(outer);
    output
}

/// Waits, where the future of a [`finished`] waits; without end when there is none.
pub(crate) async fn sleep_until(until: Option<Instant>) {
    poll_fn(|_| match until {
        Some(until) if until <= Instant::now() => Poll::Ready(()),
        Some(until) => {
            ALARM.set(Some(ALARM.get().map_or(until, |alarm| alarm.min(until))));
            Poll::Pending
        }
        None => Poll::Pending,
    })
    .await;
}
