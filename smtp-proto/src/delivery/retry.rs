//! When to try again what failed for now.

use core::time::Duration;

/// How often, and when, a message is tried again that failed for now.
///
/// Each delay is longer than the one before by a factor, and spread by equal jitter (Marc Brooker, "Exponential Backoff
/// And Jitter", 2015): half of it is certain, the other half random, so that clients which failed together do not all
/// come back together. Full jitter spreads wider, but may come back at once to a server that has asked for time.
///
/// The defaults suit a program that waits for its mail to be taken: four attempts, with at most 21 s between them in all.
/// A queue has longer ones; RFC 5321 section 4.5.4.1 asks for 30 minutes between attempts, and four to five days in all.
///
/// ```
/// use std::time::Duration;
/// use smtp_proto::delivery::Retry;
/// let mut retry = Retry::default();
/// retry.attempts = 2;
/// assert!(retry.delay(1, 0).is_some_and(|delay| delay >= Duration::from_millis(500)));
/// assert_eq!(retry.delay(2, 0), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts in all, with the first one. Default 4; never under 1.
    pub attempts: u32,
    /// The delay between the first attempt and the second, before jitter. Default 1 s.
    pub first_delay: Duration,
    /// By how much each delay is longer than the one before. Default 4; never under 1.
    pub factor: u32,
    /// The longest delay. Default 5 minutes.
    pub longest_delay: Duration,
    /// Whether recipients are sent to again for which nobody knows whether the server has taken the message. Default no:
    /// they may get it twice, and where the connection always breaks behind the content, as often as there are attempts.
    /// Without it they may not get it at all, and the report says so.
    pub resend_unknown: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_delay: Duration::from_secs(1),
            factor: 4,
            longest_delay: Duration::from_secs(300),
            resend_unknown: false,
        }
    }
}

impl Retry {
    /// How long to wait after so many attempts; `None` when there is to be no further one. `random`: 64 random bits.
    pub fn delay(&self, attempts: u32, random: u64) -> Option<Duration> {
        let Some(grown) = attempts.checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        if attempts >= self.attempts {
            return None;
        }
        let factor = self.factor.max(1).saturating_pow(grown);
        let delay = self.first_delay.saturating_mul(factor).min(self.longest_delay);
        // From 1/2 to 1, in the 53 bits that the type has.
        let share = 0.5 + (random >> 11) as f64 / (1u64 << 54) as f64;
        Some(Duration::try_from_secs_f64(delay.as_secs_f64() * share).map_or(delay, |jittered| jittered.min(delay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_grow_up_to_the_longest_and_are_finite_in_number() {
        let retry = Retry { attempts: 8, ..Retry::default() };
        let most: Vec<u64> =
            (1..8).map(|attempts| retry.delay(attempts, u64::MAX).unwrap().as_millis() as u64).collect();
        assert_eq!(most, [1000, 4000, 16_000, 64_000, 256_000, 300_000, 300_000]);
        let least: Vec<u64> = (1..8).map(|attempts| retry.delay(attempts, 0).unwrap().as_millis() as u64).collect();
        assert_eq!(least, [500, 2000, 8000, 32_000, 128_000, 150_000, 150_000]);
        for attempts in [8, 9, u32::MAX] {
            assert_eq!(retry.delay(attempts, 0), None);
        }
    }

    #[test]
    fn jitter_is_between_half_and_all_and_reaches_both_sides_of_the_middle() {
        let retry = Retry { first_delay: SECOND, ..Retry::default() };
        let delays = (0..64).map(|bit| retry.delay(1, (1u64 << 63).rotate_left(bit)).unwrap());
        assert!(delays.clone().all(|delay| (SECOND / 2..=SECOND).contains(&delay)));
        assert_eq!(retry.delay(1, 1 << 63), Some(SECOND * 3 / 4));
        assert_eq!(retry.delay(1, 1 << 62), Some(SECOND * 5 / 8));
    }

    #[test]
    fn extreme_policies_neither_overflow_nor_go_on_for_ever() {
        let endless = Retry {
            attempts: u32::MAX,
            first_delay: Duration::MAX,
            factor: u32::MAX,
            longest_delay: Duration::MAX,
            resend_unknown: false,
        };
        for random in [0, 1, u64::MAX] {
            assert!(endless.delay(u32::MAX - 1, random).unwrap() >= Duration::MAX / 2 - SECOND);
        }
        assert_eq!(endless.delay(u32::MAX, 0), None);
        let none = Retry { attempts: 0, factor: 0, ..Retry::default() };
        assert_eq!(none.delay(0, 0), Some(Duration::ZERO), "there is always a first attempt");
        assert_eq!(none.delay(1, 0), None);
        let constant = Retry { factor: 0, ..Retry::default() };
        assert_eq!(constant.delay(3, 0), Some(SECOND / 2));
    }
}
