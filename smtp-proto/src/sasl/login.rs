//! What a client has to prove itself with.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Mechanism;
use crate::secret::Secret;

/// What a client has to prove itself with.
#[derive(Clone)]
pub struct Login {
    username: String,
    authorization_identity: Option<String>,
    proof: Proof,
    mechanisms: Option<Vec<&'static dyn Mechanism>>,
}

/// The proof a client has.
#[derive(Clone)]
#[non_exhaustive]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// An OAuth 2 access token.
    Token(Secret),
    /// The certificate it shows in TLS.
    External,
    /// None.
    Anonymous,
}

/// Why a login cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLogin {
    /// The user name, password or token is empty.
    #[error("a {0} cannot be empty")]
    Empty(&'static str),
    /// It holds a character that no mechanism can carry.
    #[error("a {0} cannot hold control characters")]
    Character(&'static str),
}

impl Login {
    /// Which mechanisms to try, in this order.
    pub fn preference(&self) -> &[&'static dyn Mechanism] {
        self.mechanisms.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}
