//! Domains: names and address literals (RFC 5321 sections 4.1.2 and 4.1.3).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::address::{AddressError, Cursor};

/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// The longest label of a domain name, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// The part of a mailbox behind the `@`.
///
/// Names compare without regard to ASCII case (RFC 5321 section 2.4).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Domain {
    /// A domain name, as written. Non-ASCII labels are U-labels (RFC 6531).
    Name(DomainName),
    /// `[192.0.2.1]`
    Ipv4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`
    Ipv6(Ipv6Addr),
    /// `[tag:content]` with a tag this crate does not know.
    General(GeneralLiteral),
}

/// A checked domain name.
#[derive(Debug, Clone)]
pub struct DomainName(String);

/// An address literal with an unknown tag (RFC 5321 section 4.1.3).
#[derive(Debug, Clone)]
pub struct GeneralLiteral {
    tag: String,
    content: String,
}

impl Domain {
    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        match self {
            Self::Name(name) => name.0.is_ascii(),
            _ => true,
        }
    }
}

impl DomainName {
    /// The name, as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl GeneralLiteral {
    /// The tag before the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// What stands behind the colon.
    pub fn content(&self) -> &str {
        &self.content
    }
}

/// Reads a name, or a literal in square brackets.
impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut cursor = Cursor { rest: text };
        let domain = cursor.domain()?;
        if cursor.rest.is_empty() { Ok(domain) } else { Err(AddressError::Domain) }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.0),
            Self::Ipv4(address) => write!(f, "[{address}]"),
            Self::Ipv6(address) => write!(f, "[IPv6:{address}]"),
            Self::General(literal) => write!(f, "[{}:{}]", literal.tag, literal.content),
        }
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.0.eq_ignore_ascii_case(&b.0),
            (Self::Ipv4(a), Self::Ipv4(b)) => a == b,
            (Self::Ipv6(a), Self::Ipv6(b)) => a == b,
            (Self::General(a), Self::General(b)) => a.tag.eq_ignore_ascii_case(&b.tag) && a.content == b.content,
            _ => false,
        }
    }
}

impl Eq for Domain {}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut fold = |text: &str| {
            for byte in text.bytes() {
                state.write_u8(byte.to_ascii_lowercase());
            }
            state.write_u8(0xff);
        };
        match self {
            Self::Name(name) => fold(&name.0),
            Self::Ipv4(address) => address.hash(state),
            Self::Ipv6(address) => address.hash(state),
            Self::General(literal) => {
                fold(&literal.tag);
                literal.content.hash(state);
            }
        }
    }
}

impl Cursor<'_> {
    pub(super) fn domain(&mut self) -> Result<Domain, AddressError> {
        if self.eat('[') {
            return self.literal();
        }
        let text = self.take_while(|character| character == '.' || character == '-' || is_domain_letter(character));
        if text.len() > MAX_DOMAIN {
            return Err(AddressError::DomainTooLong);
        }
        for label in text.split('.') {
            if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
                return Err(AddressError::Domain);
            }
            if label.len() > MAX_LABEL {
                return Err(AddressError::DomainTooLong);
            }
        }
        Ok(Domain::Name(DomainName(text.to_owned())))
    }

    /// What follows the opening bracket of an address literal, with the closing one.
    fn literal(&mut self) -> Result<Domain, AddressError> {
        let text = self.take_while(|character| matches!(character, '!'..='Z' | '^'..='~'));
        if !self.eat(']') {
            return Err(AddressError::Literal);
        }
        if text.len() > MAX_DOMAIN.saturating_sub(2) {
            return Err(AddressError::DomainTooLong);
        }
        let Some((tag, content)) = text.split_once(':') else {
            return ipv4(text).map(Domain::Ipv4).ok_or(AddressError::Literal);
        };
        if tag.eq_ignore_ascii_case("IPv6") {
            return content.parse().map(Domain::Ipv6).map_err(|_| AddressError::Literal);
        }
        let ldh = tag.chars().all(|character| character == '-' || character.is_ascii_alphanumeric());
        if tag.is_empty() || !ldh || tag.ends_with('-') || content.is_empty() {
            return Err(AddressError::Literal);
        }
        Ok(Domain::General(GeneralLiteral { tag: tag.to_owned(), content: content.to_owned() }))
    }
}

/// Four decimal numbers of one to three digits (the standard library's parser refuses leading zeros).
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// Letters and digits; beyond ASCII whatever is neither control, white space nor a direction mark.
fn is_domain_letter(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric();
    }
    !character.is_control() && !character.is_whitespace() && !super::escape::is_bidi_control(character)
}
