//! Waiting with an end.

use std::time::Instant;

use tokio::time::timeout_at;

/// Waits for something, but not beyond a deadline.
pub(crate) async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}
