//! What is known about a session while it lasts.

use super::event::Hello;

/// What is known about a session.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub(super) hello: Option<Hello>,
    pub(super) transaction: Option<Transaction>,
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

    /// The protocol for the `with` clause of a Received field (RFC 3848).
    pub fn protocol(&self) -> &'static str {
        match &self.hello {
            Some(hello) if !hello.extended => "SMTP",
            _ if self.transaction.as_ref().is_some_and(|transaction| transaction.smtputf8) => "UTF8SMTP",
            _ => "ESMTP",
        }
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
}
