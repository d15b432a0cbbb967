//! Parameters of MAIL and RCPT: `keyword[=value]` (RFC 5321 section 4.1.2).

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::address::ReversePath;
use super::xtext::{self, Xtext};

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

/// What the content of a message may hold: the BODY parameter (RFC 6152 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BodyType {
    /// ASCII only.
    #[default]
    SevenBit,
    /// Any octets in lines.
    EightBitMime,
}

impl BodyType {
    fn keyword(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
        }
    }
}

/// The parameters of a MAIL command: the known ones typed, the others kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MailParameters {
    /// SIZE: the octets of the content as the client counts them (RFC 1870). A number too large for 64 bits is
    /// the largest there is.
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Option<BodyType>,
    /// SMTPUTF8: addresses or header fields may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// REQUIRETLS: the message must not travel without verified TLS (RFC 8689). A relay has to hold on to it.
    pub requiretls: bool,
    /// AUTH: who submitted the message, as far as the client says and is trusted (RFC 4954 section 5). Null: nobody
    /// knows.
    pub auth: Option<ReversePath>,
    /// All others, in their order.
    pub other: Vec<Parameter>,
}

impl MailParameters {
    pub(crate) fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parsed = Self::default();
        for parameter in split(text)? {
            match (Known::of(&parameter), parameter.value()) {
                (Some(Known::Size), value) => {
                    let size = value.and_then(decimal).ok_or(ParameterError::Value)?;
                    once(parsed.size.replace(size).is_none())?;
                }
                (Some(Known::Body), value) => {
                    let body = [BodyType::SevenBit, BodyType::EightBitMime]
                        .into_iter()
                        .find(|body| value.is_some_and(|value| value.eq_ignore_ascii_case(body.keyword())))
                        .ok_or(ParameterError::Value)?;
                    once(parsed.body.replace(body).is_none())?;
                }
                (Some(Known::SmtpUtf8), Some(_)) => return Err(ParameterError::Value),
                (Some(Known::SmtpUtf8), None) => once(!core::mem::replace(&mut parsed.smtputf8, true))?,
                (Some(Known::RequireTls), Some(_)) => return Err(ParameterError::Value),
                (Some(Known::RequireTls), None) => once(!core::mem::replace(&mut parsed.requiretls, true))?,
                (Some(Known::Auth), value) => {
                    let submitter = value.and_then(submitter).ok_or(ParameterError::Value)?;
                    once(parsed.auth.replace(submitter).is_none())?;
                }
                (None, _) => push_once(&mut parsed.other, parameter)?,
            }
        }
        Ok(parsed)
    }

    /// Whether it can be written without SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        are_ascii(&self.other)
    }
}

/// Each parameter with a space before it.
impl fmt::Display for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(f, " SIZE={size}")?;
        }
        if let Some(body) = self.body {
            write!(f, " BODY={}", body.keyword())?;
        }
        if self.smtputf8 {
            f.write_str(" SMTPUTF8")?;
        }
        if self.requiretls {
            f.write_str(" REQUIRETLS")?;
        }
        match &self.auth {
            Some(ReversePath::Null) => f.write_str(" AUTH=<>")?,
            Some(ReversePath::Mailbox(mailbox)) => write!(f, " AUTH={}", Xtext(&mailbox.to_string()))?,
            None => {}
        }
        self.other.iter().try_for_each(|parameter| write!(f, " {parameter}"))
    }
}

/// The value of AUTH: `<>` or a mailbox in xtext.
fn submitter(value: &str) -> Option<ReversePath> {
    match value {
        "<>" => Some(ReversePath::Null),
        value => Some(ReversePath::Mailbox(xtext::decode(value)?.parse().ok()?)),
    }
}

enum Known {
    Size,
    Body,
    SmtpUtf8,
    RequireTls,
    Auth,
}

impl Known {
    fn of(parameter: &Parameter) -> Option<Self> {
        match () {
            () if parameter.is("SIZE") => Some(Self::Size),
            () if parameter.is("BODY") => Some(Self::Body),
            () if parameter.is("SMTPUTF8") => Some(Self::SmtpUtf8),
            () if parameter.is("REQUIRETLS") => Some(Self::RequireTls),
            () if parameter.is("AUTH") => Some(Self::Auth),
            () => None,
        }
    }
}

