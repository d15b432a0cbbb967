//! What a server keeps instead of a password (RFC 5802 section 3).

use alloc::vec::Vec;
use core::fmt;

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::sasl::{hash, prepare};
use crate::secret::Secret;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// That of SCRAM-SHA-1 and SCRAM-SHA-1-PLUS.
    Sha1,
    /// That of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
    Sha256,
}

impl ScramHash {
    /// The octets in a hash and in a key.
    pub fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    pub(super) fn hash(self, octets: &Secret) -> Secret {
        match self {
            Self::Sha1 => hash::hash::<Sha1>(octets.reveal()),
            Self::Sha256 => hash::hash::<Sha256>(octets.reveal()),
        }
    }

    pub(super) fn keyed_hash(self, key: &Secret, parts: &[&[u8]]) -> Secret {
        match self {
            Self::Sha1 => hash::keyed_hash::<Sha1>(key.reveal(), parts),
            Self::Sha256 => hash::keyed_hash::<Sha256>(key.reveal(), parts),
        }
    }
}

/// The salted password (RFC 5802 section 3, `Hi`): enough to play both the client and the server.
pub(super) struct SaltedPassword {
    hash: ScramHash,
    octets: Secret,
}

impl SaltedPassword {
    /// Takes a password that is prepared already.
    pub(super) fn new(hash: ScramHash, prepared: &Secret, salt: &[u8], iterations: u32) -> Self {
        let mut octets = Zeroizing::new(Vec::new());
        octets.resize(hash.length(), 0);
        match hash {
            ScramHash::Sha1 => pbkdf2_hmac::<Sha1>(prepared.reveal(), salt, iterations, &mut octets),
            ScramHash::Sha256 => pbkdf2_hmac::<Sha256>(prepared.reveal(), salt, iterations, &mut octets),
        }
        Self { hash, octets: Secret::custody(octets) }
    }

    pub(super) fn client_key(&self) -> Secret {
        self.hash.keyed_hash(&self.octets, &[b"Client Key"])
    }

    pub(super) fn server_key(&self) -> Secret {
        self.hash.keyed_hash(&self.octets, &[b"Server Key"])
    }
}

/// What a server keeps of a user's password for SCRAM (RFC 5802 section 3): enough to check the password and to prove
/// that the server knows the user, not enough to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Secret,
    server_key: Secret,
}

/// Why there can be no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeys {
    /// The password is empty or holds what SASLprep (RFC 4013) prohibits.
    #[error("the password is empty or holds prohibited characters")]
    Password,
    /// There is no salt.
    #[error("the salt is empty")]
    Salt,
    /// Fewer than [`ScramKeys::MIN_ITERATIONS`] or more than [`ScramKeys::MAX_ITERATIONS`].
    #[error("{0} iterations; from 4096 to 600000 are allowed")]
    Iterations(u32),
    /// A key has not the length of the hash.
    #[error("a key has not the length of the hash")]
    Length,
}

impl ScramKeys {
    /// The fewest iterations that a client goes along with (RFC 5802 section 5.1, RFC 7677 section 4).
    pub const MIN_ITERATIONS: u32 = 4096;

    /// The most iterations that a client goes along with: a second or so of computing that a server can ask for.
    pub const MAX_ITERATIONS: u32 = 600_000;

    /// For new keys: what RFC 7677 section 4 found bearable, a tenth of a second for the client at its time.
    pub const DEFAULT_ITERATIONS: u32 = 15_000;

    /// The octets of a good salt: as many as nobody has a table for, and as those of users who do not exist have.
    pub const SALT_LENGTH: usize = 16;

    /// Makes them from a password, with a salt that is random and this user's alone.
    ///
    /// # Errors
    /// When SASLprep (RFC 4013) refuses the password, the salt is empty, or the number of iterations is not one that
    /// clients go along with.
    pub fn new(hash: ScramHash, password: &Secret, salt: &[u8], iterations: u32) -> Result<Self, InvalidKeys> {
        check(salt, iterations)?;
        let prepared = prepare::password(password).ok_or(InvalidKeys::Password)?;
        let salted = SaltedPassword::new(hash, &prepared, salt, iterations);
        let stored_key = hash.hash(&salted.client_key());
        Ok(Self { hash, salt: salt.into(), iterations, stored_key, server_key: salted.server_key() })
    }

    /// Takes them from where they are stored.
    ///
    /// # Errors
    /// When the keys have not the length of the hash, the salt is empty, or the number of iterations is not one that
    /// clients go along with.
    pub fn from_parts(
        hash: ScramHash,
        salt: &[u8],
        iterations: u32,
        stored_key: Secret,
        server_key: Secret,
    ) -> Result<Self, InvalidKeys> {
        check(salt, iterations)?;
        if stored_key.reveal().len() != hash.length() || server_key.reveal().len() != hash.length() {
            return Err(InvalidKeys::Length);
        }
        Ok(Self { hash, salt: salt.into(), iterations, stored_key, server_key })
    }

