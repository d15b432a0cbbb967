//! Authentication (SASL, RFC 4422): mechanisms as exchanges of challenges and responses. Nothing here knows SMTP.
//!
//! A [`Mechanism`] makes exchanges. The client's side ([`ClientExchange`]) turns a [`Login`] and the server's
//! challenges into responses. The server's side ([`ServerExchange`]) turns responses into [`Credentials`], which the
//! application checks and gives a [`Verdict`] on.

mod anonymous;
pub(crate) mod base64;
#[cfg(feature = "cram-md5")]
mod cram_md5;
mod credentials;
mod external;
#[cfg(any(feature = "scram", feature = "cram-md5"))]
mod hash;
mod login;
mod oauth;
mod password;
mod prepare;
mod saslname;
#[cfg(feature = "scram")]
mod scram;
mod single;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use anonymous::ANONYMOUS;
#[cfg(feature = "cram-md5")]
pub use cram_md5::{CRAM_MD5, CramMd5Response};
pub use credentials::{Credentials, Evidence, Verdict};
pub use external::EXTERNAL;
pub use login::{InvalidLogin, Login, Proof};
pub use oauth::{OAUTHBEARER, XOAUTH2};
pub use password::{LOGIN, PLAIN};
#[cfg(feature = "scram")]
pub use scram::{
    InvalidKeys, SCRAM_SHA_1, SCRAM_SHA_1_PLUS, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClaim, ScramHash, ScramKeys,
};

use crate::secret::Secret;

/// A way to authenticate. Refer to the built-in ones by their constants; further ones are `static` values.
pub trait Mechanism: Sync {
    /// The registered name, in upper case.
    fn name(&self) -> &str;

    /// Whether what the client sends is enough to log in as that client: such a mechanism needs TLS.
    fn reveals_secret(&self) -> bool;

    /// The client's side of an exchange; `None` when this login or this connection is not for this mechanism.
    fn client(&self, login: &Login, context: &Context<'_>) -> Option<Box<dyn ClientExchange>>;

    /// The server's side of an exchange; `None` when the connection is not for this mechanism. One that gives none is
    /// not offered.
    fn server(&self, context: &Context<'_>) -> Option<Box<dyn ServerExchange>>;
}

impl fmt::Debug for dyn Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Mechanisms are the same when they have the same name.
impl PartialEq for dyn Mechanism {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Mechanism {}

/// The mechanisms a client uses unless told otherwise, best first: those that tie the login to the connection, those
/// that keep the secret, tokens, certificates, passwords in clear. CRAM-MD5 is used only when named.
pub fn strongest_first() -> &'static [&'static dyn Mechanism] {
    &[
        #[cfg(feature = "scram")]
        SCRAM_SHA_256_PLUS,
        #[cfg(feature = "scram")]
        SCRAM_SHA_1_PLUS,
        #[cfg(feature = "scram")]
        SCRAM_SHA_256,
        #[cfg(feature = "scram")]
        SCRAM_SHA_1,
        OAUTHBEARER,
        XOAUTH2,
        EXTERNAL,
        PLAIN,
        LOGIN,
        ANONYMOUS,
    ]
}

/// The built-in mechanism of a name, in any case; `None` when there is none or its feature is not enabled.
pub fn find(name: &str) -> Option<&'static dyn Mechanism> {
    #[cfg(feature = "cram-md5")]
    if CRAM_MD5.name().eq_ignore_ascii_case(name) {
        return Some(CRAM_MD5);
    }
    strongest_first().iter().copied().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
}

/// What an exchange may need to know about the session around it.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The server's name.
    pub host: &'a str,
    /// Unpredictable octets, never used twice; `None` when there is no random source.
    pub nonce: Option<[u8; 24]>,
    /// What ties the exchange to the connection, best first. Empty where that cannot be done.
    pub channel_bindings: &'a [ChannelBinding],
    /// Whether the server offers a variant with channel binding (`-PLUS`).
    pub plus_offered: bool,
    /// In a server: whether TLS proved who the client is.
    pub external: bool,
}

