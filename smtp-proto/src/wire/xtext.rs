//! xtext: text in a parameter's value, with what cannot stand there as `+` and two hexadecimal digits (RFC 3461
//! section 4). And its forms for addresses with UTF-8, which have `\x{…}` around the code point instead (RFC 6533
//! section 3).

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

/// Reads an address in utf-8-addr-xtext or utf-8-addr-unitext, of which the former is the part that is ASCII. `None`
/// when it is not in the grammar or holds a control character.
pub(crate) fn decode_utf8_address(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(embedded) = rest.strip_prefix("\\x{") {
            let (digits, behind) = embedded.split_once('}')?;
            decoded.push(embedded_character(digits)?);
            rest = behind;
        } else {
            if is_embedded(character) || character.is_control() {
                return None;
            }
            decoded.push(character);
            rest = rest.get(character.len_utf8()..)?;
        }
    }
    (!decoded.is_empty()).then_some(decoded)
}

/// The character of an EmbeddedUnicodeChar: one that cannot stand for itself, or one outside ASCII.
fn embedded_character(digits: &str) -> Option<char> {
    let in_grammar = (2..=6).contains(&digits.len())
        && digits.bytes().all(|octet| octet.is_ascii_hexdigit())
        && !digits.starts_with('0');
    let character = char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| in_grammar)?)?;
    (!character.is_control() && (is_embedded(character) || !character.is_ascii())).then_some(character)
}

/// The printable ASCII characters that an address never holds as themselves.
fn is_embedded(character: char) -> bool {
    matches!(character, ' ' | '\\' | '+' | '=')
}

/// Displays an address as utf-8-addr-unitext when `unitext` is set, else as utf-8-addr-xtext.
pub(crate) struct Utf8Address<'a> {
    pub(crate) address: &'a str,
    pub(crate) unitext: bool,
}

impl fmt::Display for Utf8Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.address.chars() {
            if is_embedded(character) || character.is_control() || !character.is_ascii() && !self.unitext {
                write!(f, "\\x{{{:X}}}", u32::from(character))?;
            } else {
                f.write_char(character)?;
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
    #[test]
    fn addresses_with_utf_8_have_a_form_in_ascii_and_one_without() {
        // DSN-010
        let both = |address| [false, true].map(|unitext| format!("{}", Utf8Address { address, unitext }));
        assert_eq!(both("dörte+x@x.test"), ["d\\x{F6}rte\\x{2B}x@x.test", "dörte\\x{2B}x@x.test"]);
        for address in ["a@b.test", "é", "\u{20AC}@\u{10FFFF}", "\"a = \\\" \"@b.test", "}{x"] {
            for written in both(address) {
                assert_eq!(decode_utf8_address(&written).as_deref(), Some(address), "{written}");
            }
            assert!(both(address)[0].is_ascii());
        }
        assert_eq!(decode_utf8_address("\\x{e9}\\x{E9}").as_deref(), Some("éé"));
        for bad in [
            "",
            "a b",
            "a+b",
            "a=b",
            "a\\b",
            "\\x{}",
            "\\x{E9",
            "\\x{9}",
            "\\x{0A}",
            "\\x{7F}",
            "\\x{80}",
            "\\x{41}",
            "\\x{+41}",
            "\\x{0E9}",
            "\\x{D800}",
            "\\x{110000}",
            "\\x{1000000}",
            "\\X{E9}",
            "a\u{85}",
        ] {
            assert_eq!(decode_utf8_address(bad), None, "{bad}");
        }
    }
}
