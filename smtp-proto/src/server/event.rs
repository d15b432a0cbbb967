//! What happens in a session, and what the application can say to it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use bytes::Bytes;

use super::config::Config;
#[cfg(feature = "std")]
use super::handler::UNDECIDED;
use super::session::Identity;
use crate::error::Phase;
use crate::sasl::{Credentials, Verdict};
use crate::wire::{
    AbsoluteUri, Attribute, ForwardPath, HelloName, MailParameters, Node, ProxyError, Query, RecipientParameters,
    Reply, ReversePath,
};

/// What happens in a session.
///
/// Most events are questions: the machine waits for a [`Decision`] ([`Event::is_question`]). A transaction begins
/// with [`Event::Mail`]; once that is accepted, it ends with the decision on [`Event::MessageEnd`], or else with one
/// [`Event::Reset`] (also behind a `MessageEnd` that the session did not outlast). A session ends with exactly one
/// [`Event::Closing`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Question: a client connected. Accepted: greeted with 220. Refused: every command but QUIT gets 503
    /// (RFC 5321 section 3.1).
    Connected,
    /// Question: EHLO or HELO. Accepting one in a transaction drops the transaction.
    Hello(Hello),
    /// Question: STARTTLS. Accepted: 220 and the handshake, after which the client begins anew with its hello.
    StartTls,
    /// Question: a client authenticates. Answer with what a helper of [`Credentials`] says, or another [`Verdict`], or a
    /// refusal. [`Decision::Accept`] is no answer: nobody is to get in because somebody did not look.
    Authenticate(Credentials),
    /// Question: the credentials were wrong. Take the time that guessing should cost; then the reply goes out.
    AuthenticationFailed(AuthenticationFailure),
    /// A client proved who it is.
    Authenticated(Identity),
    /// Question: MAIL, the beginning of a transaction.
    Mail(Mail),
    /// Question: RCPT, one or more at once: all that the client has sent in one go. [`Decision::Each`] tells them apart,
    /// any other decision is about all; or decide them one by one in any order, with
    /// [`Server::decide_recipient`](super::Server::decide_recipient). How they are grouped depends on how they arrive.
    Recipients(Recipients),
    /// Question: DATA, with at least one accepted recipient. Accepted: 354. Refused: the transaction is over.
    Data,
    /// A piece of the content, dots unstuffed: a slice of the receive buffer, which lives as long as the piece; copy what
    /// is to be kept for long. No question, but the message can be refused here: the rest is then
    /// read and dropped, and the refusal is the reply to the end of the message.
    Body(Bytes),
    /// Question: BURL, where [`Config::burl`] is on: fetch what the URL names and take it for the next piece of the
    /// content (RFC 4468). Refused: the transaction is over.
    Burl {
        /// Where the piece is.
        url: AbsoluteUri,
        /// Whether it is the last; [`Event::MessageEnd`] follows then.
        last: bool,
    },
    /// Question: the content is complete. Accepting it takes responsibility for the message (RFC 5321 section
    /// 4.1.1.4): store it first.
    MessageEnd {
        /// Octets of the content, without what BURL names.
        size: u64,
    },
    /// Question: VRFY. Accepted without a reply of the application's own: 252, which tells nothing.
    Verify(Query),
    /// Question: EXPN, where [`Config::expand`](super::Config::expand) is on. Accepted without a reply of the
    /// application's own: 252.
    Expand(Query),
    /// Question: HELP. Accepted without a reply of the application's own: 214 with a general text.
    Help(String),
    /// Question: ETRN, where [`Config::etrn`] is on: send what waits for a node (RFC 1985). Accepted without a reply of
    /// the application's own: 250.
    Etrn(Node),
    /// Question: XCLIENT, where [`Config::xclient`] is on. Accepted: the client is asserted to be another
    /// ([`Session::asserted`](super::Session::asserted)), and begins anew behind a greeting.
    Xclient(Vec<Attribute>),
    /// Question: a verb this crate does not know. Accepted without a reply of the application's own: 500.
    Other {
        /// The verb in upper case.
        verb: String,
        /// What follows it.
        argument: String,
    },
    /// The transaction is over without a message, or RSET was given outside one: drop what was collected.
    Reset(ResetReason),
    /// The peer does what honest peers do not.
    Abuse(Abuse),
    /// The session ends: the last event.
    Closing(CloseReason),
}

impl Event {
    /// Whether the machine waits for a decision about it.
    pub fn is_question(&self) -> bool {
        !matches!(self, Self::Authenticated(_) | Self::Body(_) | Self::Reset(_) | Self::Abuse(_) | Self::Closing(_))
    }
}

/// The argument of EHLO or HELO.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// What the client calls itself. It proves nothing.
    pub name: HelloName,
    /// Whether it was EHLO.
    pub extended: bool,
}

/// An authentication that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthenticationFailure {
    /// The name of the mechanism.
    pub mechanism: String,
    /// The user name that was given, where there was one.
    pub username: Option<String>,
    /// How often the session has failed, this time included. At [`Limits::auth_failures`](super::Limits::auth_failures)
    /// it is closed.
    pub failures: u32,
}

/// The argument of MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail {
    /// Where notifications go.
    pub reverse_path: ReversePath,
    /// Its parameters.
    pub parameters: MailParameters,
}

/// The argument of RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipient {
    /// Counts the RCPT commands of the transaction that became questions, from 0.
    pub index: u32,
    /// Where the message goes.
    pub forward_path: ForwardPath,
    /// Its parameters. The ones that are not typed are those that the application understands
    /// ([`Config::parameters`](super::Config::parameters)).
    pub parameters: RecipientParameters,
}

/// Recipients that a client has given in one go and that are not decided yet: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    all: Arc<[Recipient]>,
    decided: usize,
}

