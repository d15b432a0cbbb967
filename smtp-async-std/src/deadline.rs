//! Waiting with an end.

use std::time::Instant;

use async_std::future::timeout;

/// Waits for something, but not beyond a deadline.
pub(crate) async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout(deadline.saturating_duration_since(Instant::now()), future).await.ok(),
        None => Some(future.await),
    }
}
