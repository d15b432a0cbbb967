//! Hashes and keyed hashes (HMAC, RFC 2104) whose results stay secret.

use hmac::Hmac;
use hmac::digest::block_api::EagerHash;
use hmac::digest::common::Key;
use hmac::digest::{Digest, KeyInit, Mac};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret;

/// The hash of some octets.
pub(super) fn hash<D: Digest>(octets: &[u8]) -> Secret {
    let mut sum = D::digest(octets);
    taken(&mut sum)
}

/// The keyed hash of parts put together.
pub(super) fn keyed_hash<D: EagerHash + Digest>(key: &[u8], parts: &[&[u8]]) -> Secret {
    // The key is brought to one block here, as HMAC does itself, because only then can it not fail.
    let mut block = Key::<Hmac<D>>::default();
    let shortened;
    let key = if key.len() > block.len() {
        shortened = hash::<D>(key);
        shortened.reveal()
    } else {
        key
    };
    for (place, octet) in block.iter_mut().zip(key) {
        *place = *octet;
    }
    let mut mac = <Hmac<D> as KeyInit>::new(&block);
    block.as_mut_slice().zeroize();
    for part in parts {
        mac.update(part);
    }
    taken(&mut mac.finalize().into_bytes())
}

// What it came in is overwritten as well.
fn taken(octets: &mut [u8]) -> Secret {
    let secret = Secret::custody(Zeroizing::new(octets.to_vec()));
    octets.zeroize();
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "cram-md5")]
    #[test]
    fn the_vectors_of_rfc_2202() {
        let sum = keyed_hash::<md5::Md5>(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(sum.reveal(), 0x750c783e6ab0b503eaa86e310a5db738_u128.to_be_bytes());
        // A key longer than a block.
        let sum = keyed_hash::<md5::Md5>(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(sum.reveal(), 0x6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd_u128.to_be_bytes());
    }
}
