//! What can go wrong, told so that the reader knows what was being done, whose fault it was and what to try.

use alloc::string::String;
use core::fmt;

use crate::sasl::Fault;
use crate::wire::{AddressError, Escaped, ParameterError, Reply, Severity};

/// What a session was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for the server's greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, up to the 354 reply.
    Data,
    /// The content of a message.
    Content,
    /// From the final dot to the server's reply.
    EndOfData,
    /// The PROXY header.
    ProxyHeader,
    /// STARTTLS, up to the 220 reply.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// AUTH and its exchange.
    Auth,
    /// RSET.
    Reset,
    /// Any other command; in the server: waiting for a command.
    Command,
    /// QUIT.
    Quit,
    /// The application deciding about something.
    Decision,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "waiting for the greeting",
            Self::Hello => "saying hello",
            Self::Mail => "giving the sender (MAIL)",
            Self::Rcpt => "giving a recipient (RCPT)",
            Self::Data => "asking to send the message (DATA)",
            Self::Content => "transferring the message",
            Self::EndOfData => "waiting for the verdict on the message",
            Self::ProxyHeader => "waiting for the PROXY header",
            Self::StartTls => "asking for TLS (STARTTLS)",
            Self::Handshake => "making the TLS handshake",
            Self::Auth => "authenticating (AUTH)",
            Self::Reset => "resetting (RSET)",
            Self::Command => "waiting for a command or its reply",
            Self::Quit => "saying goodbye (QUIT)",
            Self::Decision => "waiting for the application's decision",
        })
    }
}

/// What a peer did that the protocol does not allow. The session cannot go on: nobody knows what belongs to what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// A line that is not a reply.
    #[error("the server sent a line that is not a reply; is this an SMTP server?")]
    MalformedReply,
    /// The lines of one reply have different codes.
    #[error("the server sent one reply with different codes")]
    MixedReplyCodes,
    /// A line of a reply ends in LF alone.
    #[error("the server ended a line without CRLF")]
    BareNewline,
    /// A reply is longer than the limits allow.
    #[error("the server sent an endless reply")]
    ReplyTooLong,
    /// A reply that no command asked for.
    #[error("the server sent a reply that nothing asked for: {0}")]
    UnsolicitedReply(Reply),
    /// Octets behind the reply to STARTTLS: somebody may have put them there to be taken for what TLS protects.
    #[error("the server sent octets in clear where TLS has to begin")]
    BehindStartTls,
    /// A reply of a kind that this command cannot have.
    #[error("the server gave an impossible reply while {phase}: {reply}")]
    UnexpectedReply {
        /// What the client was doing.
        phase: Phase,
        /// The reply.
        reply: Reply,
    },
}

/// Why a message cannot be sent to this server as it is. Found before any of it was on the wire, but for content
/// that is handed over piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// Larger than the server says it takes (RFC 1870).
    #[error("the message has {size} octets and the server takes {limit} at most")]
    TooLarge {
        /// Octets of the message.
        size: u64,
        /// The server's limit.
        limit: u64,
    },
    /// Something is not ASCII and the server lacks SMTPUTF8 (RFC 6531).
    #[error("{0} not ASCII and the server does not offer SMTPUTF8")]
    NeedsSmtpUtf8(NonAscii),
    /// The content is not ASCII and the server lacks 8BITMIME (RFC 6152). Encode it as quoted-printable or base64.
    #[error("the content is not ASCII and the server does not offer 8BITMIME")]
    NeedsEightBitMime,
    /// The message must not travel without verified TLS, and the server does not promise that (RFC 8689).
    #[error("the message requires TLS on all its way, and the server or this connection does not give that (5.7.30)")]
    NeedsRequireTls,
    /// It asks for an extension that the server does not offer, and that must not be left out.
    #[error("the message needs {0}, which the server does not offer")]
    NeedsExtension(&'static str),
    /// It is to be returned unless it is delivered sooner than the server can promise (RFC 2852 section 4).
    #[error("the message is to be delivered in {seconds} s, and the server promises no less than {minimum} s")]
    TooSoon {
        /// What the message asks for.
        seconds: i64,
        /// What the server offers.
        minimum: u32,
    },
    /// It is to be held back longer than the server does (RFC 4865 section 3).
    #[error("the message is to be held back for longer than the server does")]
    TooLongHeld,
    /// It has more recipients than the server takes for one message (RFC 9422), and streamed content cannot be sent
    /// twice.
    #[error("the message has streamed content and more than the {limit} recipients that the server takes at once")]
    TooManyRecipients {
        /// The server's limit.
        limit: u32,
    },
    /// A CR or LF stands alone and the policy is to refuse that.
    #[error("the content has a CR or LF that is not part of a CRLF")]
    BareNewline,
    /// A line of the content is too long. Encode it as quoted-printable or base64, or raise the limit.
    #[error("the content has a line of more than {limit} octets (RFC 5321 section 4.5.3.1.6)")]
    LineTooLong {
        /// The client's limit, in octets without the line end.
        limit: usize,
    },
    /// The application withdrew it.
    #[error("the message was withdrawn before it was sent")]
    Cancelled,
}

