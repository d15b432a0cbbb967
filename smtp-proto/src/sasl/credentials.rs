//! What a client proves itself with, as the server's application sees it.

use alloc::string::String;
use core::fmt;

use crate::secret::Secret;

/// What a client proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    mechanism: String,
    username: Option<String>,
    authorization_identity: Option<String>,
    evidence: Evidence,
}

/// The proof.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// The password itself: PLAIN, LOGIN.
    Password(Secret),
    /// A bearer token: XOAUTH2, OAUTHBEARER.
    Token(Secret),
    /// The certificate the client showed: EXTERNAL.
    External,
    /// None: ANONYMOUS. The user name is what the client left as a trace.
    Anonymous,
    /// That of a mechanism this crate does not know.
    Other(Secret),
}

/// What the application says about credentials.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// They are good.
    Accepted,
    /// They are not.
    Refused,
}

impl Credentials {
    /// The user name, where the mechanism has one.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Whom the client wants to act for, where that was said.
    pub fn authorization_identity(&self) -> Option<&str> {
        self.authorization_identity.as_deref()
    }

    /// The name of the mechanism.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }

    /// The proof.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verdict")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .field("authorization_identity", &self.authorization_identity)
            .finish_non_exhaustive()
    }
}
