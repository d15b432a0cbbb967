//! Facts about TLS under a session. The core does no TLS; whoever does tells it these.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::sasl::ChannelBinding;

/// What is known about the TLS connection under a session.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version, such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its registered name, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// The certificates the peer showed, in DER, its own first.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Whether the peer's certificate was verified: in a client that it is the server's which was meant, in a server
    /// that a trusted authority issued it.
    pub verified: bool,
    /// The name the client asked for (SNI, RFC 6066 section 3).
    pub server_name: Option<String>,
    /// What can tie authentication to this connection (RFC 5929, RFC 9266), best first.
    pub channel_bindings: Vec<ChannelBinding>,
}

impl TlsInfo {
    /// A connection of which nothing more is known.
    pub fn new(version: impl Into<String>, cipher_suite: impl Into<String>) -> Self {
        Self { version: version.into(), cipher_suite: cipher_suite.into(), ..Self::default() }
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("version", &self.version)
            .field("cipher_suite", &self.cipher_suite)
            .field("peer_certificates", &self.peer_certificates.len())
            .field("verified", &self.verified)
            .field("server_name", &self.server_name)
            .field("channel_bindings", &self.channel_bindings)
            .finish()
    }
}
