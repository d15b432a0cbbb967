//! What `tracing` is told of a session. Neither credentials nor content ever come here.

use tracing::{Span, debug, info, info_span, warn};

use crate::adapter::Error;
use crate::client::{Client, Outcome};
use crate::wire::Escaped;

/// The span of a session.
pub(super) struct Trace(Span);

impl Trace {
    pub(super) fn new(peer: &str) -> Self {
        Self(info_span!(target: "smtp", "client", peer))
    }

    pub(super) fn ready(&self, client: &Client) {
        let tls = client.tls().map(|tls| &*tls.version);
        let mechanism = client.mechanism();
        debug!(target: "smtp", parent: &self.0, tls, mechanism, "ready");
    }

    pub(super) fn outcome(&self, outcome: &Outcome) {
        let accepted = outcome.recipients.iter().filter(|recipient| recipient.is_accepted()).count();
        let recipients = outcome.recipients.len();
        if let Some(recipient) = outcome.recipients.iter().find(|recipient| !recipient.is_accepted()) {
            let first = recipient.to_string();
            let first = Escaped(first.as_bytes());
            warn!(target: "smtp", parent: &self.0, recipients, accepted, %first, "message not accepted for all");
        } else {
            let reply = outcome.reply.as_ref().map(ToString::to_string).unwrap_or_default();
            let reply = Escaped(reply.as_bytes());
            info!(target: "smtp", parent: &self.0, recipients, %reply, "message accepted");
        }
    }

    pub(super) fn failed(&self, error: &Error) {
        let error = error.to_string();
        warn!(target: "smtp", parent: &self.0, error = %Escaped(error.as_bytes()), "failed");
    }

    pub(super) fn closed(&self) {
        debug!(target: "smtp", parent: &self.0, "closed");
    }
}
