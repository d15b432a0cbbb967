//! Commands as they stand on a line (RFC 5321 section 4.1.1).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::address::{AddressError, ForwardPath, ReversePath};
use super::domain::{Domain, MAX_DOMAIN};
use crate::sasl::base64;
use crate::secret::Secret;

use super::params::{MailParameters, Parameter, ParameterError, parse_recipient_parameters};

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
        parameters: Vec<Parameter>,
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
    /// Any other verb, in upper case, with what follows it.
    Other {
        /// Letters, digits and hyphens.
        verb: String,
        /// What follows the verb and its space.
        argument: String,
    },
}

/// The argument of VRFY or EXPN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// A user name, mailbox or list name, as written.
    pub text: String,
    /// Whether the reply may hold UTF-8 (RFC 6531 section 3.4).
    pub smtputf8: bool,
}

/// The initial response of AUTH, still encoded. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct InitialResponse(Secret);

impl InitialResponse {
    /// The response; a single `=` stands for an empty one. `None` when it is not canonical base64.
    pub fn decode(&self) -> Option<Secret> {
        match self.0.reveal() {
            b"=" => Some(Secret::new([])),
            encoded => base64::decode(encoded),
        }
    }
}

impl fmt::Debug for InitialResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The name in EHLO or HELO.
///
/// A server takes any printable word: names with underscores and the like are common and prove nothing anyhow. A
/// client states a domain name or an address literal ([`str::parse`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HelloName(String);

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
}

impl HelloName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a domain or address literal, when it is one.
    pub fn domain(&self) -> Option<Domain> {
        self.0.parse().ok()
    }

    fn lenient(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        (printable && !text.is_empty() && text.len() <= MAX_DOMAIN).then(|| Self(text.to_owned()))
    }
}

/// Reads what a client may call itself: an ASCII domain name or an address literal (RFC 5321 section 4.1.4).
impl FromStr for HelloName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let domain: Domain = text.parse()?;
        // A U-label would have to be sent as its A-label (RFC 6531 section 3.7.1).
        if domain.is_ascii() { Ok(Self(text.to_owned())) } else { Err(AddressError::Domain) }
    }
}

impl fmt::Display for HelloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Command {
    /// Reads a command line without its CRLF. White space at the end is ignored (RFC 5321 section 4.1.1).
    ///
    /// # Errors
    /// When the line is not a command this crate knows the form of.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let mut line = line;
        while let [front @ .., b' ' | b'\t'] = line {
            line = front;
        }
        let verb_end = memchr::memchr(b' ', line).unwrap_or(line.len());
        let (verb, argument) = line.split_at(verb_end);
        let Some(verb) = str::from_utf8(verb).ok().filter(|verb| is_verb(verb)) else {
            return Err(CommandError::NotACommand);
        };
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        let text = match str::from_utf8(argument) {
            Ok(text) if !text.chars().any(char::is_control) => text.strip_prefix(' ').unwrap_or(text),
            _ if VERBS.into_iter().any(is) => return Err(CommandError::Characters),
            _ => return Err(CommandError::NotACommand),
        };
        let without_argument = |command: Self| match text {
            "" => Ok(command),
            _ => Err(CommandError::Argument { expected: "no argument" }),
        };
        match () {
            () if is("MAIL") => mail(text),
            () if is("RCPT") => rcpt(text),
            () if is("DATA") => without_argument(Self::Data),
            () if is("EHLO") => hello(text).map(Self::Ehlo),
            () if is("HELO") => hello(text).map(Self::Helo),
            () if is("RSET") => without_argument(Self::Rset),
            () if is("QUIT") => without_argument(Self::Quit),
            () if is("NOOP") => Ok(Self::Noop),
            () if is("VRFY") => query(text).map(Self::Vrfy),
            () if is("EXPN") => query(text).map(Self::Expn),
            () if is("STARTTLS") => without_argument(Self::StartTls),
            () if is("AUTH") => auth(text),
            () if is("HELP") => Ok(Self::Help(text.trim_start().to_owned())),
            () => Ok(Self::Other { verb: verb.to_ascii_uppercase(), argument: text.to_owned() }),
        }
    }
}

