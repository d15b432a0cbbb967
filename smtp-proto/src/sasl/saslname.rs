//! Names in GS2 headers and SCRAM messages (`saslname`, RFC 5801 section 4 and RFC 5802 section 5.1).

use alloc::string::String;

/// Writes a name: `,` becomes `=2C` and `=` becomes `=3D`.
pub(super) fn encode(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a name; `None` when it is empty or has a `=` that is not one of the two escapes, or a `,`.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = String::from(parts.next()?);
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return None,
        };
        name.push(character);
        name.push_str(rest);
    }
    (!name.is_empty() && !text.contains(',')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SASL-005
    #[test]
    fn comma_and_equals_sign_are_escaped() {
        assert_eq!(encode("a,b=c"), "a=2Cb=3Dc");
        assert_eq!(decode("a=2Cb=3Dc").as_deref(), Some("a,b=c"));
        assert_eq!(decode("=2C").as_deref(), Some(","));
        assert_eq!(decode("=3D2C").as_deref(), Some("=2C"));
    }

    /// SASL-005
    #[test]
    fn other_escapes_are_refused() {
        for bad in ["", "=", "a=", "=2c", "=3d", "=2", "==2C", "=41", "a,b", "=2C="] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        /// SASL-005, P16
        #[test]
        fn decoding_gives_back_the_name(name in ".{1,20}") {
            prop_assert_eq!(decode(&encode(&name)), Some(name));
        }

        /// SASL-005, P16
        #[test]
        fn what_decodes_is_canonical(text in "[=23CDa,]{0,10}") {
            if let Some(name) = decode(&text) {
                prop_assert_eq!(encode(&name), text);
            }
        }
    }
}
