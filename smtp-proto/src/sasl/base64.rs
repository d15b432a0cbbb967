//! Base64 as authentication uses it (RFC 4648 section 4), strict in decoding.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
// This engine wants padding, refuses characters outside the alphabet, and wants the unused bits to be zero.
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Writes octets in base64.
pub(crate) fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Reads base64; `None` when it is not in the one canonical form (no white space, full padding, unused bits zero).
pub(crate) fn decode(text: &[u8]) -> Option<Secret> {
    let mut octets = Zeroizing::new(Vec::with_capacity(base64::decoded_len_estimate(text.len())));
    STANDARD.decode_vec(text, &mut octets).ok()?;
    Some(Secret::custody(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded.as_bytes()).unwrap().reveal(), plain.as_bytes());
        }
    }

    /// SASL-021, P16: one text for each string of octets.
    #[test]
    fn what_is_not_canonical_is_refused() {
        for bad in [
            "Zg",
            "Zg=",
            "Zg===",
            "Zg==Zg==",
            "Z",
            "=",
            "====",
            "Zh==",
            "Zm9=",
            "Zm9v\r\n",
            " Zm9v",
            "Zm 9v",
            "Zm9v\n",
            "Zm-_",
            "Zm9v\0",
            "Zm9\u{e9}",
            "Z=g=",
            "*",
        ] {
            assert!(decode(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    proptest! {
        /// SASL-021, P16: encoding and decoding are inverse.
        #[test]
        fn decoding_gives_back_what_was_encoded(octets: Vec<u8>) {
            let text = encode(&octets);
            let decoded = decode(text.as_bytes()).unwrap();
            prop_assert_eq!(decoded.reveal(), &octets[..]);
        }

        /// SASL-021, P16: whatever decodes is what encoding would have written.
        #[test]
        fn what_decodes_is_canonical(text in "[A-Za-z0-9+/]{0,10}={0,3}") {
            if let Some(octets) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(octets.reveal()), text);
            }
        }
    }
}
