//! The parts of SCRAM messages (RFC 5802 section 7).

use alloc::string::String;
use alloc::vec::Vec;

use crate::sasl::{ChannelBinding, base64, saslname};
use crate::secret::Secret;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not in the form of the RFC.
    Malformed,
    /// It needs an extension that nobody has defined (`m=`).
    Extension,
}

/// The attributes of a message, in order.
pub(super) struct Attributes<'a>(core::str::Split<'a, char>);

impl<'a> Attributes<'a> {
    pub(super) fn new(message: &'a str) -> Self {
        Self(message.split(','))
    }

    /// The value of the next attribute, which has to be the one with this letter.
    pub(super) fn take(&mut self, letter: char) -> Result<&'a str, Flaw> {
        match attribute(self.0.next().ok_or(Flaw::Malformed)?)? {
            (found, value) if found == letter => Ok(value),
            ('m', _) => Err(Flaw::Extension),
            _ => Err(Flaw::Malformed),
        }
    }

    /// Passes over the rest, which has to be extensions that can be ignored.
    pub(super) fn finish(self) -> Result<(), Flaw> {
        for rest in self.0 {
            if attribute(rest)?.0 == 'm' {
                return Err(Flaw::Extension);
            }
        }
        Ok(())
    }
}

// `attr-val = ALPHA "=" value`, where a value is not empty and has no NUL.
fn attribute(text: &str) -> Result<(char, &str), Flaw> {
    let (letter, value) = text.split_once('=').ok_or(Flaw::Malformed)?;
    let mut letters = letter.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() && !value.is_empty() && !value.contains('\0') => {
            Ok((letter, value))
        }
        _ => Err(Flaw::Malformed),
    }
}

/// The longest nonce, in octets: it comes back in a challenge, whose line has a limit.
const LONGEST_NONCE: usize = 1024;

/// Whether a text can be a nonce: visible ASCII without comma.
pub(super) fn is_nonce(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_NONCE
        && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// `posit-number`: digits, the first of them not 0. A number beyond all measure is the largest there is.
pub(super) fn positive_number(text: &str) -> Result<u64, Flaw> {
    if text.starts_with('0') || text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(Flaw::Malformed);
    }
    let digits = text.bytes().map(|octet| u64::from(octet.saturating_sub(b'0')));
    Ok(digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(digit)))
}

/// What a client says about channel binding (`gs2-cbind-flag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag<'a> {
    /// It cannot, or does not want to.
    No,
    /// It could, but believes that the server cannot.
    Unoffered,
    /// It does, with this type.
    Bound(&'a str),
}

/// The header before the client's first message (`gs2-header`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) flag: Flag<'a>,
    pub(super) authorization_identity: Option<String>,
}

impl<'a> Header<'a> {
    /// Reads it from the front of a message and gives it as text, with its comma, and the rest of the message.
    pub(super) fn read(message: &'a str) -> Result<(Self, &'a str, &'a str), Flaw> {
        let (flag, rest) = message.split_once(',').ok_or(Flaw::Malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or(Flaw::Malformed)?;
        let flag = match (flag, flag.strip_prefix("p=")) {
            ("n", _) => Flag::No,
            ("y", _) => Flag::Unoffered,
            (_, Some(name)) if is_binding_name(name) => Flag::Bound(name),
            _ => return Err(Flaw::Malformed),
        };
        let authorization_identity = match identity.strip_prefix("a=") {
            Some(name) => Some(saslname::decode(name).ok_or(Flaw::Malformed)?),
            None if identity.is_empty() => None,
            None => return Err(Flaw::Malformed),
        };
        let text = message.strip_suffix(bare).ok_or(Flaw::Malformed)?;
        Ok((Self { flag, authorization_identity }, text, bare))
    }

    /// Writes it, with its last comma.
    pub(super) fn write(flag: Flag<'_>, authorization_identity: Option<&str>) -> String {
        let mut text = match flag {
            Flag::No => String::from("n"),
            Flag::Unoffered => String::from("y"),
            Flag::Bound(name) => ["p=", name].concat(),
        };
        text.push(',');
        if let Some(identity) = authorization_identity {
            text.push_str("a=");
            text.push_str(&saslname::encode(identity));
        }
        text.push(',');
        text
    }
}

// `cb-name`
fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
}

/// The value of `c=`: the header and what binds to the connection, in base64.
pub(super) fn binding_value(header: &str, binding: Option<&ChannelBinding>) -> String {
    let data = binding.map(ChannelBinding::data).unwrap_or_default();
    base64::encode(&[header.as_bytes(), data].concat())
}

/// `ClientProof` from a key and a signature, and `ClientKey` from a proof and a signature.
pub(super) fn exclusive_or(one: &Secret, other: &Secret) -> Secret {
    let octets = one.reveal().iter().zip(other.reveal()).map(|(one, other)| one ^ other);
    Secret::new(octets.collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SASL-007, H-RS-2
    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(positive_number("4096"), Ok(4096));
        assert_eq!(positive_number("99999999999999999999999"), Ok(u64::MAX));
        for bad in ["", "0", "04096", "+4096", "-1", "4096 ", "4 096", "0x10", "\u{664}"] {
            assert_eq!(positive_number(bad), Err(Flaw::Malformed), "{bad:?}");
        }
    }

    /// SASL-005, P16
    #[test]
    fn a_header_is_read_as_it_was_written() {
        for flag in [Flag::No, Flag::Unoffered, Flag::Bound("tls-exporter")] {
            for identity in [None, Some("a,b=c")] {
                let text = Header::write(flag, identity);
                let message = [&text, "n=u,r=x"].concat();
                let (header, raw, bare) = Header::read(&message).unwrap();
                assert_eq!((header.flag, header.authorization_identity.as_deref()), (flag, identity));
                assert_eq!((raw, bare), (&*text, "n=u,r=x"));
            }
        }
    }

    /// SASL-005
    #[test]
    fn malformed_headers_are_refused() {
        for bad in ["", "n", "n,", "x,,", "N,,", "p,,", "p=,,", "p=a b,,", "n,a=,", "n,x,", "n,a=b=c,", ",,", "nn,,"] {
            assert_eq!(Header::read(bad).unwrap_err(), Flaw::Malformed, "{bad:?}");
        }
    }

    /// SASL-012
    #[test]
    fn attributes_are_a_letter_and_a_value() {
        for bad in ["", "r", "=x", "rr=x", "1=x", "r=", "r=a\0b", "\u{e9}=x"] {
            assert_eq!(Attributes::new(bad).take('r'), Err(Flaw::Malformed), "{bad:?}");
        }
        assert_eq!(Attributes::new("r=a=b,x=1").take('r'), Ok("a=b"));
        assert_eq!(Attributes::new("m=1,r=a").take('r'), Err(Flaw::Extension));
        assert_eq!(Attributes::new("x=1,m=1").finish(), Err(Flaw::Extension));
        assert_eq!(Attributes::new("x=1,y=2").finish(), Ok(()));
    }
}
