//! What is known about a session while it lasts.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::Hello;
use crate::tls::TlsInfo;
use crate::wire::{Attribute, AttributeName, AttributeValue, ProxyHeader};

/// What is known about a session.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub(super) hello: Option<Hello>,
    pub(super) transaction: Option<Transaction>,
    pub(super) lmtp: bool,
    pub(super) tls: Option<TlsInfo>,
    pub(super) identity: Option<Identity>,
    pub(super) auth_failures: u32,
    pub(super) asserted: Asserted,
    pub(super) transactions: u32,
    /// In lower case; as many as there may be, at most.
    pub(super) recipient_domains: BTreeSet<String>,
    pub(super) messages: u64,
    pub(super) octets: u64,
    pub(super) refused: u64,
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

/// What others say about a client, apart from what the connection and the client itself show (H-TR-1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asserted {
    pub(super) proxy: Option<ProxyHeader>,
    pub(super) client: Vec<Attribute>,
    pub(super) forwarded: Vec<Attribute>,
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

    /// What others say about the client: nothing of it is proved.
    pub fn asserted(&self) -> &Asserted {
        &self.asserted
    }

    /// Messages accepted so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Octets of content accepted so far.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Senders, recipients and messages refused so far, by the application or a limit.
    pub fn refused(&self) -> u64 {
        self.refused
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

    /// Whether it is LMTP.
    pub fn is_lmtp(&self) -> bool {
        self.lmtp
    }

    /// The protocol for the `with` clause of a Received field (RFC 3848, RFC 6531 section 4.3).
    pub fn protocol(&self) -> &'static str {
        let utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.smtputf8);
        if self.lmtp {
            return match (utf8, self.tls.is_some(), self.identity.is_some()) {
                (false, false, false) => "LMTP",
                (false, false, true) => "LMTPA",
                (false, true, false) => "LMTPS",
                (false, true, true) => "LMTPSA",
                (true, false, false) => "UTF8LMTP",
                (true, false, true) => "UTF8LMTPA",
                (true, true, false) => "UTF8LMTPS",
                (true, true, true) => "UTF8LMTPSA",
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

    pub(super) fn note_refusal(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// What is left of the session when TLS begins: nothing that was said in clear (RFC 3207 section 4.2).
    pub(super) fn secured(&mut self, tls: TlsInfo) {
        let asserted = Asserted { proxy: self.asserted.proxy.take(), ..Asserted::default() };
        let Self { lmtp, messages, octets, refused, .. } = *self;
        *self = Self { tls: Some(tls), lmtp, asserted, messages, octets, refused, ..Self::default() };
    }

    /// What is left of the session when the client begins anew behind XCLIENT, over the same connection.
    pub(super) fn begin_anew(&mut self) {
        self.hello = None;
        self.identity = None;
        self.transaction = None;
        self.asserted.forwarded.clear();
    }
}

impl Asserted {
    /// What the PROXY header said, where one came first.
    pub fn proxy(&self) -> Option<&ProxyHeader> {
        self.proxy.as_ref()
    }

    /// What XCLIENT said: whom the client speaks for in this session.
    pub fn client(&self) -> &[Attribute] {
        &self.client
    }

    /// What XFORWARD said: where the next message came from. Forgotten when its transaction is over.
    pub fn forwarded(&self) -> &[Attribute] {
        &self.forwarded
    }

    /// The user whom XCLIENT says the client is authenticated as.
    pub fn login(&self) -> Option<&str> {
        let login = self.client.iter().find(|attribute| attribute.name() == AttributeName::Login)?;
        match login.value() {
            AttributeValue::Text(login) => Some(login),
            _ => None,
        }
    }
}

/// Takes in attributes; a later one replaces an earlier one with the same name.
pub(super) fn take_in(attributes: Vec<Attribute>, into: &mut Vec<Attribute>) {
    into.retain(|old| attributes.iter().all(|new| new.name() != old.name()));
    into.extend(attributes);
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
