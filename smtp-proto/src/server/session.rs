//! What is known about a session while it lasts.

use alloc::string::String;

use super::event::Hello;
use crate::tls::TlsInfo;

/// What is known about a session.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub(super) hello: Option<Hello>,
    pub(super) transaction: Option<Transaction>,
    pub(super) lmtp: bool,
    pub(super) tls: Option<TlsInfo>,
    pub(super) identity: Option<Identity>,
    pub(super) auth_failures: u32,
    pub(super) messages: u64,
    pub(super) errors: u32,
    pub(super) junk: u32,
    pub(super) refusals: u32,
    pub(super) pipelined_early: bool,
}

/// What is known about the transaction that runs.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    pub(super) recipients: u32,
    pub(super) asked: u32,
    pub(super) smtputf8: bool,
    pub(super) declared_size: Option<u64>,
    pub(super) requiretls: bool,
    pub(super) binary: bool,
}

/// Who a client proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The user name, where the mechanism has one.
    pub username: Option<String>,
    /// Whom the client acts for, where it said so and the application let it.
    pub authorization_identity: Option<String>,
    /// The name of the mechanism.
    pub mechanism: String,
}

impl Session {
    /// What the client called itself in its last accepted hello.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The transaction that runs.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// The TLS under the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Who the client proved to be.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Failed authentications so far.
    pub fn auth_failures(&self) -> u32 {
        self.auth_failures
    }

    /// Messages accepted so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Wrong commands since the last message.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// Whether the client once sent on where it had to wait for a reply (RFC 2920 section 3.1). Spam programs do;
    /// depends on the network's timing, so no proof.
    pub fn pipelined_early(&self) -> bool {
        self.pipelined_early
    }

    /// The protocol for the `with` clause of a Received field (RFC 3848, RFC 6531 section 4.3).
    pub fn protocol(&self) -> &'static str {
        let utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.smtputf8);
        if self.lmtp {
            return match (self.tls.is_some(), self.identity.is_some()) {
                (false, false) => "LMTP",
                (false, true) => "LMTPA",
                (true, false) => "LMTPS",
                (true, true) => "LMTPSA",
            };
        }
        match (&self.hello, utf8, self.tls.is_some(), self.identity.is_some()) {
            (Some(hello), ..) if !hello.extended => "SMTP",
            (_, false, false, false) => "ESMTP",
            (_, false, false, true) => "ESMTPA",
            (_, false, true, false) => "ESMTPS",
            (_, false, true, true) => "ESMTPSA",
            (_, true, false, false) => "UTF8SMTP",
            (_, true, false, true) => "UTF8SMTPA",
            (_, true, true, false) => "UTF8SMTPS",
            (_, true, true, true) => "UTF8SMTPSA",
        }
    }

    /// What is left of the session when TLS begins: nothing that was said in clear (RFC 3207 section 4.2).
    pub(super) fn secured(&mut self, tls: TlsInfo) {
        *self = Self { tls: Some(tls), lmtp: self.lmtp, messages: self.messages, ..Self::default() };
    }
}

impl Transaction {
    /// Recipients accepted so far. Name one in a Received field only when there is just this one (RFC 5321 section
    /// 7.6).
    pub fn recipients(&self) -> u32 {
        self.recipients
    }

    /// Whether SMTPUTF8 was given.
    pub fn smtputf8(&self) -> bool {
        self.smtputf8
    }

    /// The size the client announced.
    pub fn declared_size(&self) -> Option<u64> {
        self.declared_size
    }

    /// Whether REQUIRETLS was given (RFC 8689): the message must go on over verified TLS only, or go back; a
    /// notification about it returns headers only.
    pub fn requiretls(&self) -> bool {
        self.requiretls
    }
}
