//! The application's side of a session: the twin of [`smtp_proto::server::Handler`] for threads.

use bytes::Bytes;
use smtp_proto::sasl::{Credentials, Verdict};
use smtp_proto::server::{
    Abuse, AuthenticationFailure, CloseReason, Decision, Event, Hello, Identity, Mail, NOT_FETCHED, NOT_STORED,
    NOTHING_QUEUED, Recipient, Recipients, ResetReason, Session, UNDECIDED,
};
use smtp_proto::wire::{AbsoluteUri, Attribute, Node, Query};

/// The application's side of one session. Every hook has a default; write those that matter.
///
/// The default of [`message_end`](Handler::message_end) refuses, because accepting means taking responsibility, and that
/// of [`authenticate`](Handler::authenticate), because nobody is known; those of [`etrn`](Handler::etrn) and
/// [`burl`](Handler::burl) refuse as well; all others accept.
///
/// A hook cannot be interrupted: one that takes longer than
/// [`Timeouts::decision`](smtp_proto::server::Timeouts::decision) is heeded all the same, though the client may have
/// given up waiting.
#[allow(unused_variables, reason = "the names of the arguments are documentation")]
pub trait Handler: Send {
    /// A client connected.
    fn connected(&mut self, session: &Session) -> Decision {
        Decision::Accept
    }

    /// The client introduced itself.
    fn hello(&mut self, session: &Session, hello: Hello) -> Decision {
        Decision::Accept
    }

    /// The client asks for TLS.
    fn starttls(&mut self, session: &Session) -> Decision {
        Decision::Accept
    }

    /// A client authenticates: let a helper of the [`Credentials`] look at what you know about the user, and return
    /// its verdict.
    fn authenticate(&mut self, session: &Session, credentials: Credentials) -> Decision {
        Decision::Verdict(Verdict::Refused)
    }

    /// An authentication failed. The client gets its reply when this returns: wait here to make guessing slow.
    fn authentication_failed(&mut self, session: &Session, failure: AuthenticationFailure) {}

    /// A client proved who it is.
    fn authenticated(&mut self, session: &Session, identity: Identity) {}

    /// A transaction begins.
    fn mail(&mut self, session: &Session, mail: Mail) -> Decision {
        Decision::Accept
    }

    /// A recipient.
    fn recipient(&mut self, session: &Session, recipient: Recipient) -> Decision {
        Decision::Accept
    }

    /// All recipients that the client has sent in one go, up to 100: decide them together. One decision for each, in
    /// their order; if there are fewer, the hook is called again for the rest. Default:
    /// [`recipient`](Handler::recipient) for the first.
    fn recipients(&mut self, session: &Session, recipients: Recipients) -> Vec<Decision> {
        recipients.first().map(|recipient| self.recipient(session, recipient.clone())).into_iter().collect()
    }

    /// The content is about to come.
    fn data(&mut self, session: &Session) -> Decision {
        Decision::Accept
    }

    /// A piece of the content. Accepting goes on; a negative reply refuses the message.
    fn body(&mut self, session: &Session, content: Bytes) -> Decision {
        Decision::Accept
    }

    /// A piece of the content is elsewhere, where that is allowed: fetch it.
    fn burl(&mut self, session: &Session, url: AbsoluteUri, last: bool) -> Decision {
        Decision::Reply(NOT_FETCHED)
    }

    /// The content is complete. Accept it only when it is stored.
    fn message_end(&mut self, session: &Session, size: u64) -> Decision {
        Decision::Reply(NOT_STORED)
    }

    /// A question about a user or mailbox.
    fn verify(&mut self, session: &Session, query: Query) -> Decision {
        Decision::Accept
    }

    /// A question about a list, where they are answered.
    fn expand(&mut self, session: &Session, query: Query) -> Decision {
        Decision::Accept
    }

    /// A cry for help.
    fn help(&mut self, session: &Session, topic: String) -> Decision {
        Decision::Accept
    }

    /// The client asks for what waits for a node, where there are queues.
    fn etrn(&mut self, session: &Session, node: Node) -> Decision {
        Decision::Reply(NOTHING_QUEUED)
    }

    /// The client says that it speaks for another, where it may.
    fn xclient(&mut self, session: &Session, attributes: Vec<Attribute>) -> Decision {
        Decision::Accept
    }

    /// A verb the core does not know. Accepting it without a reply says that it is unknown.
    fn other(&mut self, session: &Session, verb: String, argument: String) -> Decision {
        Decision::Accept
    }

    /// The transaction is over without a message: drop what was collected.
    fn reset(&mut self, session: &Session, reason: ResetReason) {}

    /// The peer does what honest peers do not.
    fn abuse(&mut self, session: &Session, abuse: Abuse) {}

    /// The session ends: the last call.
    fn closing(&mut self, session: &Session, reason: CloseReason) {}
}

/// Calls the hook for an event; gives the decision when there is one to be told to the machine.
pub(crate) fn dispatch<H: Handler>(handler: &mut H, session: &Session, event: Event) -> Option<Decision> {
    match event {
        Event::Connected => Some(handler.connected(session)),
        Event::Hello(hello) => Some(handler.hello(session, hello)),
        Event::StartTls => Some(handler.starttls(session)),
        Event::Authenticate(credentials) => Some(handler.authenticate(session, credentials)),
        Event::AuthenticationFailed(failure) => {
            handler.authentication_failed(session, failure);
            Some(Decision::Accept)
        }
        Event::Authenticated(identity) => {
            handler.authenticated(session, identity);
            None
        }
        Event::Mail(mail) => Some(handler.mail(session, mail)),
        Event::Recipients(recipients) => Some(Decision::Each(handler.recipients(session, recipients))),
        Event::Data => Some(handler.data(session)),
        Event::Body(content) => handler.body(session, content).refusal(),
        Event::Burl { url, last } => Some(handler.burl(session, url, last)),
        Event::MessageEnd { size } => Some(handler.message_end(session, size)),
        Event::Verify(query) => Some(handler.verify(session, query)),
        Event::Expand(query) => Some(handler.expand(session, query)),
        Event::Help(topic) => Some(handler.help(session, topic)),
        Event::Etrn(node) => Some(handler.etrn(session, node)),
        Event::Xclient(attributes) => Some(handler.xclient(session, attributes)),
        Event::Other { verb, argument } => Some(handler.other(session, verb, argument)),
        Event::Reset(reason) => {
            handler.reset(session, reason);
            None
        }
        Event::Abuse(abuse) => {
            handler.abuse(session, abuse);
            None
        }
        Event::Closing(reason) => {
            handler.closing(session, reason);
            None
        }
        // An event of a later core that no hook knows.
        event => event.is_question().then_some(Decision::Reply(UNDECIDED)),
    }
}