/// The parameters of a RCPT command.
pub(crate) fn parse_recipient_parameters(text: &str) -> Result<Vec<Parameter>, ParameterError> {
    let mut parsed = Vec::new();
    for parameter in split(text)? {
        push_once(&mut parsed, parameter)?;
    }
    Ok(parsed)
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
    fn known_parameters_are_typed_and_the_others_kept() {
        // SIZE-002, I18N-001, I18N-005, WIRE-021
        let parsed = MailParameters::parse(" size=20 Body=8bitmime SMTPUTF8 X-Foo=bar FLAG").unwrap();
        assert_eq!((parsed.size, parsed.body, parsed.smtputf8), (Some(20), Some(BodyType::EightBitMime), true));
        assert_eq!(parsed.to_string(), " SIZE=20 BODY=8BITMIME SMTPUTF8 X-Foo=bar FLAG");
        assert_eq!(MailParameters::parse(&parsed.to_string()), Ok(parsed));
        assert_eq!(MailParameters::parse(""), Ok(MailParameters::default()));
        assert_eq!(MailParameters::parse("  SIZE=1  ").unwrap().size, Some(1));
    }

    #[test]
    fn who_submitted_a_message_is_nobody_or_a_mailbox() {
        // AUTH-013, EXT-001
        let parsed = MailParameters::parse(" AUTH=e+3Dmc2@a.test requiretls").unwrap();
        assert_eq!(parsed.auth, Some("e=mc2@a.test".parse().unwrap()));
        assert!(parsed.requiretls);
        assert_eq!(parsed.to_string(), " REQUIRETLS AUTH=e+3Dmc2@a.test");
        assert_eq!(MailParameters::parse(" AUTH=<>").unwrap().auth, Some(ReversePath::Null));
        assert_eq!(MailParameters::parse(" AUTH=<>").unwrap().to_string(), " AUTH=<>");
    }

    #[test]
    fn wrong_values_repetitions_and_bad_grammar_are_told_apart() {
        for (text, error) in [
            (" SIZE", ParameterError::Value),
            (" SIZE=x", ParameterError::Value),
            (" SIZE=+1", ParameterError::Value),
            (" SIZE=-1", ParameterError::Value),
            (" SIZE=111111111111111111111", ParameterError::Value),
            (" SIZE=", ParameterError::Syntax),
            (" SIZE=1 SIZE=1", ParameterError::Repeated),
            (" BODY=9BIT", ParameterError::Value),
            (" BODY", ParameterError::Value),
            (" BODY=7BIT BODY=7BIT", ParameterError::Repeated),
            (" SMTPUTF8=x", ParameterError::Value),
            (" REQUIRETLS=x", ParameterError::Value),
            (" REQUIRETLS REQUIRETLS", ParameterError::Repeated),
            (" AUTH", ParameterError::Value),
            (" AUTH=a", ParameterError::Value),
            (" AUTH=a+3d@b.test", ParameterError::Value),
            (" AUTH=<> AUTH=<>", ParameterError::Repeated),
            (" SMTPUTF8 smtputf8", ParameterError::Repeated),
            (" A=1 a=2", ParameterError::Repeated),
            (" A_B=1", ParameterError::Syntax),
            (" -A=1", ParameterError::Syntax),
            (" A=1=2", ParameterError::Syntax),
            (" =1", ParameterError::Syntax),
            ("A=1", ParameterError::Syntax),
            (" A=\u{7f}", ParameterError::Syntax),
        ] {
            assert_eq!(MailParameters::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn twenty_digits_never_overflow() {
        // SIZE-002, H-RS-2
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal("18446744073709551616"), Some(u64::MAX));
        assert_eq!(decimal("99999999999999999999"), Some(u64::MAX));
        assert_eq!(decimal("00000000000000000001"), Some(1));
        assert_eq!(decimal(""), None);
    }
}
