//! How much in how much time.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Instant;

/// A limit on how often something is done: a bucket of tokens, one taken each time.
///
/// A token comes back a full period after it was taken, so that no period whatever sees more than there are tokens: what
/// servers count as so many an hour. (A bucket that fills steadily lets nearly twice as many through in the first one.)
/// As many as there are tokens may be taken at once. It takes 16 octets for each that is out.
///
/// ```
/// use std::time::Duration;
/// use smtp_proto::{Instant, delivery::RateLimit};
/// let second = |number| Instant::since_epoch(Duration::from_secs(number));
/// let mut limit = RateLimit::new(2, Duration::from_secs(60));
/// assert_eq!(limit.take(second(0)), Ok(()));
/// assert_eq!(limit.take(second(5)), Ok(()));
/// assert_eq!(limit.take(second(10)), Err(second(60)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    count: usize,
    period: Duration,
    /// When those that are out were taken.
    taken: VecDeque<Instant>,
}

impl RateLimit {
    /// So many, but never under 1, in any period of this length.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        Self { count, period, taken: VecDeque::new() }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When none is left: the moment to ask again. Who else asks then may be faster.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        while self.taken.front().is_some_and(|taken| taken.after(self.period) <= now) {
            self.taken.pop_front();
        }
        match self.taken.front() {
            Some(first) if self.taken.len() >= self.count => Err(first.after(self.period)),
            _ => {
                self.taken.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::since_epoch(Duration::from_millis(milliseconds))
    }

    #[test]
    fn nothing_is_let_through_that_does_not_come_back() {
        let mut limit = RateLimit::new(0, Duration::MAX);
        assert_eq!(limit.take(at(1)), Ok(()), "never under 1");
        let end = limit.take(at(2)).unwrap_err();
        assert_eq!(end.elapsed(), Duration::MAX);
        let mut limit = RateLimit::new(1, Duration::ZERO);
        assert_eq!([limit.take(at(1)), limit.take(at(1))], [Ok(()), Ok(())], "no period, no limit");
        assert_eq!(limit.taken.len(), 1);
    }

    proptest! {
        #[test]
        fn no_period_sees_more_than_the_count_and_nobody_waits_in_vain(
            count in 1u32..6,
            steps in proptest::collection::vec(0u64..400, 1..60),
        ) {
            let mut limit = RateLimit::new(count, Duration::from_secs(1));
            let mut now = 0;
            let mut through: Vec<u64> = Vec::new();
            for step in steps {
                now += step;
                let recent = through.iter().filter(|before| **before + 1000 > now).count();
                match limit.take(at(now)) {
                    Ok(()) => {
                        prop_assert!(recent < count as usize);
                        through.push(now);
                    }
                    Err(again) => {
                        prop_assert_eq!(recent, count as usize, "there was one left");
                        prop_assert!(again > at(now));
                        let early = at(again.elapsed().as_millis() as u64 - 1);
                        prop_assert_eq!(limit.clone().take(early), Err(again));
                        prop_assert_eq!(limit.clone().take(again), Ok(()));
                    }
                }
                prop_assert!(limit.taken.len() <= count as usize);
            }
        }
    }
}
