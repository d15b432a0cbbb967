//! Percent-encoding (RFC 3986 section 2.1).

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// What a text stands for; `None` when a `%` has no two hexadecimal digits behind it. In one allocation: what is decoded
/// may be a password, of which no copy is to stay behind.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'%' => digit(octets.next()?)?.checked_mul(16)?.checked_add(digit(octets.next()?)?)?,
            _ => octet,
        });
    }
    Some(decoded)
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Displays text with all escaped but what is unreserved, and these octets.
pub(super) struct Encoded<'a>(pub(super) &'a str, pub(super) &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.bytes() {
            match octet {
                b'-' | b'.' | b'_' | b'~' => f.write_char(char::from(octet))?,
                _ if octet.is_ascii_alphanumeric() || self.1.contains(&octet) => f.write_char(char::from(octet))?,
                _ => write!(f, "%{octet:02X}")?,
            }
        }
        Ok(())
    }
}
