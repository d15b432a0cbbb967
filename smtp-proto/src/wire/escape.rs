//! Showing a peer's octets to a person: nothing in them may act on the terminal or log that shows them (H-LG-1).

use core::fmt;

/// Displays octets with everything escaped that could act on a terminal: C0 and C1 controls, DEL, direction
/// marks and whatever is not UTF-8.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || is_bidi_control(character) {
                    write!(f, "{}", character.escape_unicode())?;
                } else {
                    fmt::Write::write_char(f, character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

pub(super) fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn nothing_that_acts_on_a_terminal_survives() {
        // H-LG-1
        let shown = Escaped("a\u{1b}[2J\r\n\u{9b}\u{202e}é".as_bytes()).to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\u{d}\\u{a}\\u{9b}\\u{202e}é");
        assert_eq!(Escaped(b"x\xffy").to_string(), "x\\xffy");
    }
}
