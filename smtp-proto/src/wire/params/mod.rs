//! Parameters of MAIL and RCPT: `keyword[=value]` (RFC 5321 section 4.1.2).

mod delivery;
mod dsn;
mod mail;
mod recipient;

pub use delivery::{ByMode, DeliverBy, FutureReleaseInterval, Hold, NoSupportAction, Priority, Rrvs};
pub use dsn::{EnvelopeId, Notify, OriginalRecipient, Ret};
pub use mail::{BodyType, MailParameters};
pub use recipient::RecipientParameters;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A parameter of MAIL or RCPT, checked against the grammar. Keywords compare without case.
#[derive(Debug, Clone)]
pub struct Parameter {
    keyword: String,
    value: Option<String>,
}

/// Why a parameter cannot stand in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// A keyword is a letter or digit, then letters, digits and hyphens; a value is printable without space and `=`.
    #[error("malformed parameter")]
    Syntax,
    /// The same keyword stands twice.
    #[error("parameter given twice")]
    Repeated,
    /// The keyword is known and its value is not one it can have.
    #[error("parameter with an invalid value")]
    Value,
}

impl Parameter {
    /// A parameter with or without a value.
    ///
    /// # Errors
    /// When keyword or value do not fit the grammar.
    pub fn new(keyword: &str, value: Option<&str>) -> Result<Self, ParameterError> {
        let well_formed =
            is_keyword(keyword) && value.is_none_or(|value| !value.is_empty() && value.chars().all(is_value));
        if !well_formed {
            return Err(ParameterError::Syntax);
        }
        Ok(Self { keyword: keyword.to_owned(), value: value.map(ToOwned::to_owned) })
    }

    /// The keyword as written.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// The value as written.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Whether this is the parameter with this keyword.
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.keyword) && self.value == other.value
    }
}

impl Eq for Parameter {}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keyword)?;
        match &self.value {
            Some(value) => write!(f, "={value}"),
            None => Ok(()),
        }
    }
}

pub(crate) fn are_ascii(parameters: &[Parameter]) -> bool {
    parameters.iter().all(|parameter| parameter.value().is_none_or(str::is_ascii))
}

/// Splits what stands behind a path: nothing, or a space before each parameter.
fn split(text: &str) -> Result<Vec<Parameter>, ParameterError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.strip_prefix(' ').ok_or(ParameterError::Syntax)?;
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((keyword, value)) => Parameter::new(keyword, Some(value)),
            None => Parameter::new(word, None),
        })
        .collect()
}

/// Fills the place of a parameter, which has a value: `None` is one that cannot be.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), ParameterError> {
    once(place.replace(value.ok_or(ParameterError::Value)?).is_none())
}

/// Notes a parameter that has no value.
fn set_flag(place: &mut bool, value: Option<&str>) -> Result<(), ParameterError> {
    match value {
        Some(_) => Err(ParameterError::Value),
        None => once(!core::mem::replace(place, true)),
    }
}

fn once(first: bool) -> Result<(), ParameterError> {
    if first { Ok(()) } else { Err(ParameterError::Repeated) }
}

fn push_once(list: &mut Vec<Parameter>, parameter: Parameter) -> Result<(), ParameterError> {
    once(list.iter().all(|other| !other.is(&parameter.keyword)))?;
    list.push(parameter);
    Ok(())
}

/// 1 to 20 digits; what does not fit 64 bits is the largest number.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.bytes().try_fold(0u64, |value, byte| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(byte.saturating_sub(b'0'))))
    })
}

/// 1 to `most` digits whose number fits 64 bits.
pub(super) fn digits(text: &str, most: usize) -> Option<u64> {
    if text.is_empty() || text.len() > most {
        return None;
    }
    text.bytes().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

pub(crate) fn is_keyword(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_value(character: char) -> bool {
    matches!(character, '!'..='<' | '>'..='~') || (!character.is_ascii() && !character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_digits_never_overflow() {
        // SIZE-002, H-RS-2
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal("18446744073709551616"), Some(u64::MAX));
        assert_eq!(decimal("99999999999999999999"), Some(u64::MAX));
        assert_eq!(decimal("00000000000000000001"), Some(1));
        assert_eq!(decimal(""), None);
        assert_eq!(digits("18446744073709551615", 20), Some(u64::MAX));
        assert_eq!(digits("18446744073709551616", 20), None);
        assert_eq!((digits("99", 2), digits("100", 2), digits("", 2)), (Some(99), None, None));
        for text in ["+1", "-1", " 1", "1 ", "0x1", "1_0", "\u{661}"] {
            assert_eq!((decimal(text), digits(text, 20)), (None, None), "{text}");
        }
    }
}
