//! The application's side of a session as a trait with a hook for everything that happens.
//!
//! It names no runtime: every asynchronous adapter drives it through [`dispatch`].

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::future::{Future, ready};
use core::net::SocketAddr;

use bytes::Bytes;

use super::event::{
    Abuse, AuthenticationFailure, CloseReason, Decision, Event, Hello, Mail, Recipient, Recipients, ResetReason,
};
use super::session::{Identity, Session};
use crate::sasl::{Credentials, Verdict};
use crate::wire::{AbsoluteUri, Attribute, Node, Query, Reply};

/// What an adapter knows about a connection before the first octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Counts the connections of one server from 1.
    pub id: u64,
    /// Which of the server's listeners it came to, counted from 0 in the order they were added.
    pub listener: usize,
    /// The other end, where it has a network address.
    pub peer: Option<SocketAddr>,
    /// This end, where it has a network address.
    pub local: Option<SocketAddr>,
}

impl Connection {
    /// The facts about one connection, to the first listener.
    pub fn new(id: u64, peer: Option<SocketAddr>) -> Self {
        Self { id, listener: 0, peer, local: None }
    }
}

/// The reply to a question that nobody decides about.
pub const UNDECIDED: Reply = Reply::from_static("451 4.3.0 Local error; try again later");

/// The reply of a handler that does not say what becomes of a message: it is not taken, so it is not lost.
pub const NOT_STORED: Reply = Reply::from_static("451 4.3.5 This server does not store mail");

/// The reply to ETRN by a handler that has no queues.
pub const NOTHING_QUEUED: Reply = Reply::from_static("459 4.7.0 Nothing is queued here for others");

/// The reply to BURL by a handler that cannot fetch.
pub const NOT_FETCHED: Reply = Reply::from_static("554 5.6.6 Cannot fetch the content");

/// The application's side of one session. Every hook has a default; write those that matter.
///
/// The default of [`message_end`](Handler::message_end) refuses, because accepting means taking responsibility, and that
/// of [`authenticate`](Handler::authenticate), because nobody is known; those of [`etrn`](Handler::etrn) and
/// [`burl`](Handler::burl) refuse as well; all others accept. A hook that is not done after
/// [`Timeouts::decision`](super::Timeouts::decision) is dropped: the session is closed, or, where it was
/// [`body`](Handler::body), the message refused.
#[allow(unused_variables, reason = "the names of the arguments are documentation")]
pub trait Handler: Send {
    /// A client connected.
    fn connected(&mut self, session: &Session) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// EHLO or HELO.
    fn hello(&mut self, session: &Session, hello: Hello) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// STARTTLS.
    fn starttls(&mut self, session: &Session) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// A client authenticates: let a helper of the [`Credentials`] look at what you know about the user, and return
    /// its verdict.
    fn authenticate(&mut self, session: &Session, credentials: Credentials) -> impl Future<Output = Decision> + Send {
        ready(Decision::Verdict(Verdict::Refused))
    }

    /// An authentication failed. The client gets its reply when this is done: wait here to make guessing slow.
    fn authentication_failed(
        &mut self,
        session: &Session,
        failure: AuthenticationFailure,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// A client proved who it is.
    fn authenticated(&mut self, session: &Session, identity: Identity) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// MAIL: a transaction begins.
    fn mail(&mut self, session: &Session, mail: Mail) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// RCPT, one of them.
    fn recipient(&mut self, session: &Session, recipient: Recipient) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// RCPT, all that the client has sent in one go, up to 100: decide them together, at the same time or by one look into
    /// a database. One decision for each, in their order; if there are fewer, the hook is called again for the rest.
    /// Default: [`recipient`](Handler::recipient) for the first.
    fn recipients(&mut self, session: &Session, recipients: Recipients) -> impl Future<Output = Vec<Decision>> + Send {
        async move {
            match recipients.first() {
                Some(recipient) => vec![self.recipient(session, recipient.clone()).await],
                None => Vec::new(),
            }
        }
    }

    /// DATA: the content is about to come.
    fn data(&mut self, session: &Session) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// A piece of the content. Accepting goes on; a negative reply refuses the message.
    fn body(&mut self, session: &Session, content: Bytes) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// BURL, where it is on: fetch a piece of the content.
    fn burl(&mut self, session: &Session, url: AbsoluteUri, last: bool) -> impl Future<Output = Decision> + Send {
        ready(Decision::Reply(NOT_FETCHED))
    }

    /// The content is complete. Accept it only when it is stored.
    fn message_end(&mut self, session: &Session, size: u64) -> impl Future<Output = Decision> + Send {
        ready(Decision::Reply(NOT_STORED))
    }

    /// VRFY.
    fn verify(&mut self, session: &Session, query: Query) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// EXPN, where it is on.
    fn expand(&mut self, session: &Session, query: Query) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// HELP.
    fn help(&mut self, session: &Session, topic: String) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// ETRN, where it is on.
    fn etrn(&mut self, session: &Session, node: Node) -> impl Future<Output = Decision> + Send {
        ready(Decision::Reply(NOTHING_QUEUED))
    }

    /// XCLIENT, where it is on: the client says that it speaks for another.
    fn xclient(&mut self, session: &Session, attributes: Vec<Attribute>) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// A verb this crate does not know. Accepting it without a reply answers 500.
    fn other(&mut self, session: &Session, verb: String, argument: String) -> impl Future<Output = Decision> + Send {
        ready(Decision::Accept)
    }

    /// The transaction is over without a message: drop what was collected.
    fn reset(&mut self, session: &Session, reason: ResetReason) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// The peer does what honest peers do not.
    fn abuse(&mut self, session: &Session, abuse: Abuse) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// The session ends: the last call.
    fn closing(&mut self, session: &Session, reason: CloseReason) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// Calls the hook for an event. A decision comes back when there is one to be handed to
/// [`Server::decide`](super::Server::decide).
pub async fn dispatch<H: Handler>(handler: &mut H, session: &Session, event: Event) -> Option<Decision> {
    Some(match event {
        Event::Connected => handler.connected(session).await,
        Event::Hello(hello) => handler.hello(session, hello).await,
        Event::StartTls => handler.starttls(session).await,
        Event::Authenticate(credentials) => handler.authenticate(session, credentials).await,
        Event::AuthenticationFailed(failure) => {
            handler.authentication_failed(session, failure).await;
            Decision::Accept
        }
        Event::Authenticated(identity) => {
            handler.authenticated(session, identity).await;
            return None;
        }
        Event::Mail(mail) => handler.mail(session, mail).await,
        Event::Recipients(recipients) => Decision::Each(handler.recipients(session, recipients).await),
        Event::Data => handler.data(session).await,
        Event::Body(content) => return handler.body(session, content).await.refusal(),
        Event::Burl { url, last } => handler.burl(session, url, last).await,
        Event::MessageEnd { size } => handler.message_end(session, size).await,
        Event::Verify(query) => handler.verify(session, query).await,
        Event::Expand(query) => handler.expand(session, query).await,
        Event::Help(topic) => handler.help(session, topic).await,
        Event::Etrn(node) => handler.etrn(session, node).await,
        Event::Xclient(attributes) => handler.xclient(session, attributes).await,
        Event::Other { verb, argument } => handler.other(session, verb, argument).await,
        Event::Reset(reason) => {
            handler.reset(session, reason).await;
            return None;
        }
        Event::Abuse(abuse) => {
            handler.abuse(session, abuse).await;
            return None;
        }
        Event::Closing(reason) => {
            handler.closing(session, reason).await;
            return None;
        }
    })
}
