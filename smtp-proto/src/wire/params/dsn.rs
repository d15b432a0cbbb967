//! What the parameters of delivery status notifications hold (RFC 3461 section 4, RFC 6533 section 3).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use super::ParameterError;
use crate::wire::address::{is_atext, written_length};
use crate::wire::xtext::{self, Utf8Address, Xtext};

/// The longest envelope identifier, in octets of its shortest written form (RFC 3461 section 4.4).
const MAX_ENVELOPE_ID: usize = 100;
/// The longest original recipient with its type, in octets of its shortest written form (RFC 3461 section 4.2).
const MAX_ORIGINAL_RECIPIENT: usize = 500;

/// How much of the message a notification of failure returns: the RET parameter (RFC 3461 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ret {
    /// FULL: all of it.
    Full,
    /// HDRS: its header section only.
    Headers,
}

impl Ret {
    pub(super) fn parse(value: &str) -> Option<Self> {
        [Self::Full, Self::Headers].into_iter().find(|ret| value.eq_ignore_ascii_case(ret.keyword()))
    }

    fn keyword(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// What the sender calls the transaction in notifications about it: the ENVID parameter (RFC 3461 section 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvelopeId(String);

impl EnvelopeId {
    /// An envelope identifier of this text, which is not encoded.
    ///
    /// # Errors
    /// When it is empty, has another character than the printable ones of ASCII, or is longer than 100 octets once it
    /// is encoded.
    pub fn new(text: &str) -> Result<Self, ParameterError> {
        let fits = !text.is_empty() && is_printable(text) && written_length(&Xtext(text)) <= MAX_ENVELOPE_ID;
        if fits { Ok(Self(text.to_owned())) } else { Err(ParameterError::Value) }
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        Self::new(&xtext::decode(value)?).ok()
    }

    /// The text, not encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes it encoded.
impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Xtext(&self.0).fmt(f)
    }
}

/// When to send notifications about a recipient: the NOTIFY parameter (RFC 3461 section 4.1). Never, when none of these
/// is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify {
    /// SUCCESS: once the message is delivered.
    pub success: bool,
    /// FAILURE: when it cannot be.
    pub failure: bool,
    /// DELAY: when it takes unusually long.
    pub delay: bool,
}

