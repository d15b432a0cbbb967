//! Time, and waiting with an end.

use std::future::pending;
use std::time::Instant;

use tokio::time;

/// The runtime's time: a test may have stopped it.
pub(crate) fn now() -> Instant {
    time::Instant::now().into_std()
}

/// Waits for something, but not beyond a deadline.
pub(crate) async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => time::timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// Waits; without end when there is none.
pub(crate) async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => time::sleep_until(until.into()).await,
        None => pending().await,
    }
}
