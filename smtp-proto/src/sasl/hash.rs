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

    const LONG_KEY: [u8; 80] = [0xaa; 80];
    const LONG_TEXT: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";

    #[cfg(feature = "scram")]
    #[test]
    fn the_vectors_of_rfc_2202_for_sha_1() {
        let sum = keyed_hash::<sha1::Sha1>(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(crate::sasl::base64::encode(sum.reveal()), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
        let sum = keyed_hash::<sha1::Sha1>(&LONG_KEY, &[LONG_TEXT]);
        assert_eq!(crate::sasl::base64::encode(sum.reveal()), "qkrl4VJy0A6VcFY3zoo7Ve1AIRI=");
    }

    #[cfg(feature = "cram-md5")]
    #[test]
    fn the_vectors_of_rfc_2202_for_md5() {
        let sum = keyed_hash::<md5::Md5>(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(sum.reveal(), 0x750c783e6ab0b503eaa86e310a5db738_u128.to_be_bytes());
        let sum = keyed_hash::<md5::Md5>(&LONG_KEY, &[LONG_TEXT]);
        assert_eq!(sum.reveal(), 0x6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd_u128.to_be_bytes());
    }
}