impl Notify {
    /// NEVER: under no condition.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut notify = Self::NEVER;
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(notify);
        }
        for word in value.split(',') {
            let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
            let condition = match () {
                () if is("SUCCESS") => &mut notify.success,
                () if is("FAILURE") => &mut notify.failure,
                () if is("DELAY") => &mut notify.delay,
                () => return None,
            };
            if core::mem::replace(condition, true) {
                return None;
            }
        }
        Some(notify)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            return f.write_str("NEVER");
        }
        let mut separator = "";
        for (_, keyword) in [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")]
            .into_iter()
            .filter(|(wanted, _)| *wanted)
        {
            write!(f, "{separator}{keyword}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// Whom the sender named as the recipient, before any forwarding: the ORCPT parameter (RFC 3461 section 4.2).
///
/// An address of the type `utf-8` may have any character (RFC 6533 section 3), one of another type those of printable
/// ASCII. It need not be a mailbox: that depends on its type.
#[derive(Debug, Clone)]
pub struct OriginalRecipient {
    address_type: String,
    address: String,
    unitext: bool,
}

impl OriginalRecipient {
    /// An original recipient: the type of its address, such as `rfc822`, and the address, which is not encoded.
    ///
    /// # Errors
    /// When the type is not an atom, the address has a character that its type does not allow, or both together are
    /// longer than 500 octets once they are encoded.
    pub fn new(address_type: &str, address: &str) -> Result<Self, ParameterError> {
        let allowed = if is_utf8(address_type) {
            !address.is_empty() && !address.chars().any(char::is_control)
        } else {
            is_printable(address)
        };
        let is_atom = !address_type.is_empty() && address_type.chars().all(|one| one.is_ascii() && is_atext(one));
        // RFC 5321 section 4.1.2: no `=` in the value of a parameter.
        if !allowed || !is_atom || address_type.contains('=') {
            return Err(ParameterError::Value);
        }
        Self { address_type: address_type.to_owned(), address: address.to_owned(), unitext: false }.checked()
    }

    /// The same, written with its UTF-8 as it is: for a transaction with SMTPUTF8 (RFC 6533 section 3). It makes no
    /// difference to an address in ASCII.
    #[must_use]
    pub fn in_unitext(mut self) -> Self {
        self.unitext = !self.address.is_ascii();
        self
    }

    /// The type of the address, as written. It compares without case.
    pub fn address_type(&self) -> &str {
        &self.address_type
    }

    /// The address, not encoded.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is written without characters that need SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        !self.unitext
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (address_type, address) = value.split_once(';')?;
        if !is_utf8(address_type) {
            return Self::new(address_type, &xtext::decode(address)?).ok();
        }
        let decoded = xtext::decode_utf8_address(address)?;
        // Its form in ASCII may be too long where the one that is there is not.
        let unitext = !address.is_ascii();
        Self { address_type: address_type.to_owned(), address: decoded, unitext }.checked().ok()
    }

    fn checked(self) -> Result<Self, ParameterError> {
        if written_length(&self) <= MAX_ORIGINAL_RECIPIENT { Ok(self) } else { Err(ParameterError::Value) }
    }
}

impl PartialEq for OriginalRecipient {
    fn eq(&self, other: &Self) -> bool {
        self.address_type.eq_ignore_ascii_case(&other.address_type)
            && (&self.address, self.unitext) == (&other.address, other.unitext)
    }
}

impl Eq for OriginalRecipient {}

/// Writes type and address, encoded.
impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address_type, address, unitext } = self;
        if is_utf8(address_type) {
            write!(f, "{address_type};{}", Utf8Address { address, unitext: *unitext })
        } else {
            write!(f, "{address_type};{}", Xtext(address))
        }
    }
}

