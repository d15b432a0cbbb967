//! How sending goes: counts and times to be looked at while it goes on.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use core::fmt;
use core::time::Duration;

use crate::client::Outcome;

/// How sending goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Messages that were accepted for all their recipients.
    pub sent: u64,
    /// Messages that were not accepted for one recipient at least, after the last attempt.
    pub failed: u64,
    /// Attempts beyond the first ones.
    pub retried: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// How long the last attempts took.
    pub response_times: ResponseTimes,
    /// What went wrong last, in at most 500 octets.
    pub last_error: Option<String>,
}

/// How long servers took for the last messages, 100 at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseTimes {
    /// How many these are. Without any, the times are zero.
    pub count: usize,
    /// The shortest time.
    pub minimum: Duration,
    /// The mean.
    pub mean: Duration,
    /// The longest time.
    pub maximum: Duration,
}

/// Counts for [`Health`].
///
/// ```
/// use std::time::Duration;
/// use smtp_proto::delivery::HealthRecorder;
/// let mut recorder = HealthRecorder::new();
/// recorder.connection_opened();
/// recorder.responded(Duration::from_millis(20));
/// assert_eq!(recorder.health().connections, 1);
/// assert_eq!(recorder.health().response_times.mean, Duration::from_millis(20));
/// ```
#[derive(Debug, Clone, Default)]
pub struct HealthRecorder {
    /// Without the response times.
    health: Health,
    times: VecDeque<Duration>,
}

impl HealthRecorder {
    /// How many response times are looked at.
    const TIMES: usize = 100;
    /// The longest text of an error, in octets.
    const LONGEST_ERROR: usize = 500;

    /// Nothing has happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection was opened.
    pub fn connection_opened(&mut self) {
        self.health.connections = self.health.connections.saturating_add(1);
    }

    /// A server took this long over a message, from the moment it was given one to the outcome.
    pub fn responded(&mut self, time: Duration) {
        if self.times.len() >= Self::TIMES {
            self.times.pop_front();
        }
        self.times.push_back(time);
    }

    /// A message is tried again.
    pub fn retried(&mut self) {
        self.health.retried = self.health.retried.saturating_add(1);
    }

    /// This became of a message in the end.
    pub fn concluded(&mut self, outcome: &Outcome) {
        if outcome.is_delivered() {
            self.health.sent = self.health.sent.saturating_add(1);
            return;
        }
        self.health.failed = self.health.failed.saturating_add(1);
        if let Some(recipient) = outcome.recipients.iter().find(|recipient| !recipient.is_accepted()) {
            self.error(recipient);
        }
    }

    /// Something went wrong that was not a message's outcome, such as connecting. Errors of this crate and of the adapters
    /// show no secrets.
    pub fn error(&mut self, error: &dyn fmt::Display) {
        let mut text = error.to_string();
        let mut end = text.len().min(Self::LONGEST_ERROR);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
        self.health.last_error = Some(text);
    }

    /// How it goes.
    pub fn health(&self) -> Health {
        Health { response_times: self.response_times(), ..self.health.clone() }
    }

    fn response_times(&self) -> ResponseTimes {
        let sum = self.times.iter().fold(Duration::ZERO, |sum, time| sum.saturating_add(*time));
        ResponseTimes {
            count: self.times.len(),
            minimum: self.times.iter().min().copied().unwrap_or_default(),
            mean: u32::try_from(self.times.len()).ok().and_then(|count| sum.checked_div(count)).unwrap_or_default(),
            maximum: self.times.iter().max().copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RecipientOutcome;
    use crate::error::{Error, Phase};
    use crate::wire::Reply;
    use alloc::vec::Vec;

    fn outcome(recipients: impl IntoIterator<Item = RecipientOutcome>) -> Outcome {
        Outcome {
            recipients: recipients.into_iter().collect(),
            reply: None,
            left_out: Vec::new(),
            error: None,
            session_over: false,
        }
    }

    #[test]
    fn messages_count_as_sent_when_everybody_has_them() {
        let accepted = || RecipientOutcome::Accepted(Reply::from_static("250 ok"));
        let refused = RecipientOutcome::Refused { phase: Phase::Rcpt, reply: Reply::from_static("550 5.1.1 who?") };
        let lost = RecipientOutcome::Unknown(Error::Timeout { phase: Phase::EndOfData });
        let mut recorder = HealthRecorder::new();
        assert_eq!(recorder.health(), Health::default());
        recorder.concluded(&outcome([accepted(), accepted()]));
        let Health { sent, failed, last_error, .. } = recorder.health();
        assert_eq!((sent, failed, last_error), (1, 0, None));
        recorder.concluded(&outcome([accepted(), refused]));
        recorder.retried();
        recorder.connection_opened();
        let Health { sent, failed, retried, connections, last_error, .. } = recorder.health();
        assert_eq!((sent, failed, retried, connections), (1, 1, 1, 1));
        assert!(last_error.unwrap().contains("550 5.1.1 who?"));
        recorder.concluded(&outcome([lost, accepted()]));
        assert_eq!(recorder.health().failed, 2);
        assert!(recorder.health().last_error.unwrap().contains("timed out"));
    }

    #[test]
    fn response_times_are_those_of_the_last_100() {
        let mut recorder = HealthRecorder::new();
        for milliseconds in [1, 1000, 5] {
            recorder.responded(Duration::from_millis(milliseconds));
        }
        let millis = Duration::from_millis;
        let times = ResponseTimes {
            count: 3,
            minimum: millis(1),
            mean: Duration::from_micros(335_333) + Duration::from_nanos(333),
            maximum: millis(1000),
        };
        assert_eq!(recorder.health().response_times, times);
        for milliseconds in 1..=101 {
            recorder.responded(millis(milliseconds));
        }
        let times =
            ResponseTimes { count: 100, minimum: millis(2), mean: Duration::from_micros(51_500), maximum: millis(101) };
        assert_eq!(recorder.health().response_times, times);
        recorder.responded(Duration::MAX);
        recorder.responded(Duration::MAX);
        assert_eq!(recorder.health().response_times.maximum, Duration::MAX);
    }

    #[test]
    fn errors_are_kept_up_to_500_octets() {
        let mut recorder = HealthRecorder::new();
        for (text, kept) in [
            ("x".repeat(500), 500),
            ("x".repeat(501), 500),
            ("é".repeat(251), 500),
            (alloc::format!("x{}", "é".repeat(250)), 499),
        ] {
            recorder.error(&text);
            assert_eq!(recorder.health().last_error.unwrap().len(), kept);
        }
    }
}
