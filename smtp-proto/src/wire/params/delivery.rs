//! What the parameters hold that say when, how urgently, and to whose mailbox a message is delivered.

use core::fmt;

use super::{ParameterError, digits};
use crate::wire::date_time::DateTime;

/// The largest number of seconds that DELIVERBY and FUTURERELEASE can state: nine digits.
const MAX_SECONDS: u32 = 999_999_999;
/// The earliest by-time.
const MIN_BY_TIME: i64 = -999_999_999;

/// By when a message is to be delivered: the BY parameter (RFC 2852 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i64,
    mode: ByMode,
    trace: bool,
}

/// What happens to a message that was not delivered in time: the by-mode (RFC 2852 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// N: the sender is notified, and delivery goes on.
    Notify,
    /// R: the message is returned.
    Return,
}

impl DeliverBy {
    /// A message to be delivered within so many seconds: at most nine digits, and more than zero if it is to be
    /// returned else. `trace` asks every relay for a notification.
    ///
    /// # Errors
    /// When the number of seconds is out of that range.
    pub fn new(seconds: i64, mode: ByMode, trace: bool) -> Result<Self, ParameterError> {
        let range = match mode {
            ByMode::Notify => MIN_BY_TIME..=i64::from(MAX_SECONDS),
            ByMode::Return => 1..=i64::from(MAX_SECONDS),
        };
        if range.contains(&seconds) { Ok(Self { seconds, mode, trace }) } else { Err(ParameterError::Value) }
    }

    /// The seconds that were left when the command was sent: the by-time. Zero or less, when the time is over.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// What happens when the time is over.
    pub fn mode(&self) -> ByMode {
        self.mode
    }

    /// Whether every relay that hands the message on is to notify the sender of it.
    pub fn trace(&self) -> bool {
        self.trace
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (time, mode) = value.split_once(';')?;
        let (negative, time) = match time.strip_prefix('-') {
            Some(time) => (true, time),
            None => (false, time.strip_prefix('+').unwrap_or(time)),
        };
        let seconds = i64::try_from(digits(time, 9)?).ok()?;
        let (mode, trace) = match mode.as_bytes() {
            [mode] => (mode, false),
            [mode, b'T' | b't'] => (mode, true),
            _ => return None,
        };
        let mode = match mode {
            b'N' | b'n' => ByMode::Notify,
            b'R' | b'r' => ByMode::Return,
            _ => return None,
        };
        Self::new(if negative { seconds.saturating_neg() } else { seconds }, mode, trace).ok()
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Notify => "N",
            ByMode::Return => "R",
        };
        write!(f, "{};{mode}{}", self.seconds, if self.trace { "T" } else { "" })
    }
}

/// Until when a submitted message is held back: the HOLDFOR or the HOLDUNTIL parameter (RFC 4865 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// HOLDFOR: so long.
    For(FutureReleaseInterval),
    /// HOLDUNTIL: to this point in time.
    Until(DateTime),
}

impl Hold {
    pub(super) fn parse_interval(value: &str) -> Option<Self> {
        FutureReleaseInterval::parse(value).map(Self::For)
    }

    pub(super) fn parse_date_time(value: &str) -> Option<Self> {
        value.parse().ok().map(Self::Until)
    }
}

/// Writes the keyword, `=` and the value.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(interval) => write!(f, "HOLDFOR={interval}"),
            Self::Until(time) => write!(f, "HOLDUNTIL={time}"),
        }
    }
}

/// How long a message can be held back: 1 to 999999999 seconds (RFC 4865 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FutureReleaseInterval(u32);

impl FutureReleaseInterval {
    /// An interval of so many seconds.
    ///
    /// # Errors
    /// When it is zero or has more than nine digits.
    pub fn new(seconds: u32) -> Result<Self, ParameterError> {
        if (1..=MAX_SECONDS).contains(&seconds) { Ok(Self(seconds)) } else { Err(ParameterError::Value) }
    }

    /// The seconds.
    pub fn seconds(&self) -> u32 {
        self.0
    }

    pub(in crate::wire) fn parse(text: &str) -> Option<Self> {
        let seconds = digits(text, 9).filter(|_| !text.starts_with('0'))?;
        Self::new(u32::try_from(seconds).ok()?).ok()
    }
}

impl fmt::Display for FutureReleaseInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How urgent a message is: the MT-PRIORITY parameter, from -9 to 9 (RFC 6710 section 3). The default is 0; higher numbers
/// go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i8);

impl Priority {
    /// A priority.
    ///
    /// # Errors
    /// When it is not within -9 to 9.
    pub fn new(priority: i8) -> Result<Self, ParameterError> {
        if (-9..=9).contains(&priority) { Ok(Self(priority)) } else { Err(ParameterError::Value) }
    }

    /// The number.
    pub fn value(&self) -> i8 {
        self.0
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (negative, digit) = match value.as_bytes() {
            [digit @ b'0'..=b'9'] => (false, digit),
            [b'-', digit @ b'1'..=b'9'] => (true, digit),
            _ => return None,
        };
        let number = i8::try_from(digit.saturating_sub(b'0')).ok()?;
        Self::new(if negative { number.saturating_neg() } else { number }).ok()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Since when the recipient's mailbox must have had the same owner: the RRVS parameter (RFC 7293 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rrvs {
    since: DateTime,
    action: NoSupportAction,
}

/// What a relay does whose next hop does not offer RRVS: the no-support action (RFC 7293 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NoSupportAction {
    /// R: refuse the message.
    #[default]
    Reject,
    /// C: hand it on without the condition.
    Continue,
}

