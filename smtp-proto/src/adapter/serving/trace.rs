//! What `tracing` is told of a session. Credentials never come here, nor anything that may hold some by mistake, such as
//! commands that are none.

use tracing::{Span, debug, error, info, info_span, warn};

use crate::server::{CloseReason, Connection, Decision, Event};
use crate::wire::Escaped;

/// The span of a session.
pub(super) struct Trace(Span);

impl Trace {
    pub(super) fn new(connection: &Connection) -> Self {
        let Connection { id, listener, peer, .. } = connection;
        let peer = peer.as_ref().map(tracing::field::display);
        Self(info_span!(target: "smtp", "session", id, listener, peer))
    }

    /// Calls something inside the span.
    pub(super) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        self.0.in_scope(call)
    }

    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Hello(hello) => {
                let name = Escaped(hello.name.as_str().as_bytes());
                debug!(target: "smtp", parent: &self.0, %name, extended = hello.extended, "hello");
            }
            Event::Mail(mail) => {
                let sender = mail.reverse_path.to_string();
                debug!(target: "smtp", parent: &self.0, sender = %Escaped(sender.as_bytes()), "mail");
            }
            Event::Abuse(abuse) => warn!(target: "smtp", parent: &self.0, ?abuse, "abuse"),
            _ => {}
        }
    }

    pub(super) fn decided(&self, hook: &'static str, decision: Option<&Decision>) {
        match decision {
            Some(Decision::Each(decisions)) => {
                decisions.iter().for_each(|decision| self.decided(hook, Some(decision)));
            }
            Some(Decision::Reply(reply) | Decision::Close(reply)) if !reply.is_positive() => {
                let reply = reply.to_string();
                info!(target: "smtp", parent: &self.0, hook, reply = %Escaped(reply.as_bytes()), "refused");
            }
            _ => {}
        }
    }

    pub(super) fn accepted(&self, octets: u64) {
        info!(target: "smtp", parent: &self.0, octets, "message accepted");
    }

    pub(super) fn failed(&self, hook: &'static str) {
        error!(target: "smtp", parent: &self.0, hook, "the application failed");
    }

    pub(super) fn closed(&self, reason: Option<&CloseReason>) {
        match reason {
            Some(reason) => info!(target: "smtp", parent: &self.0, ?reason, "closed"),
            None => info!(target: "smtp", parent: &self.0, "broken off"),
        }
    }
}