fn is_utf8(address_type: &str) -> bool {
    address_type.eq_ignore_ascii_case("utf-8")
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn an_envelope_identifier_is_printable_ascii_of_limited_length() {
        // DSN-003, DSN-004, DSN-005, DSN-006, DSN-008
        let id = EnvelopeId::parse("QQ+2B+3D1+20x").unwrap();
        assert_eq!((id.as_str(), id.to_string().as_str()), ("QQ+=1 x", "QQ+2B+3D1+20x"));
        assert_eq!(EnvelopeId::new("QQ+=1 x"), Ok(id));
        for bad in ["+2b", "+", "+2", "a=b", "+00", "+0D+0A", "+7F", "+C3+A9", "é", "+09"] {
            assert_eq!(EnvelopeId::parse(bad), None, "{bad}");
        }
        for bad in ["", "a\r\nb", "é", "\0"] {
            assert_eq!(EnvelopeId::new(bad), Err(ParameterError::Value), "{bad:?}");
        }
        for (length, fits) in [(99, true), (100, true), (101, false)] {
            assert_eq!(EnvelopeId::new(&"x".repeat(length)).is_ok(), fits, "{length}");
            assert_eq!(EnvelopeId::parse(&"x".repeat(length)).is_some(), fits, "{length}");
            let escaped = "+".repeat(length / 3) + &"x".repeat(length % 3);
            assert_eq!(EnvelopeId::new(&escaped).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn notifications_are_wanted_never_or_under_a_set_of_conditions() {
        // DSN-001
        for (text, canonical) in [
            ("never", "NEVER"),
            ("Success", "SUCCESS"),
            ("delay,FAILURE", "FAILURE,DELAY"),
            ("DELAY,SUCCESS,FAILURE", "SUCCESS,FAILURE,DELAY"),
        ] {
            let notify = Notify::parse(text).unwrap();
            assert_eq!(notify.to_string(), canonical);
            assert_eq!(Notify::parse(canonical), Some(notify));
        }
        assert_eq!(Notify::parse("NEVER"), Some(Notify::NEVER));
        for bad in
            ["", "NEVER,DELAY", "DELAY,NEVER", "DELAY,DELAY", "NEVER,NEVER", "DELAY,", ",DELAY", "ALWAYS", "+4EEVER"]
        {
            assert_eq!(Notify::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_original_recipient_has_a_type_and_an_address_in_its_encoding() {
        // DSN-002, DSN-004, DSN-005, DSN-006, DSN-010
        for (text, address, canonical) in [
            ("rfc822;a+40b", "a@b", "rfc822;a@b"),
            ("RFC822;a+2Bb@c.test", "a+b@c.test", "RFC822;a+2Bb@c.test"),
            ("rfc822;", "", "rfc822;"),
            ("x400;/C=us/".replace('=', "+3D").as_str(), "/C=us/", "x400;/C+3Dus/"),
            ("rfc822;a;b", "a;b", "rfc822;a;b"),
            ("rfc822;\\x{E9}", "\\x{E9}", "rfc822;\\x{E9}"),
            ("utf-8;\\x{E9}", "é", "utf-8;\\x{E9}"),
            ("UTF-8;\\x{e9}@\\x{20AC}.test", "é@€.test", "UTF-8;\\x{E9}@\\x{20AC}.test"),
            ("utf-8;é\\x{2B}\\x{20AC}", "é+€", "utf-8;é\\x{2B}€"),
            ("utf-8;a@b.test", "a@b.test", "utf-8;a@b.test"),
        ] {
            let recipient = OriginalRecipient::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((recipient.address(), recipient.to_string().as_str()), (address, canonical));
            assert_eq!(recipient.is_ascii(), text.is_ascii());
            assert_eq!(OriginalRecipient::parse(canonical).as_ref(), Some(&recipient));
            let made = OriginalRecipient::new(recipient.address_type(), address).unwrap();
            assert!(made.is_ascii() && made.to_string().is_ascii());
            assert_eq!(if recipient.is_ascii() { made } else { made.in_unitext() }, recipient);
        }
        for bad in [
            "",
            "rfc822",
            ";a",
            "rfc 822;a",
            "a.b;a",
            "é;a",
            "rfc822;a+2b",
            "rfc822;a+00",
            "rfc822;a+0D+0A",
            "rfc822;é",
            "rfc822;+C3+A9",
            "utf-8;",
            "utf-8;a+40b",
            "utf-8;\\x{0D}\\x{0A}",
            "utf-8;\\x{D800}",
        ] {
            assert_eq!(OriginalRecipient::parse(bad), None, "{bad}");
        }
        for (address_type, address) in [("", "a"), ("a=b", "a"), ("rfc822", "é"), ("rfc822", "a\r\n"), ("utf-8", "\0")]
        {
            assert_eq!(OriginalRecipient::new(address_type, address), Err(ParameterError::Value));
        }
    }

    #[test]
    fn an_original_recipient_has_500_octets_with_its_type() {
        // DSN-008
        for (length, fits) in [(499, true), (500, true), (501, false)] {
            let address = "x".repeat(length - "rfc822;".len());
            assert_eq!(OriginalRecipient::new("rfc822", &address).is_ok(), fits, "{length}");
            assert_eq!(OriginalRecipient::parse(&format!("rfc822;{address}")).is_some(), fits, "{length}");
            let address = "é".repeat((length - "utf-8;".len()) / 2) + &"x".repeat(length % 2);
            assert_eq!(OriginalRecipient::parse(&format!("utf-8;{address}")).is_some(), fits, "{length}");
            assert!(OriginalRecipient::new("utf-8", &address).is_err(), "{length}: {address} in ASCII");
        }
    }
}
