//! Waiting with an end.

use std::future::pending;
use std::time::Instant;

use async_std::future::timeout;
use async_std::task::sleep;

/// Waits for something, but not beyond a deadline.
pub(crate) async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout(deadline.saturating_duration_since(Instant::now()), future).await.ok(),
        None => Some(future.await),
    }
}

/// Waits; without end when there is none.
pub(crate) async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => sleep(until.saturating_duration_since(Instant::now())).await,
        None => pending().await,
    }
}