/// A source of nonces: octets that nobody can predict, from a cryptographic random source. `None` when it fails.
pub type Nonces = fn() -> Option<[u8; 24]>;

/// The operating system's source, where this crate may use it.
pub(crate) fn default_nonces() -> Option<Nonces> {
    #[cfg(feature = "getrandom")]
    return Some(|| {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).ok().map(|()| nonce)
    });
    #[cfg(not(feature = "getrandom"))]
    None
}

/// Data that both ends of a TLS connection know and nobody between them can have (RFC 5056).
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding {
    name: &'static str,
    data: Vec<u8>,
}

impl ChannelBinding {
    /// The type `tls-exporter` (RFC 9266): 32 octets exported with the label `EXPORTER-Channel-Binding` and no context.
    pub fn tls_exporter(data: [u8; 32]) -> Self {
        Self { name: "tls-exporter", data: data.to_vec() }
    }

    /// The type `tls-server-end-point` (RFC 5929 section 4): the hash of the server's certificate.
    pub fn tls_server_end_point(hash: Vec<u8>) -> Self {
        Self { name: "tls-server-end-point", data: hash }
    }

    /// The registered name of the type.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The client's side of one exchange.
pub trait ClientExchange: Send {
    /// What the client says first; `None` when the server begins. Asked once, before anything else.
    fn initial_response(&mut self) -> Option<Secret>;

    /// The answer to a challenge.
    ///
    /// # Errors
    /// When the challenge makes no sense or proves that the server is not who it should be. The exchange is over then.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, Fault>;

    /// The server says that the client is in.
    ///
    /// # Errors
    /// When the server has not proved what it has to.
    fn succeeded(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// What the server said in the exchange about why it refuses, such as the JSON of OAUTHBEARER.
    fn refusal(&self) -> Option<&str> {
        None
    }
}

/// The server's side of one exchange.
pub trait ServerExchange: Send {
    /// Begins, with the initial response if there is one.
    fn start(&mut self, initial_response: Option<&[u8]>) -> ServerStep;

    /// Takes the answer to a challenge.
    fn respond(&mut self, response: &[u8]) -> ServerStep;

    /// Goes on after the application's verdict on the credentials.
    fn decided(&mut self, verdict: Verdict) -> ServerStep {
        match verdict {
            Verdict::Accepted | Verdict::AcceptedAs(_) => ServerStep::Accepted,
            _ => ServerStep::Failed(Failure::Refused),
        }
    }
}

/// What the server does next.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerStep {
    /// Sends this and waits for the answer.
    Challenge(Vec<u8>),
    /// Asks the application about these; then [`ServerExchange::decided`].
    Credentials(Credentials),
    /// The client is in.
    Accepted,
    /// It is not.
    Failed(Failure),
}

/// The kind alone, without what is said.
impl fmt::Debug for ServerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge(_) => f.write_str("Challenge"),
            Self::Credentials(credentials) => credentials.fmt(f),
            Self::Accepted => f.write_str("Accepted"),
            Self::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
        }
    }
}

/// Why a server does not let a client in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// A response is not in the form of the mechanism.
    Malformed,
    /// The credentials are wrong.
    Refused,
}

/// What a server did that a client cannot go along with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A challenge where none is due.
    #[error("the server asked for more than the mechanism has")]
    UnexpectedChallenge,
    /// A challenge that is not in the form of the mechanism.
    #[error("the server sent a malformed challenge")]
    MalformedChallenge,
    /// The server's nonce does not go on from the client's.
    #[error("the server answered somebody else's exchange (wrong nonce)")]
    Nonce,
    /// The number of iterations is below what is safe or above what is bearable.
    #[error("the server asked for {0} iterations; from 4096 to 600000 are allowed")]
    Iterations(u64),
    /// The server does not know the password: it is not the one that was meant, or somebody is in between.
    #[error("the server's proof that it knows the password is wrong; is it the right server?")]
    ServerSignature,
    /// The server said yes before it had proved anything.
    #[error("the server said yes without proving that it knows the password; is it the right server?")]
    Unproven,
    /// Something else, in the words of the mechanism.
    #[error("{0}")]
    Other(String),
}