const VERBS: [&str; 13] =
    ["MAIL", "RCPT", "DATA", "EHLO", "HELO", "RSET", "QUIT", "NOOP", "VRFY", "EXPN", "HELP", "STARTTLS", "AUTH"];

fn is_verb(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn hello(text: &str) -> Result<HelloName, CommandError> {
    HelloName::lenient(text.trim_start()).ok_or(CommandError::Argument { expected: "a domain name or address literal" })
}

fn mail(text: &str) -> Result<Command, CommandError> {
    let path = keyword(text, "FROM:").ok_or(CommandError::Argument { expected: "FROM:<address>" })?;
    let (reverse_path, rest) = ReversePath::parse_prefix(path).map_err(CommandError::ReversePath)?;
    let parameters = MailParameters::parse(rest).map_err(CommandError::Parameter)?;
    Ok(Command::Mail { reverse_path, parameters })
}

fn rcpt(text: &str) -> Result<Command, CommandError> {
    let path = keyword(text, "TO:").ok_or(CommandError::Argument { expected: "TO:<address>" })?;
    let (forward_path, rest) = ForwardPath::parse_prefix(path).map_err(CommandError::ForwardPath)?;
    let parameters = parse_recipient_parameters(rest).map_err(CommandError::Parameter)?;
    Ok(Command::Rcpt { forward_path, parameters })
}

fn auth(text: &str) -> Result<Command, CommandError> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().filter(|name| is_mechanism(name));
    let initial_response = words.next().map(|encoded| InitialResponse(encoded.into()));
    match (mechanism, words.next()) {
        (Some(mechanism), None) => Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial_response }),
        _ => Err(CommandError::Argument { expected: "a mechanism, or a mechanism and its initial response" }),
    }
}

