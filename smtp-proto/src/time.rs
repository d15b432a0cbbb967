//! Time as a value: the machines hold no clock.

use core::time::Duration;

/// A moment, as the time since an epoch that the caller picked (for example the start of the connection).
///
/// All moments given to one machine must share that epoch, and none may lie before an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The moment this long after the epoch.
    pub const fn since_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time between the epoch and this moment.
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// The moment this much later.
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// The time from an earlier moment to this one; zero when it is not earlier.
    pub const fn duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
