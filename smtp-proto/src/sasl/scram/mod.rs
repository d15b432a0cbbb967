//! SCRAM (RFC 5802, RFC 7677): both ends prove that they know the password, and neither learns it.

mod client;
mod keys;
mod message;
mod server;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::fmt;

use super::{ClientExchange, Context, Login, Mechanism, ServerExchange};
use crate::secret::Secret;

use client::ScramClient;
pub use keys::{InvalidKeys, ScramHash, ScramKeys};
use server::ScramServer;

/// SCRAM-SHA-1 (RFC 5802) without channel binding.
pub const SCRAM_SHA_1: &dyn Mechanism = &Scram { name: "SCRAM-SHA-1", hash: ScramHash::Sha1, plus: false };

/// SCRAM-SHA-1 (RFC 5802) bound to the TLS connection.
pub const SCRAM_SHA_1_PLUS: &dyn Mechanism = &Scram { name: "SCRAM-SHA-1-PLUS", hash: ScramHash::Sha1, plus: true };

/// SCRAM-SHA-256 (RFC 7677) without channel binding.
pub const SCRAM_SHA_256: &dyn Mechanism = &Scram { name: "SCRAM-SHA-256", hash: ScramHash::Sha256, plus: false };

/// SCRAM-SHA-256 (RFC 7677) bound to the TLS connection.
pub const SCRAM_SHA_256_PLUS: &dyn Mechanism =
    &Scram { name: "SCRAM-SHA-256-PLUS", hash: ScramHash::Sha256, plus: true };

#[derive(Clone, Copy)]
struct Scram {
    name: &'static str,
    hash: ScramHash,
    plus: bool,
}

impl Mechanism for Scram {
    fn name(&self) -> &str {
        self.name
    }

    fn reveals_secret(&self) -> bool {
        false
    }

    fn client(&self, login: &Login, context: &Context<'_>) -> Option<Box<dyn ClientExchange>> {
        let nonce = super::base64::encode(&context.nonce?);
        Some(Box::new(ScramClient::new(self, login, context, nonce)?))
    }

    fn server(&self, context: &Context<'_>) -> Option<Box<dyn ServerExchange>> {
        if self.plus && context.channel_bindings.is_empty() {
            return None;
        }
        // Of the alphabet of base64 all is allowed in a nonce (RFC 5802 section 7).
        let nonce = super::base64::encode(&context.nonce?);
        Some(Box::new(ScramServer::new(*self, context, nonce)))
    }
}

/// A client's word that it knows a password, to be proved once the server has the user's keys.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramClaim {
    hash: ScramHash,
    nonce: Secret,
}

impl ScramClaim {
    /// The hash that the keys have to be made with.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }

    /// Keys for this exchange alone, from the password. The salt is made from the server's nonce, so that it is new
    /// each time; that everybody sees the nonce is no harm, since everybody sees the salt.
    pub(super) fn keys(&self, password: &Secret) -> Option<ScramKeys> {
        let salt = self.hash.keyed_hash(&self.nonce, &[b"salt"]);
        let salt = salt.reveal().get(..ScramKeys::SALT_LENGTH)?;
        ScramKeys::new(self.hash, password, salt, ScramKeys::DEFAULT_ITERATIONS).ok()
    }

    /// The same for a user who does not exist, in the same time: nobody has the password that they are made from.
    pub(super) fn keys_of_nobody(&self, username: &str, server_secret: &Secret) -> Option<ScramKeys> {
        let password = self.hash.keyed_hash(server_secret, &[b"nobody\0", username.as_bytes()]);
        self.keys(&super::base64::encode(password.reveal()).into())
    }
}

impl fmt::Debug for ScramClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramClaim").field("hash", &self.hash).finish_non_exhaustive()
    }
}
