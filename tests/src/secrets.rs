//! Looks for secrets where they must not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::recorder::hexadecimal;

/// In which form a secret occurs in a text, if it does: as it is, in base64 at any offset, in hexadecimal, or as a list
/// of octets.
pub fn occurs(secret: &[u8], text: &str) -> Option<&'static str> {
    let raw = String::from_utf8_lossy(secret);
    if text.contains(&*raw) {
        return Some("as it is");
    }
    // What stands before the secret shifts it; the digits at the edges depend on the neighbours.
    for shift in 0..3 {
        let encoded = STANDARD_NO_PAD.encode([&[0; 3][..shift], secret].concat());
        let first = [0, 2, 3][shift];
        let last = (shift + secret.len()) * 8 / 6;
        if encoded.get(first..last).is_some_and(|digits| digits.len() >= 6 && text.contains(digits)) {
            return Some("in base64");
        }
    }
    let digits = hexadecimal(secret);
    if text.to_ascii_lowercase().contains(&digits) {
        return Some("in hexadecimal");
    }
    let list = format!("{secret:?}");
    text.contains(list.trim_matches(['[', ']'])).then_some("as a list of octets")
}