    /// Makes keys that no password fits, for a user who does not exist.
    ///
    /// The same name and secret give the same salt of [`SALT_LENGTH`](Self::SALT_LENGTH) octets. The number of
    /// iterations has to be that of real users, else it tells.
    ///
    /// # Errors
    /// When the number of iterations is not one that clients go along with.
    pub fn of_nobody(
        hash: ScramHash,
        username: &str,
        server_secret: &Secret,
        iterations: u32,
    ) -> Result<Self, InvalidKeys> {
        let made = |what: &[u8]| hash.keyed_hash(server_secret, &[what, b"\0", username.as_bytes()]);
        let salt: Vec<u8> = made(b"salt").reveal().iter().copied().take(Self::SALT_LENGTH).collect();
        check(&salt, iterations)?;
        Ok(Self { hash, salt, iterations, stored_key: made(b"stored key"), server_key: made(b"server key") })
    }

    /// Whether they were made from this password. Takes as long as making keys.
    pub fn verify(&self, password: &Secret) -> bool {
        Self::new(self.hash, password, &self.salt, self.iterations)
            .is_ok_and(|keys| keys.stored_key.reveal().ct_eq(self.stored_key.reveal()).into())
    }

    /// The hash.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The number of iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// `StoredKey`: what a client's proof is checked with.
    pub fn stored_key(&self) -> &Secret {
        &self.stored_key
    }

    /// `ServerKey`: what the server's signature is made with.
    pub fn server_key(&self) -> &Secret {
        &self.server_key
    }
}

fn check(salt: &[u8], iterations: u32) -> Result<(), InvalidKeys> {
    if salt.is_empty() {
        return Err(InvalidKeys::Salt);
    }
    if !(ScramKeys::MIN_ITERATIONS..=ScramKeys::MAX_ITERATIONS).contains(&iterations) {
        return Err(InvalidKeys::Iterations(iterations));
    }
    Ok(())
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ScramKeys");
        shown.field("hash", &self.hash).field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::base64;

    const SALT: &[u8] = b"0123456789abcdef";

    #[test]
    fn keys_come_back_from_their_parts() {
        for hash in [ScramHash::Sha1, ScramHash::Sha256] {
            let keys = ScramKeys::new(hash, &"pencil".into(), SALT, 4096).unwrap();
            let (stored, server) = (keys.stored_key().clone(), keys.server_key().clone());
            let again = ScramKeys::from_parts(keys.hash(), keys.salt(), keys.iterations(), stored, server).unwrap();
            assert!(again == keys);
            assert!(again.verify(&"pencil".into()) && !again.verify(&"pencils".into()) && !again.verify(&"".into()));
        }
    }

    /// SASL-013: the keys of `pencil` as other servers keep them.
    #[test]
    fn the_keys_of_the_example_of_rfc_7677() {
        let salt = base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::new(ScramHash::Sha256, &"pencil".into(), salt.reveal(), 4096).unwrap();
        assert_eq!(base64::encode(keys.stored_key().reveal()), "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
        assert_eq!(base64::encode(keys.server_key().reveal()), "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    }

    #[test]
    fn what_clients_would_refuse_is_not_made() {
        let new = |password: &str, salt: &[u8], iterations| {
            ScramKeys::new(ScramHash::Sha256, &password.into(), salt, iterations).err()
        };
        assert_eq!(new("", SALT, 4096), Some(InvalidKeys::Password));
        assert_eq!(new("a\nb", SALT, 4096), Some(InvalidKeys::Password));
        assert_eq!(new("p", b"", 4096), Some(InvalidKeys::Salt));
        assert_eq!(new("p", SALT, 4095), Some(InvalidKeys::Iterations(4095)));
        assert_eq!(new("p", SALT, 600_001), Some(InvalidKeys::Iterations(600_001)));
        let key = Secret::new(vec![0; 20]);
        let parts = ScramKeys::from_parts(ScramHash::Sha256, SALT, 4096, key.clone(), key);
        assert_eq!(parts.err(), Some(InvalidKeys::Length));
    }

    /// SASL-013
    #[test]
    fn nobody_has_always_the_same_salt() {
        let of = |name, secret: &str| ScramKeys::of_nobody(ScramHash::Sha256, name, &secret.into(), 4096).unwrap();
        assert!(of("alice", "s") == of("alice", "s"));
        assert_ne!(of("alice", "s").salt(), of("bob", "s").salt());
        assert_ne!(of("alice", "s").salt(), of("alice", "t").salt());
        assert_eq!(of("alice", "s").salt().len(), ScramKeys::SALT_LENGTH);
    }
}
