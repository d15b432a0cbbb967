//! Commands as they stand on a line (RFC 5321 section 4.1.1).

mod arguments;
mod parse;
#[cfg(test)]
mod tests;

pub use arguments::{AbsoluteUri, HelloName, InitialResponse, InvalidAbsoluteUri, Node, NodeScope, Query};

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::address::{AddressError, ForwardPath, ReversePath};
use super::attribute::{Attribute, AttributeError};
use super::params::{MailParameters, ParameterError, RecipientParameters};

/// A command, without the CRLF that ends it.
///
/// What [`Command::parse`] accepts, [`fmt::Display`] writes in its canonical form, which parses to the same value; but
/// for AUTH, whose initial response is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// EHLO: greets and asks for the list of capabilities.
    Ehlo(HelloName),
    /// HELO: greets without extensions.
    Helo(HelloName),
    /// MAIL: begins a transaction.
    Mail {
        /// Where notifications go.
        reverse_path: ReversePath,
        /// What stands behind the path.
        parameters: MailParameters,
    },
    /// RCPT: names one recipient.
    Rcpt {
        /// Where the message goes.
        forward_path: ForwardPath,
        /// What stands behind the path.
        parameters: RecipientParameters,
    },
    /// DATA: the content follows when the server says 354.
    Data,
    /// RSET: drops the transaction.
    Rset,
    /// NOOP: does nothing. Its argument means nothing and is dropped.
    Noop,
    /// QUIT: ends the session.
    Quit,
    /// VRFY: asks about a user or mailbox.
    Vrfy(Query),
    /// EXPN: asks who is on a list.
    Expn(Query),
    /// HELP, with its topic or nothing.
    Help(String),
    /// STARTTLS: TLS begins (RFC 3207).
    StartTls,
    /// AUTH: authentication begins (RFC 4954). Displayed without the initial response, which is secret.
    Auth {
        /// The name of the mechanism, in upper case.
        mechanism: String,
        /// What the client says first, where that saves a round trip.
        initial_response: Option<InitialResponse>,
    },
    /// BDAT: a chunk of content follows at once (RFC 3030 section 2).
    Bdat {
        /// The octets of the chunk.
        size: u64,
        /// Whether it is the last.
        last: bool,
    },
    /// BURL: the content, or a chunk of it, is to be fetched (RFC 4468 section 3).
    Burl {
        /// From where.
        url: AbsoluteUri,
        /// Whether it is the last chunk.
        last: bool,
    },
    /// ETRN: asks to send what waits for somebody (RFC 1985).
    Etrn(Node),
    /// LHLO: EHLO of LMTP (RFC 2033 section 4.1).
    Lhlo(HelloName),
    /// XCLIENT: the client is a proxy, and this is its own client (XCLIENT_README of Postfix).
    Xclient(Vec<Attribute>),
    /// XFORWARD: where the next message comes from, for logs (XFORWARD_README of Postfix).
    Xforward(Vec<Attribute>),
    /// Any other verb, in upper case, with what follows it.
    Other {
        /// Letters, digits and hyphens.
        verb: String,
        /// What follows the verb and its space.
        argument: String,
    },
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It does not begin with a verb.
    #[error("not a command")]
    NotACommand,
    /// The verb is known and the line holds control characters or is not UTF-8.
    #[error("invalid characters in the command")]
    Characters,
    /// An argument is missing, or there is one where none may be, or it is of another form.
    #[error("malformed argument; expected {expected}")]
    Argument {
        /// The right form, as a hint to a person.
        expected: &'static str,
    },
    /// The reverse path is not one.
    #[error("malformed reverse path: {0}")]
    ReversePath(AddressError),
    /// The forward path is not one.
    #[error("malformed forward path: {0}")]
    ForwardPath(AddressError),
    /// A parameter of MAIL or RCPT is not one.
    #[error("{0}")]
    Parameter(ParameterError),
    /// What stands behind BDAT is not a size of at most 20 digits that fits 64 bits, or one and `LAST`. Where the
    /// chunk ends is not known, so nothing that follows can be read.
    #[error("malformed chunk size")]
    ChunkSize,
    /// An attribute of XCLIENT or XFORWARD is not one.
    #[error("{0}")]
    Attribute(AttributeError),
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => write!(f, "EHLO {name}"),
            Self::Helo(name) => write!(f, "HELO {name}"),
            Self::Mail { reverse_path, parameters } => write!(f, "MAIL FROM:<{reverse_path}>{parameters}"),
            Self::Rcpt { forward_path, parameters } => write!(f, "RCPT TO:<{forward_path}>{parameters}"),
            Self::Data => f.write_str("DATA"),
            Self::Rset => f.write_str("RSET"),
            Self::Noop => f.write_str("NOOP"),
            Self::Quit => f.write_str("QUIT"),
            Self::Vrfy(query) => write!(f, "VRFY {query}"),
            Self::Expn(query) => write!(f, "EXPN {query}"),
            Self::Help(topic) => {
                write!(f, "HELP{}{topic}", if topic.is_empty() { "" } else { " " })
            }
            Self::StartTls => f.write_str("STARTTLS"),
            Self::Auth { mechanism, initial_response } => {
                write!(f, "AUTH {mechanism}{}", if initial_response.is_some() { " ***" } else { "" })
            }
            Self::Bdat { size, last } => write!(f, "BDAT {size}{}", end_marker(*last)),
            Self::Burl { url, last } => write!(f, "BURL {url}{}", end_marker(*last)),
            Self::Etrn(node) => write!(f, "ETRN {node}"),
            Self::Lhlo(name) => write!(f, "LHLO {name}"),
            Self::Xclient(attributes) => write_attributes(f, "XCLIENT", attributes),
            Self::Xforward(attributes) => write_attributes(f, "XFORWARD", attributes),
            Self::Other { verb, argument } => {
                write!(f, "{verb}{}{argument}", if argument.is_empty() { "" } else { " " })
            }
        }
    }
}

fn end_marker(last: bool) -> &'static str {
    if last { " LAST" } else { "" }
}

fn write_attributes(f: &mut fmt::Formatter<'_>, verb: &str, attributes: &[Attribute]) -> fmt::Result {
    f.write_str(verb)?;
    attributes.iter().try_for_each(|attribute| write!(f, " {attribute}"))
}