/// RFC 4422 section 3.1.
fn is_mechanism(name: &str) -> bool {
    name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What stands behind `FROM:` or `TO:`. Spaces before the path are not in the grammar, but many clients send one.
fn keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.trim_start_matches(' ').split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

fn query(text: &str) -> Result<Query, CommandError> {
    let text = text.trim_matches(' ');
    let (text, smtputf8) = match text.rsplit_once(' ') {
        Some((front, last)) if last.eq_ignore_ascii_case("SMTPUTF8") => (front.trim_end_matches(' '), true),
        _ => (text, false),
    };
    if text.is_empty() {
        return Err(CommandError::Argument { expected: "a user, mailbox or list name" });
    }
    Ok(Query { text: text.to_owned(), smtputf8 })
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.smtputf8 { " SMTPUTF8" } else { "" })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => write!(f, "EHLO {name}"),
            Self::Helo(name) => write!(f, "HELO {name}"),
            Self::Mail { reverse_path, parameters } => write!(f, "MAIL FROM:<{reverse_path}>{parameters}"),
            Self::Rcpt { forward_path, parameters } => {
                write!(f, "RCPT TO:<{forward_path}>")?;
                parameters.iter().try_for_each(|parameter| write!(f, " {parameter}"))
            }
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
            Self::Other { verb, argument } => {
                write!(f, "{verb}{}{argument}", if argument.is_empty() { "" } else { " " })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn commands_parse_to_their_canonical_form_and_back() {
        // WIRE-004, WIRE-006, WIRE-007, ADDR-002
        for (line, canonical) in [
            ("eHlO a.test", "EHLO a.test"),
            ("HELO my_pc", "HELO my_pc"),
            ("EHLO [IPv6:::1]", "EHLO [IPv6:::1]"),
            ("mail from:<a@a.test>", "MAIL FROM:<a@a.test>"),
            ("MAIL FROM: <a@a.test>  SIZE=10 ", "MAIL FROM:<a@a.test> SIZE=10"),
            ("MAIL FROM:<>", "MAIL FROM:<>"),
            ("MAIL FROM:<\"a b\"@c> body=8bitmime smtputf8 X=y", "MAIL FROM:<\"a b\"@c> BODY=8BITMIME SMTPUTF8 X=y"),
            ("RCPT TO:<@x.test:a@b.test> FOO=1", "RCPT TO:<a@b.test> FOO=1"),
            ("rcpt to:<postmaster>", "RCPT TO:<Postmaster>"),
            ("NOOP whatever  ", "NOOP"),
            ("NOOP \t ", "NOOP"),
            ("VRFY Some One", "VRFY Some One"),
            ("EXPN list smtputf8", "EXPN list SMTPUTF8"),
            ("HELP", "HELP"),
            ("HELP  MAIL", "HELP MAIL"),
            ("xFoo  a b", "XFOO  a b"),
            ("quit", "QUIT"),
        ] {
            let command = Command::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(command.to_string(), canonical);
            assert_eq!(Command::parse(canonical.as_bytes()), Ok(command));
        }
    }

    #[test]
    fn malformed_commands_say_what_is_wrong() {
        // WIRE-009, WIRE-017, I18N-007, I18N-008, H-AD-3
        use CommandError as E;
        for line in [
            &b""[..],
            b" ",
            b"\x16\x03\x01",
            b" EHLO a",
            b"MAIL\tFROM:<a@b>",
            b"\xff",
            b"FOO\x00 x",
            b"FOO \x07",
            b"NOOP\nNOOP",
            b"1234",
            b"\xc3\xa9",
            b"NOOP\r",
            b"NOOP\n",
        ] {
            assert_eq!(Command::parse(line), Err(E::NotACommand), "{line:?}");
        }
        for line in [
            &b"NOOP a\nNOOP"[..],
            b"MAIL FROM:<a\x01@a.test>",
            b"EHLO \x00",
            b"RCPT TO:<\xff@a.test>",
            b"VRFY \xed\xa0\x80",
        ] {
            assert_eq!(Command::parse(line), Err(E::Characters), "{line:?}");
        }
        for line in [
            "MAIL",
            "MAIL FROM",
            "MAIL <a@b>",
            "MAIL FROM :<a@b>",
            "RCPT FROM:<a@b>",
            "EHLO",
            "EHLO a b",
            "HELO é",
            "DATA x",
            "RSET x",
            "QUIT now",
            "VRFY",
            "EXPN ",
        ] {
            assert!(matches!(Command::parse(line.as_bytes()), Err(E::Argument { .. })), "{line}");
        }
        for line in ["MAIL FROM:", "MAIL FROM:a@b", "MAIL FROM:<a@b", "MAIL FROM:<Jo <a@b>>", "MAIL FROM:<Postmaster>"]
        {
            assert!(matches!(Command::parse(line.as_bytes()), Err(E::ReversePath(_))), "{line}");
        }
        assert!(matches!(Command::parse(b"RCPT TO:<>"), Err(E::ForwardPath(_))));
        for line in ["MAIL FROM:<a@b>SIZE=1", "MAIL FROM:<a@b> A_B=1", "RCPT TO:<a@b> A=1 A=1", "MAIL FROM:<a@b>>"] {
            assert!(matches!(Command::parse(line.as_bytes()), Err(E::Parameter(_))), "{line}");
        }
    }

    #[test]
    fn a_client_names_itself_by_domain_or_literal_only() {
        // WIRE-017
        for name in ["a.test", "localhost", "[192.0.2.1]", "[IPv6:::1]"] {
            assert!(name.parse::<HelloName>().is_ok());
        }
        let long = format!("{}.test", "a".repeat(300));
        for name in ["", "a b", "a\r\nMAIL", "a\0", "é.test", "my_pc", "a.", &long] {
            assert!(name.parse::<HelloName>().is_err(), "{name:?}");
        }
    }
}