/// What is not ASCII in a message that needs SMTPUTF8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonAscii {
    /// The sender's address.
    Sender,
    /// The address of a recipient, counted from 1.
    Recipient(usize),
    /// A parameter of MAIL or RCPT.
    Parameter,
    /// Header fields, as the envelope says.
    HeaderFields,
}

impl fmt::Display for NonAscii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sender => f.write_str("the sender is"),
            Self::Recipient(number) => write!(f, "recipient {number} is"),
            Self::Parameter => f.write_str("a parameter is"),
            Self::HeaderFields => f.write_str("the header fields are"),
        }
    }
}

/// Why there is no TLS where it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server does not offer STARTTLS, or somebody in between keeps it from doing so. The port may be one for
    /// implicit TLS, or the policy stricter than this server allows.
    #[error("the server does not offer STARTTLS and TLS is required")]
    NotOffered,
    /// The server offers STARTTLS and refuses it.
    #[error("the server refused STARTTLS and TLS is required: {0}")]
    Refused(Reply),
    /// The handshake failed. The adapter knows why.
    #[error("the TLS handshake failed")]
    Handshake,
}

/// Why a client is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The server offers no authentication at all. It may do so only after STARTTLS.
    #[error("the server offers no authentication")]
    NotOffered,
    /// All that the server offers would show the password or token to everybody on the way.
    #[error("the server offers {offered}, and none of that is safe without verified TLS")]
    NeedsTls {
        /// The mechanisms offered.
        offered: String,
    },
    /// Nothing that the server offers can be used with this login, in this order of preference, with these features.
    #[error("the server offers {offered}, and none of that is among what the client can and may use")]
    NoMechanism {
        /// The mechanisms offered.
        offered: String,
    },
    /// The server refused, by the last mechanism that could be tried.
    #[error("the server refused {mechanism}: {reply}{}", Detail(.detail.as_deref()))]
    Refused {
        /// The name of the mechanism.
        mechanism: String,
        /// The reply.
        reply: Reply,
        /// What the server said about it within the exchange, such as the JSON of OAUTHBEARER.
        detail: Option<String>,
    },
    /// The client broke it off: the server did what the mechanism does not allow, or is not the right one.
    #[error("{mechanism}: {fault}")]
    Fault {
        /// The name of the mechanism.
        mechanism: String,
        /// What the server did.
        fault: Fault,
    },
}

struct Detail<'a>(Option<&'a str>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |detail| write!(f, " ({})", Escaped(detail.as_bytes())))
    }
}

/// A call that does not fit the state the machine is in, or an argument that cannot go on the wire: a mistake in
/// the calling program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// A decision where nothing was asked.
    #[error("a decision was given where none was asked for")]
    NothingToDecide,
    /// A decision with a 3yz reply.
    #[error("a decision cannot have the reply {0}")]
    UnfitReply(Reply),
    /// A verdict on credentials where nobody authenticates or none where somebody does; several decisions where one was
    /// asked for.
    #[error("a decision was given that does not fit what was asked")]
    UnfitDecision,
    /// TLS where no handshake was asked for.
    #[error("TLS was established where it was not asked for")]
    NoHandshake,
    /// TLS begins while octets that came in clear are still there.
    #[error("octets that came in clear were left when TLS began")]
    OctetsInClear,
    /// The session is over, or ending.
    #[error("the session is over")]
    Closed,
    /// No request with this id waits for content.
    #[error("this request does not wait for content")]
    NoContentExpected,
    /// An argument that cannot go on the wire.
    #[error(transparent)]
    Argument(#[from] InvalidArgument),
}

/// An argument that cannot go on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidArgument {
    argument: &'static str,
    /// Which of several, counted from 1.
    number: Option<usize>,
    text: String,
    problem: Problem,
}

