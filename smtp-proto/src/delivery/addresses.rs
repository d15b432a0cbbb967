//! Connecting to one of several addresses: Happy Eyeballs version 2 (RFC 8305 sections 4 and 5).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::time::Instant;

/// Attempts to connect to the addresses of one server, the next beginning when the one before takes too long or fails.
///
/// Whoever connects asks [`Racing::next`], and again at the moment it names or when an attempt failed. The first
/// connection that is there wins; the others are dropped.
///
/// ```
/// use std::time::Duration;
/// use smtp_proto::Instant;
/// use smtp_proto::delivery::{Racing, RacingStep};
/// let [a, b] = ["[2001:db8::1]:25", "192.0.2.1:25"].map(|address| address.parse().unwrap());
/// let mut racing = Racing::new([a, b]);
/// let start = Instant::default();
/// let later = start.after(Duration::from_millis(250));
/// assert_eq!(racing.next(start), RacingStep::Start(a));
/// assert_eq!(racing.next(start), RacingStep::Wait(Some(later)));
/// assert_eq!(racing.next(later), RacingStep::Start(b));
/// ```
#[derive(Debug, Clone)]
pub struct Racing {
    waiting: VecDeque<SocketAddr>,
    running: Vec<SocketAddr>,
    delay: Duration,
    /// When the next attempt begins, whatever becomes of the others.
    due: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RacingStep {
    /// Begin to connect to this address.
    Start(SocketAddr),
    /// Wait until an attempt ends, or for this moment if there is one.
    Wait(Option<Instant>),
    /// All attempts failed, or there was no address.
    Exhausted,
}

impl Racing {
    /// The time between the beginnings of two attempts, unless the first of them fails before (RFC 8305 section 5).
    pub const DELAY: Duration = Duration::from_millis(250);
    /// The shortest such time (RFC 8305 section 5).
    pub const SHORTEST_DELAY: Duration = Duration::from_millis(10);

