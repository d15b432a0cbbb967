//! Points in time as parameters state them (RFC 3339 section 5.6, as RFC 4865 and RFC 7293 use it).

use core::fmt;
use core::str::FromStr;

/// The days from 0001-01-01 to 1970-01-01.
const DAYS_BEFORE_EPOCH: i64 = 719_162;
const SECONDS_PER_DAY: i64 = 86_400;
const MAX_YEAR: u16 = 9999;

/// A point in time in the years 0000 to 9999, in UTC.
///
/// A time with another offset is converted when it is read. Fractions of a second are kept to the nanosecond.
///
/// ```
/// use smtp_proto::wire::DateTime;
/// let time: DateTime = "2007-05-01T02:00:00+02:00".parse()?;
/// assert_eq!(time.to_string(), "2007-05-01T00:00:00Z");
/// assert_eq!(time.unix_seconds(), 1_177_977_600);
/// # Ok::<(), smtp_proto::wire::InvalidDateTime>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    // The order of the fields is that of time.
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    /// 60 is a leap second, the last of a month.
    second: u8,
    nanosecond: u32,
}

/// Why a text is not a date-time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDateTime {
    /// It is not of the form `2007-05-01T00:00:00Z`, with or without a fraction, or with an offset for the Z.
    #[error("not of the form yyyy-mm-ddThh:mm:ssZ")]
    Syntax,
    /// There is no such day, time or offset, or its year in UTC has not four digits.
    #[error("no such date or time")]
    Value,
}

impl DateTime {
    /// The point in time so many seconds after 1970-01-01T00:00:00Z, leap seconds not counted. `None` when its year
    /// has not four digits.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        let days = seconds.div_euclid(SECONDS_PER_DAY).checked_add(DAYS_BEFORE_EPOCH)?;
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        // 400 years have 146097 days, which leaves two years to choose from.
        let guess = u16::try_from(days.checked_mul(400)?.div_euclid(146_097).checked_add(2)?).ok()?;
        let year = (guess.saturating_sub(2)..=guess).rev().find(|year| days_before(*year) <= days)?;
        let mut day = u16::try_from(days.checked_sub(days_before(year))?).ok()?;
        let mut month = 1;
        while let Some(later) = day.checked_sub(days_of(year, month).into()) {
            (day, month) = (later, month.checked_add(1)?);
        }
        let part = |value: i64| u8::try_from(value).ok();
        (year <= MAX_YEAR).then_some(Self {
            year,
            month,
            day: u8::try_from(day).ok()?.checked_add(1)?,
            hour: part(second_of_day.div_euclid(3600))?,
            minute: part(second_of_day.div_euclid(60).rem_euclid(60))?,
            second: part(second_of_day.rem_euclid(60))?,
            nanosecond: 0,
        })
    }

    /// The seconds since 1970-01-01T00:00:00Z, leap seconds and the fraction not counted. A leap second counts as the
    /// second behind it.
    pub fn unix_seconds(&self) -> i64 {
        let months = (1..self.month).map(|month| i64::from(days_of(self.year, month)));
        let days = months
            .fold(days_before(self.year), i64::saturating_add)
            .saturating_add(i64::from(self.day).saturating_sub(1))
            .saturating_sub(DAYS_BEFORE_EPOCH);
        let minutes = i64::from(self.hour).saturating_mul(60).saturating_add(self.minute.into());
        let second_of_day = minutes.saturating_mul(60).saturating_add(self.second.into());
        days.saturating_mul(SECONDS_PER_DAY).saturating_add(second_of_day)
    }

    /// The fraction of the second, in nanoseconds.
    pub fn nanosecond(&self) -> u32 {
        self.nanosecond
    }

    /// Without the fraction of the second.
    pub(super) fn whole_second(self) -> Self {
        Self { nanosecond: 0, ..self }
    }

    /// The same date and time of day, so many minutes earlier.
    fn minutes_earlier(mut self, minutes: i16) -> Option<Self> {
        let minute = i16::from(self.hour).checked_mul(60)?.checked_add(self.minute.into())?.checked_sub(minutes)?;
        match minute.div_euclid(24 * 60) {
            0 => {}
            1 => self.move_to_next_day()?,
            _ => self.move_to_previous_day()?,
        }
        let of_day = minute.rem_euclid(24 * 60);
        self.hour = u8::try_from(of_day.div_euclid(60)).ok()?;
        self.minute = u8::try_from(of_day.rem_euclid(60)).ok()?;
        Some(self)
    }

    fn move_to_next_day(&mut self) -> Option<()> {
        (self.year, self.month, self.day) = match (self.day == days_of(self.year, self.month), self.month) {
            (false, month) => (self.year, month, self.day.checked_add(1)?),
            (true, 12) => (self.year.checked_add(1).filter(|year| *year <= MAX_YEAR)?, 1, 1),
            (true, month) => (self.year, month.checked_add(1)?, 1),
        };
        Some(())
    }

    fn move_to_previous_day(&mut self) -> Option<()> {
        (self.year, self.month, self.day) = match (self.day, self.month) {
            (1, 1) => (self.year.checked_sub(1)?, 12, 31),
            (1, month) => {
                let month = month.checked_sub(1)?;
                (self.year, month, days_of(self.year, month))
            }
            (day, month) => (self.year, month, day.checked_sub(1)?),
        };
        Some(())
    }

    /// Whether there is this second: the 60th only as the last of a month, where leap seconds are put.
    fn has_second(&self) -> bool {
        self.second < 60
            || self.second == 60 && (self.hour, self.minute, self.day) == (23, 59, days_of(self.year, self.month))
    }
}

