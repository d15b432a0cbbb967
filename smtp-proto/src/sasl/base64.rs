//! Base64 as SASL needs it: the standard alphabet, padded, canonical, nothing else in between (RFC 4648 sections 3.5
//! and 4).

use alloc::vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// Decodes; `None` when the text is not canonical.
pub(crate) fn decode(text: &[u8]) -> Option<Secret> {
    // A buffer of the full size: a growing one would leave copies behind.
    let mut decoded = vec![0; text.len()];
    let length = STANDARD.decode_slice(text, &mut decoded);
    decoded.truncate(*length.as_ref().unwrap_or(&0));
    let decoded = Secret::new(decoded);
    length.ok().map(|_| decoded)
}

/// Encodes.
pub(crate) fn encode(octets: &[u8]) -> Secret {
    Secret::new(STANDARD.encode(octets))
}