    /// A race to these addresses, in the order of the resolver (RFC 6724); IPv6 and IPv4 take turns, beginning with the
    /// first address.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut seen: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !seen.contains(&address) {
                seen.push(address);
            }
        }
        let first_is_ipv6 = seen.first().is_some_and(SocketAddr::is_ipv6);
        let (first, second): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
        let (mut first, mut second) = (first.into_iter(), second.into_iter());
        let mut waiting = VecDeque::new();
        loop {
            let pair = [first.next(), second.next()];
            if pair == [None, None] {
                break;
            }
            waiting.extend(pair.into_iter().flatten());
        }
        Self { waiting, running: Vec::new(), delay: Self::DELAY, due: None }
    }

    /// Takes this time instead of [`Racing::DELAY`], but never under [`Racing::SHORTEST_DELAY`]. With `Duration::MAX`
    /// there is one attempt at a time.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: delay.max(Self::SHORTEST_DELAY), ..self }
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Instant) -> RacingStep {
        if self.waiting.is_empty() && self.running.is_empty() {
            return RacingStep::Exhausted;
        }
        match self.due {
            Some(due) if due > now && !self.waiting.is_empty() => return RacingStep::Wait(Some(due)),
            _ => {}
        }
        let Some(address) = self.waiting.pop_front() else {
            return RacingStep::Wait(None);
        };
        self.running.push(address);
        self.due = Some(now.after(self.delay));
        RacingStep::Start(address)
    }

    /// Takes that an attempt failed, so that the next one begins at once.
    pub fn failed(&mut self, address: SocketAddr) {
        if let Some(position) = self.running.iter().position(|running| *running == address) {
            self.running.remove(position);
            self.due = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RacingStep::{Exhausted, Start, Wait};
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    /// IPv6 addresses are negative.
    fn address(number: i16) -> SocketAddr {
        let text = if number < 0 { format!("[2001:db8::{}]:25", -number) } else { format!("192.0.2.{number}:25") };
        text.parse().unwrap()
    }

    fn order(numbers: &[i16]) -> Vec<i16> {
        let mut racing = Racing::new(numbers.iter().copied().map(address));
        let mut order = Vec::new();
        loop {
            match racing.next(at(0)) {
                Start(started) => {
                    order.push(*numbers.iter().find(|number| address(**number) == started).unwrap());
                    racing.failed(started);
                }
                Exhausted => return order,
                Wait(_) => panic!("waits while nothing runs"),
            }
        }
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::since_epoch(Duration::from_millis(milliseconds))
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        for (given, taken) in [
            (&[][..], &[][..]),
            (&[1], &[1]),
            (&[-1, -2, -3, 1, 2], &[-1, 1, -2, 2, -3]),
            (&[1, 2, -1], &[1, -1, 2]),
            (&[1, -1, 2, -2], &[1, -1, 2, -2]),
            (&[-1, 1, 2, 3], &[-1, 1, 2, 3]),
            (&[1, 1, -1, 2, -1, 1], &[1, -1, 2]),
        ] {
            assert_eq!(order(given), taken, "{given:?}");
        }
    }

    #[test]
    fn the_next_begins_after_the_delay_or_a_failure() {
        let [a, b, c, d] = [-1, 1, -2, 2].map(address);
        let mut racing = Racing::new([a, b, c, d]).delay(Duration::from_millis(100));
        assert_eq!([racing.next(at(0)), racing.next(at(99))], [Start(a), Wait(Some(at(100)))]);
        assert_eq!([racing.next(at(120)), racing.next(at(120))], [Start(b), Wait(Some(at(220)))]);
        racing.failed(a);
        assert_eq!([racing.next(at(130)), racing.next(at(130))], [Start(c), Wait(Some(at(230)))]);
        racing.failed(a);
        assert_eq!(racing.next(at(131)), Wait(Some(at(230))), "it had failed before");
        assert_eq!([racing.next(at(230)), racing.next(at(1000))], [Start(d), Wait(None)]);
        racing.failed(d);
        racing.failed(b);
        assert_eq!(racing.next(at(1000)), Wait(None));
        racing.failed(c);
        assert_eq!([racing.next(at(1000)), racing.next(at(1000))], [Exhausted, Exhausted]);
    }

    #[test]
    fn the_delay_has_a_floor_and_may_be_endless() {
        let mut racing = Racing::new([1, 2].map(address)).delay(Duration::ZERO);
        assert_eq!([racing.next(at(0)), racing.next(at(0))], [Start(address(1)), Wait(Some(at(10)))]);
        let mut racing = Racing::new([1, 2].map(address)).delay(Duration::MAX);
        racing.next(at(0));
        assert!(matches!(racing.next(at(u64::MAX)), Wait(Some(_))));
        racing.failed(address(1));
        assert_eq!(racing.next(at(u64::MAX)), Start(address(2)));
    }

    proptest! {
        #[test]
        fn every_address_is_tried_once_and_a_race_ends(
            numbers in proptest::collection::btree_set(-20i16..20, 0..12),
            steps in proptest::collection::vec((0u64..300, any::<bool>()), 0..60),
        ) {
            let numbers: Vec<i16> = numbers.into_iter().collect();
            let mut racing = Racing::new(numbers.iter().copied().map(address));
            let mut started: Vec<SocketAddr> = Vec::new();
            let mut running: Vec<SocketAddr> = Vec::new();
            let (mut now, mut last) = (0, None);
            for (step, fails) in steps.into_iter().chain([(250, true); 30]) {
                now += step;
                let failure = fails && !running.is_empty();
                if failure {
                    racing.failed(running.remove(0));
                }
                match racing.next(at(now)) {
                    Start(address) => {
                        prop_assert!(last.is_none_or(|last| failure || now >= last + 250), "too early");
                        prop_assert!(!started.contains(&address));
                        started.push(address);
                        running.push(address);
                        last = Some(now);
                    }
                    Wait(Some(until)) => {
                        prop_assert!(!failure && until > at(now) && !running.is_empty());
                        prop_assert!(started.len() < numbers.len());
                    }
                    Wait(None) => prop_assert!(started.len() == numbers.len() && !running.is_empty()),
                    Exhausted => prop_assert!(started.len() == numbers.len() && running.is_empty()),
                }
            }
            prop_assert_eq!(racing.next(at(now)), Exhausted);
        }
    }
}
