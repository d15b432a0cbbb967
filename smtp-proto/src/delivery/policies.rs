//! All policies of whoever sends many messages.

use super::pool::PoolPolicy;
use super::rate::RateLimit;
use super::retry::Retry;
use super::url::Url;

/// All policies of whoever sends many messages.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Policies {
    /// How connections are kept.
    pub pool: PoolPolicy,
    /// When a message is tried again.
    pub retry: Retry,
    /// How many attempts there may be in how much time. Default: any number.
    pub rate: Option<RateLimit>,
}

/// What a URL says, and the defaults.
impl From<&Url> for Policies {
    fn from(url: &Url) -> Self {
        Self { pool: url.pool_policy(), retry: url.retry_policy(), rate: url.rate_limit() }
    }
}