impl Rrvs {
    /// The condition that the owner has been the same since this time, whose fraction of a second is dropped.
    pub fn new(since: DateTime, action: NoSupportAction) -> Self {
        Self { since: since.whole_second(), action }
    }

    /// Since when.
    pub fn since(&self) -> DateTime {
        self.since
    }

    /// What happens where RRVS is not offered.
    pub fn action(&self) -> NoSupportAction {
        self.action
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (since, action) = match value.split_once(';') {
            Some((since, action)) if action.eq_ignore_ascii_case("C") => (since, NoSupportAction::Continue),
            Some((since, action)) if action.eq_ignore_ascii_case("R") => (since, NoSupportAction::Reject),
            Some(_) => return None,
            None => (value, NoSupportAction::Reject),
        };
        // There must be no fraction.
        let since = since.parse().ok().filter(|_| !since.contains('.'))?;
        Some(Self { since, action })
    }
}

impl fmt::Display for Rrvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            NoSupportAction::Reject => "",
            NoSupportAction::Continue => ";C",
        };
        write!(f, "{}{action}", self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_time_to_deliver_by_has_nine_digits_a_mode_and_a_trace() {
        // EXT-006
        for (text, canonical) in [
            ("120;R", "120;R"),
            ("+120;rT", "120;RT"),
            ("000000001;R", "1;R"),
            ("-5;n", "-5;N"),
            ("-0;Nt", "0;NT"),
            ("999999999;R", "999999999;R"),
            ("-999999999;N", "-999999999;N"),
        ] {
            let deliver_by = DeliverBy::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(deliver_by.to_string(), canonical);
            assert_eq!(DeliverBy::parse(canonical), Some(deliver_by));
        }
        for bad in [
            "",
            "120",
            "120;",
            ";R",
            "120;X",
            "120;RX",
            "120;TR",
            "120;RTT",
            "1000000000;R",
            "-1000000000;N",
            "0000000001;R",
            "0;R",
            "-1;R",
            "--1;N",
            "+-1;N",
            "1.5;R",
            "+;N",
            "120;R;T",
            "é;R",
        ] {
            assert_eq!(DeliverBy::parse(bad), None, "{bad}");
        }
        for (seconds, mode, fits) in [
            (0, ByMode::Return, false),
            (1, ByMode::Return, true),
            (999_999_998, ByMode::Return, true),
            (999_999_999, ByMode::Return, true),
            (1_000_000_000, ByMode::Return, false),
            (-999_999_999, ByMode::Notify, true),
            (-1_000_000_000, ByMode::Notify, false),
            (i64::MIN, ByMode::Notify, false),
        ] {
            assert_eq!(DeliverBy::new(seconds, mode, false).is_ok(), fits, "{seconds}");
        }
    }

    #[test]
    fn a_message_is_held_for_seconds_or_until_a_time() {
        // EXT-008
        for (text, fits) in [
            ("0", false),
            ("1", true),
            ("99999999", true),
            ("999999999", true),
            ("1000000000", false),
            ("01", false),
            ("+1", false),
            ("-1", false),
            ("", false),
            ("1s", false),
        ] {
            let hold = Hold::parse_interval(text);
            assert_eq!(hold.is_some(), fits, "{text}");
            assert!(hold.is_none_or(|hold| hold.to_string() == alloc::format!("HOLDFOR={text}")));
        }
        assert!(FutureReleaseInterval::new(0).is_err() && FutureReleaseInterval::new(u32::MAX).is_err());
        assert_eq!(FutureReleaseInterval::new(MAX_SECONDS).map(|interval| interval.seconds()), Ok(MAX_SECONDS));
        let until = Hold::parse_date_time("2030-01-01T01:00:00.50+01:00").unwrap();
        assert_eq!(until.to_string(), "HOLDUNTIL=2030-01-01T00:00:00.5Z");
        assert_eq!(Hold::parse_date_time("2030-02-30T00:00:00Z"), None);
    }

    #[test]
    fn priorities_are_one_digit() {
        // EXT-009
        for priority in -9..=9 {
            let written = Priority::new(priority).unwrap().to_string();
            assert_eq!(Priority::parse(&written).map(|parsed| parsed.value()), Some(priority));
        }
        assert!(Priority::new(-10).is_err() && Priority::new(10).is_err());
        for bad in ["", "10", "-10", "+1", "-0", "01", "-", "a", "1 "] {
            assert_eq!(Priority::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_recipient_is_valid_since_a_whole_second() {
        // EXT-010
        for (text, canonical) in [
            ("2014-04-03T23:01:00Z", "2014-04-03T23:01:00Z"),
            ("2014-04-03T23:01:00Z;R", "2014-04-03T23:01:00Z"),
            ("2014-04-03T23:01:00+01:00;c", "2014-04-03T22:01:00Z;C"),
        ] {
            let rrvs = Rrvs::parse(text).unwrap();
            assert_eq!(rrvs.to_string(), canonical);
            assert_eq!(Rrvs::parse(canonical), Some(rrvs));
        }
        for bad in [
            "",
            "2014-04-03",
            "2014-02-30T23:01:00Z",
            "2014-04-03T23:01:00.0Z",
            "2014-04-03T23:01:00Z;",
            "2014-04-03T23:01:00Z;X",
            "2014-04-03T23:01:00Z;C;R",
            ";C",
        ] {
            assert_eq!(Rrvs::parse(bad), None, "{bad}");
        }
        let fraction = "2014-04-03T23:01:00.5Z".parse().unwrap();
        assert_eq!(Rrvs::new(fraction, NoSupportAction::Continue).to_string(), "2014-04-03T23:01:00Z;C");
    }
}