/// The days from 0001-01-01 to the first of the year.
fn days_before(year: u16) -> i64 {
    let years = i64::from(year).saturating_sub(1);
    let leap_days = years.div_euclid(4).saturating_sub(years.div_euclid(100)).saturating_add(years.div_euclid(400));
    years.saturating_mul(365).saturating_add(leap_days)
}

fn days_of(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads a date-time of RFC 3339; `t` and `z` may stand for `T` and `Z`.
impl FromStr for DateTime {
    type Err = InvalidDateTime;

    fn from_str(text: &str) -> Result<Self, InvalidDateTime> {
        use InvalidDateTime::{Syntax, Value};
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't', rest @ ..] = text.as_bytes() else {
            return Err(Syntax);
        };
        let [h1, h2, b':', n1, n2, b':', s1, s2, rest @ ..] = rest else {
            return Err(Syntax);
        };
        let (nanosecond, zone) = fraction(rest).ok_or(Syntax)?;
        let offset = match zone {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (two(*h1, *h2).ok_or(Syntax)?, two(*m1, *m2).ok_or(Syntax)?);
                if hours > 23 || minutes > 59 {
                    return Err(Value);
                }
                let offset = i16::from(hours).saturating_mul(60).saturating_add(minutes.into());
                if *sign == b'+' { offset } else { offset.saturating_neg() }
            }
            _ => return Err(Syntax),
        };
        let pair = |tens: &u8, ones: &u8| two(*tens, *ones).ok_or(Syntax);
        let time = Self {
            year: u16::from(pair(y1, y2)?).saturating_mul(100).saturating_add(pair(y3, y4)?.into()),
            month: pair(m1, m2)?,
            day: pair(d1, d2)?,
            hour: pair(h1, h2)?,
            minute: pair(n1, n2)?,
            second: pair(s1, s2)?,
            nanosecond,
        };
        let is_date = (1..=12).contains(&time.month) && (1..=days_of(time.year, time.month)).contains(&time.day);
        if !is_date || time.hour > 23 || time.minute > 59 {
            return Err(Value);
        }
        time.minutes_earlier(offset).filter(Self::has_second).ok_or(Value)
    }
}

/// The fraction of a second at the front, in nanoseconds, and what follows it.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length).filter(|_| length > 0)?;
    let padded = digits.iter().copied().chain(core::iter::repeat(b'0'));
    let nanosecond = padded
        .take(9)
        .filter_map(digit)
        .fold(0u32, |value, digit| value.saturating_mul(10).saturating_add(digit.into()));
    Some((nanosecond, rest))
}

fn two(tens: u8, ones: u8) -> Option<u8> {
    digit(tens)?.checked_mul(10)?.checked_add(digit(ones)?)
}

