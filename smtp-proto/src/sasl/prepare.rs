//! Preparing names and passwords for comparison: SASLprep (RFC 4013).

#[cfg(feature = "scram")]
use alloc::borrow::Cow;

#[cfg(feature = "scram")]
use zeroize::Zeroizing;

use crate::secret::Secret;

/// A name as SCRAM wants it; `None` when it holds what SASLprep prohibits, or is nothing afterwards.
#[cfg(feature = "scram")]
pub(super) fn name(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok().filter(|prepared| !prepared.is_empty())
}

/// A password as SCRAM wants it; `None` when SASLprep does not take it.
#[cfg(feature = "scram")]
pub(super) fn password(secret: &Secret) -> Option<Secret> {
    let prepared = match name(secret.reveal_str()?)? {
        Cow::Borrowed(text) => Zeroizing::new(text.as_bytes().to_vec()),
        Cow::Owned(text) => Zeroizing::new(text.into_bytes()),
    };
    Some(Secret::custody(prepared))
}

/// Whether two passwords are the same, in constant time for passwords of one length.
///
/// Those that SASLprep refuses, such as ones with characters newer than Unicode 3.2, are compared as they are:
/// refusing them would lock their owners out, and equal octets are equal passwords.
pub(super) fn same_password(one: &Secret, other: &Secret) -> bool {
    #[cfg(feature = "scram")]
    if !(one.reveal().is_ascii() && other.reveal().is_ascii()) {
        let prepared = |secret: &Secret| password(secret).unwrap_or_else(|| secret.clone());
        return prepared(one) == prepared(other);
    }
    one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_the_same_or_not() {
        assert!(same_password(&"IX".into(), &"IX".into()));
        assert!(!same_password(&"IX".into(), &"Ix".into()));
        assert!(!same_password(&"IX".into(), &"IXX".into()));
        // Characters that SASLprep does not know.
        assert!(same_password(&"\u{1f600}".into(), &"\u{1f600}".into()));
        assert!(!same_password(&"\u{1f600}".into(), &"\u{1f601}".into()));
        // Not text at all.
        assert!(same_password(&vec![0xff].into(), &vec![0xff].into()));
    }

    /// SASL-002, and the examples of RFC 4013 section 3.
    #[cfg(feature = "scram")]
    #[test]
    fn passwords_are_compared_as_prepared() {
        assert!(same_password(&"I\u{ad}X".into(), &"IX".into()));
        assert!(same_password(&"IX".into(), &"I\u{ad}X".into()));
        assert!(same_password(&"\u{aa}".into(), &"a".into()));
        assert!(same_password(&"\u{2168}".into(), &"IX".into()));
        assert!(!same_password(&"user".into(), &"USER".into()));
        for prohibited in ["\u{7}", "\u{627}\u{31}", "", "\u{ad}"] {
            assert!(password(&prohibited.into()).is_none(), "{prohibited:?}");
        }
    }
}