impl Recipients {
    pub(super) fn new(all: Vec<Recipient>) -> Self {
        Self { all: all.into(), decided: 0 }
    }

    /// What is left behind so many; `None` when nothing is.
    pub(super) fn behind(&self, decided: usize) -> Option<Self> {
        let decided = self.decided.saturating_add(decided);
        (decided < self.all.len()).then(|| Self { all: Arc::clone(&self.all), decided })
    }
}

impl Deref for Recipients {
    type Target = [Recipient];

    fn deref(&self) -> &[Recipient] {
        self.all.get(self.decided..).unwrap_or_default()
    }
}

/// Why a transaction is over without a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetReason {
    /// RSET.
    Command,
    /// EHLO or HELO.
    Hello,
    /// TLS begins: what was said in clear is forgotten.
    StartTls,
    /// The message is refused with this reply, by the application before its end or by a limit or rule.
    Refused(Reply),
    /// The session ends.
    Closing,
}

/// What honest peers do not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Abuse {
    /// Many wrong commands: a reason to slow down.
    SoftErrors,
    /// Too many wrong commands; the session is closed.
    HardErrors,
    /// Many commands that bring no mail forward.
    JunkCommands,
    /// Many refused senders and recipients: somebody tries out addresses. Each further one counts as an error.
    Refusals,
    /// A command line without end; the session is closed.
    EndlessLine,
    /// Content without end behind a refusal; the session is closed.
    EndlessContent,
    /// Octets behind STARTTLS that the handshake does not protect: somebody may have put them there (RFC 3207 section
    /// 6). The session is closed.
    BehindStartTls,
    /// Too many failed authentications; the session is closed.
    AuthenticationFailures,
    /// BDAT where it is not offered, or without a size: its octets would be taken for commands. The session is closed.
    Chunk,
    /// The client talked before the greeting ([`Timeouts::early_talkers`](super::Timeouts::early_talkers)): spam programs
    /// do, mail servers do not.
    EarlyTalker,
    /// No PROXY header, or a wrong one, where [`Config::proxy_protocol`] asks for it. The session is closed without a word.
    ProxyHeader(ProxyError),
    /// An HTTP request: somebody's browser is made to attack. The session is closed.
    Http,
}

/// Why a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// QUIT.
    Quit,
    /// The client went away.
    Disconnected,
    /// It took too long.
    Timeout(Phase),
    /// The TLS handshake failed.
    TlsFailed,
    /// The server was told to shut down.
    ShutDown,
    /// The application decided so, or [`Limits::transactions`](super::Limits::transactions).
    Decision,
    /// The application failed.
    ApplicationFailed,
    /// The client misbehaved.
    Abuse(Abuse),
}

/// An answer to a question. It may come at any later time; nothing moves before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Decision {
    /// Go on, with the reply that is usual.
    Accept,
    /// Reply this. A 2yz reply accepts, a 4yz or 5yz reply refuses; 421 and 521 close the connection as well. DATA,
    /// STARTTLS, XCLIENT and a first chunk that are accepted have the reply that is usual all the same.
    Reply(Reply),
    /// The verdict on credentials. Anything but [`Verdict::Accepted`] fits [`Event::Authenticate`] only.
    Verdict(Verdict),
    /// One for each of several recipients, in their order. Those that are missing are asked about again, or, at the end
    /// of an LMTP message, answered with 451.
    Each(Vec<Decision>),
    /// Accept, and go on under another configuration: with other extensions, limits or policies for this client. Fits
    /// [`Event::Connected`], [`Event::Hello`] and [`Event::Xclient`]. [`Config::lmtp`], [`Config::proxy_protocol`] and
    /// whether TLS is implicit must stay as they are.
    Configure(Arc<Config>),
    /// Reply this and close the connection. A message is accepted by a 2yz reply here, too; everything else is
    /// refused, and a 2yz reply does not fit before a message is complete: the client would take it for that.
    Close(Reply),
}

impl From<Reply> for Decision {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// What a handler that cannot store a message says: 452 where there is no space, else 451. It never accepts.
#[cfg(feature = "std")]
impl From<std::io::Error> for Decision {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        Self::Reply(match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Reply::from_static("452 4.3.1 Insufficient system storage"),
            _ => UNDECIDED,
        })
    }
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl Decision {
    /// The decision, when it is not to go on.
    pub fn refusal(self) -> Option<Self> {
        match self {
            Self::Accept | Self::Configure(_) | Self::Verdict(Verdict::Accepted) => None,
            Self::Reply(reply) if reply.is_positive() => None,
            refusal => Some(refusal),
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn no_error_of_the_system_accepts_anything() {
        let cases = [
            (ErrorKind::StorageFull, "452 4.3.1 "),
            (ErrorKind::QuotaExceeded, "452 4.3.1 "),
            (ErrorKind::FileTooLarge, "452 4.3.1 "),
            (ErrorKind::PermissionDenied, "451 4.3.0 "),
            (ErrorKind::NotFound, "451 4.3.0 "),
            (ErrorKind::Other, "451 4.3.0 "),
        ];
        for (kind, expected) in cases {
            match Decision::from(Error::from(kind)) {
                Decision::Reply(reply) => assert!(alloc::format!("{reply}").starts_with(expected), "{kind}: {reply}"),
                decision => panic!("{kind}: {decision:?}"),
            }
        }
        // ENOSPC, EDQUOT, EFBIG as the system says them.
        #[cfg(target_os = "linux")]
        for number in [28, 122, 27] {
            let refusal = Decision::from(Error::from_raw_os_error(number)).refusal();
            assert!(matches!(refusal, Some(Decision::Reply(reply)) if reply.code().value() == 452), "{number}");
        }
    }
}