fn digit(octet: u8) -> Option<u8> {
    octet.checked_sub(b'0').filter(|digit| *digit <= 9)
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, mut nanosecond } = *self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanosecond > 0 {
            let mut width = 9usize;
            while nanosecond.is_multiple_of(10) {
                nanosecond = nanosecond.div_euclid(10);
                width = width.saturating_sub(1);
            }
            write!(f, ".{nanosecond:0width$}")?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn time(text: &str) -> DateTime {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_time_is_read_with_any_offset_and_written_in_utc() {
        // EXT-008, EXT-010; the examples of RFC 3339 section 5.8
        for (text, canonical, seconds) in [
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.52Z", 482_196_050),
            ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z", 851_042_397),
            ("1990-12-31T23:59:60Z", "1990-12-31T23:59:60Z", 662_688_000),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:60Z", 662_688_000),
            ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.87Z", -1_041_337_173),
            ("1970-01-01t00:00:00z", "1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00-00:00", "1970-01-01T00:00:00Z", 0),
            ("2000-03-01T00:30:00+01:00", "2000-02-29T23:30:00Z", 951_867_000),
            ("2001-03-01T00:30:00+01:00", "2001-02-28T23:30:00Z", 983_403_000),
            ("2001-01-01T00:00:00+23:59", "2000-12-31T00:01:00Z", 978_220_860),
            ("2000-12-31T00:01:00-23:59", "2001-01-01T00:00:00Z", 978_307_200),
            ("2000-02-28T23:59:00-00:01", "2000-02-29T00:00:00Z", 951_782_400),
            ("2007-05-01T00:00:00.000Z", "2007-05-01T00:00:00Z", 1_177_977_600),
            ("2007-05-01T00:00:00.0123456789Z", "2007-05-01T00:00:00.012345678Z", 1_177_977_600),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", -62_167_219_200),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!((time(text).to_string().as_str(), time(text).unix_seconds()), (canonical, seconds), "{text}");
            assert_eq!(time(canonical), time(text));
        }
        assert!(time("2007-05-01T00:00:00.1Z") < time("2007-05-01T00:00:01+00:00"));
        assert_eq!(time("2007-05-01T00:00:00.5Z").nanosecond(), 500_000_000);
    }

    #[test]
    fn only_real_days_and_times_are_read() {
        // EXT-010
        for text in [
            "2001-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2001-04-31T00:00:00Z",
            "2001-00-01T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-01-00T00:00:00Z",
            "2001-01-01T24:00:00Z",
            "2001-01-01T00:60:00Z",
            "2001-01-01T00:00:60Z",
            "2001-01-01T23:59:60Z",
            "2001-01-31T23:59:61Z",
            "1990-12-31T23:59:60+01:00",
            "2001-01-01T00:00:00+24:00",
            "2001-01-01T00:00:00+00:60",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(text.parse::<DateTime>(), Err(InvalidDateTime::Value), "{text}");
        }
        for text in [
            "",
            "2001-01-01",
            "2001-01-01T00:00:00",
            "2001-01-01T00:00:00.000",
            "2001-01-01T00:00Z",
            "2001-01-01 00:00:00Z",
            "2001-1-01T00:00:00Z",
            "01-01-01T00:00:00Z",
            "+001-01-01T00:00:00Z",
            "12001-01-01T00:00:00Z",
            "2001-01-01T00:00:00.Z",
            "2001-01-01T00:00:00,5Z",
            "2001-01-01T00:00:00ZZ",
            "2001-01-01T00:00:00+0000",
            "2001-01-01T00:00:00+00",
            "2001-01-01T00:00:00UTC",
            "2001-01-01T00:00:00 Z",
            " 2001-01-01T00:00:00Z",
            "20é1-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<DateTime>(), Err(InvalidDateTime::Syntax), "{text}");
        }
    }

    #[test]
    fn every_day_has_its_seconds() {
        let (first, last) = (time("0000-01-01T00:00:00Z"), time("9999-12-31T00:00:00Z"));
        let (mut day, mut seconds) = (first, first.unix_seconds());
        while day < last {
            assert_eq!((day.unix_seconds(), DateTime::from_unix_seconds(seconds)), (seconds, Some(day)));
            day.move_to_next_day().unwrap();
            let mut back = day;
            back.move_to_previous_day().unwrap();
            assert_eq!(back.unix_seconds(), seconds);
            seconds += SECONDS_PER_DAY;
        }
        for (seconds, is_some) in [
            (first.unix_seconds() - 1, false),
            (first.unix_seconds(), true),
            (last.unix_seconds() + SECONDS_PER_DAY - 1, true),
            (last.unix_seconds() + SECONDS_PER_DAY, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            assert_eq!(DateTime::from_unix_seconds(seconds).is_some(), is_some, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_reads_back_the_same(
            shaped in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,12})?(Z|[+-][0-2][0-9]:[0-6][0-9])",
            seconds in -70_000_000_000i64..260_000_000_000,
        ) {
            if let Ok(time) = shaped.parse::<DateTime>() {
                prop_assert_eq!(time.to_string().parse(), Ok(time));
                let whole = time.unix_seconds();
                prop_assert_eq!(DateTime::from_unix_seconds(whole).map(|time| time.unix_seconds()), Some(whole));
            }
            if let Some(time) = DateTime::from_unix_seconds(seconds) {
                prop_assert_eq!(format!("{time}").parse(), Ok(time));
                prop_assert_eq!(time.unix_seconds(), seconds);
            }
        }
    }
}
