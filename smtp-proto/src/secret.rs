//! Secrets: passwords, tokens, and what is made of them.

use alloc::string::String;
use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets that nobody is to see.
///
/// There is no `Debug` and no `Display`, comparison takes the same time for all secrets of one length, and the memory
/// is overwritten when the value is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes octets into custody.
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(octets.into()))
    }

    /// Takes octets that are already overwritten on drop.
    pub(crate) fn custody(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }

    /// The parts one after the other, put together in one allocation so that no copy stays behind.
    pub(crate) fn concat(parts: &[&[u8]]) -> Self {
        Self::new(parts.concat())
    }

    /// The octets. Whatever is done with them, do not log them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The octets as text, when they are UTF-8.
    pub fn reveal_str(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self::new(octets)
    }
}

/// Constant-time for secrets of the same length.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}
