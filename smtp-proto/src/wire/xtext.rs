//! xtext: text in a parameter's value, with what cannot stand there as `+` and two hexadecimal digits (RFC 3461
//! section 4).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// Reads xtext. `None` when it is not in the grammar, holds a NUL or other control character, or is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'+' => digit(octets.next()?)?.checked_mul(16)?.checked_add(digit(octets.next()?)?)?,
            b'!'..=b'~' if octet != b'=' => octet,
            _ => return None,
        });
    }
    let decoded = String::from_utf8(decoded).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

/// A hexadecimal digit; the grammar has upper case only.
fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => octet.checked_sub(b'0'),
        b'A'..=b'F' => octet.checked_sub(b'A').and_then(|value| value.checked_add(10)),
        _ => None,
    }
}

/// Displays text as xtext.
pub(crate) struct Xtext<'a>(pub(crate) &'a str);

impl fmt::Display for Xtext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.bytes() {
            match octet {
                b'!'..=b'~' if !matches!(octet, b'+' | b'=') => f.write_char(char::from(octet))?,
                _ => write!(f, "+{octet:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn text_comes_back_and_only_the_grammar_is_read() {
        // P16, AUTH-013
        for text in ["e=mc2@example.com", "a+b@c.test", "", "\"a b\"@c.test", "d\u{f6}rte@x.test"] {
            let encoded = format!("{}", Xtext(text));
            assert!(encoded.bytes().all(|octet| matches!(octet, b'!'..=b'~') && octet != b'='), "{encoded}");
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
        assert_eq!(decode("e+3Dmc2@example.com").as_deref(), Some("e=mc2@example.com"));
        for bad in ["+3d", "+", "+4", "a=b", "a b", "+00", "+0D+0A", "+FF", "\u{f6}"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