/// What is wrong with an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is not an address, or not a name.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// It is not a parameter.
    #[error("{0}")]
    Parameter(#[from] ParameterError),
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is too long")]
    TooLong,
    /// It is a command that the client gives by itself when it is due.
    #[error("the client gives this command by itself")]
    OwnCommand,
    /// It holds a CR, LF, NUL or another character that no command may have.
    #[error("it has a character that no command may have")]
    Character,
}

impl InvalidArgument {
    pub(crate) fn new(argument: &'static str, text: &str, problem: impl Into<Problem>) -> Self {
        Self { argument, number: None, text: text.into(), problem: problem.into() }
    }

    pub(crate) fn numbered(self, number: usize) -> Self {
        Self { number: Some(number), ..self }
    }

    /// The name of the argument.
    pub fn argument(&self) -> &'static str {
        self.argument
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

impl fmt::Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.argument)?;
        if let Some(number) = self.number {
            write!(f, " {number}")?;
        }
        // A value of any length may have been given.
        let mut end = self.text.len().min(100);
        while !self.text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let (shown, rest) = self.text.split_at(end);
        let more = if rest.is_empty() { "" } else { "..." };
        write!(f, " {:?}{more} cannot go on the wire: {}", Escaped(shown.as_bytes()), self.problem)
    }
}

impl core::error::Error for InvalidArgument {}

/// Why a session or a message in it failed.
///
/// A server's refusal of a message or a recipient is no error but an outcome of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server wants no session with this client: its reply to the connection or to the hello.
    #[error("the server refused the session while {phase}: {reply}")]
    Refused {
        /// What the client was doing.
        phase: Phase,
        /// The server's reply.
        reply: Reply,
    },
    /// There is no TLS where it must be.
    #[error("no TLS: {0}")]
    Tls(#[from] TlsError),
    /// The client is not authenticated where it must be.
    #[error("not authenticated: {0}")]
    Authentication(#[from] AuthenticationError),
    /// The server said that it closes the connection (421).
    #[error("the server closed the session while {phase}: {reply}")]
    ServiceClosing {
        /// What the client was doing.
        phase: Phase,
        /// The server's reply.
        reply: Reply,
    },
    /// The connection ended without a word.
    #[error("the connection was lost while {phase}")]
    Disconnected {
        /// What the session was doing.
        phase: Phase,
    },
    /// The peer did not answer in time.
    #[error("timed out while {phase}")]
    Timeout {
        /// What the session was doing.
        phase: Phase,
    },
    /// The session came to an end because of another message or command. This message had not been sent.
    #[error("not sent: the session was given up for another reason")]
    GivenUp,
    /// There was no connection to the server. The adapter knows why.
    #[error("not sent: there was no connection to the server")]
    NotConnected,
    /// The server takes no more in this session (RFC 9422): not this message, or no recipients of further domains.
    /// Another session will do.
    #[error("not sent: the server takes no more of it in this session")]
    SessionUsedUp,
    /// The peer broke the protocol.
    #[error("protocol error: {0}")]
    Peer(#[from] PeerFault),
    /// The message cannot be sent to this server.
    #[error("not sent: {0}")]
    Unsendable(#[from] Unsendable),
    /// The calling program did something that does not fit.
    #[error("wrong use: {0}")]
    Misuse(#[from] ApiMisuse),
}

impl Error {
    /// Whether the same may succeed later without any change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { reply, .. }
            | Self::Tls(TlsError::Refused(reply))
            | Self::Authentication(AuthenticationError::Refused { reply, .. }) => {
                reply.severity() == Severity::Transient
            }
            Self::Tls(_) | Self::Authentication(_) => false,
            Self::ServiceClosing { .. } | Self::Disconnected { .. } | Self::Timeout { .. } => true,
            Self::GivenUp | Self::NotConnected | Self::SessionUsedUp => true,
            Self::Unsendable(Unsendable::Cancelled) => true,
            Self::Peer(_) | Self::Unsendable(_) | Self::Misuse(_) => false,
        }
    }

    /// Whether the same fails again unless something is changed.
    pub fn is_permanent(&self) -> bool {
        !self.is_transient()
    }

    /// Whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// The reply that caused it.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused { reply, .. }
            | Self::ServiceClosing { reply, .. }
            | Self::Tls(TlsError::Refused(reply))
            | Self::Authentication(AuthenticationError::Refused { reply, .. }) => Some(reply),
            Self::Peer(PeerFault::UnexpectedReply { reply, .. } | PeerFault::UnsolicitedReply(reply)) => Some(reply),
            _ => None,
        }
    }
}
