//! Reading a command line.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::{Command, CommandError, HelloName, InitialResponse, Query};
use crate::wire::address::{ForwardPath, ReversePath};
use crate::wire::attribute::{self, Attribute, AttributeError, AttributeName};
use crate::wire::params::{MailParameters, RecipientParameters, digits};

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
            let is_bdat = verb.split_at_checked(4).is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"BDAT"));
            return Err(if is_bdat { CommandError::ChunkSize } else { CommandError::NotACommand });
        };
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        let text = match str::from_utf8(argument) {
            Ok(text) if !text.chars().any(char::is_control) => text.strip_prefix(' ').unwrap_or(text),
            _ if is("BDAT") => return Err(CommandError::ChunkSize),
            _ if is("XCLIENT") || is("XFORWARD") => return Err(CommandError::Attribute(AttributeError::Value)),
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
            () if is("BDAT") => bdat(text),
            () if is("BURL") => burl(text),
            () if is("ETRN") => etrn(text),
            () if is("LHLO") => hello(text).map(Self::Lhlo),
            () if is("XCLIENT") => attributes(text, &attribute::XCLIENT).map(Self::Xclient),
            () if is("XFORWARD") => attributes(text, &attribute::XFORWARD).map(Self::Xforward),
            () if is("HELP") => Ok(Self::Help(text.trim_start().to_owned())),
            () => Ok(Self::Other { verb: verb.to_ascii_uppercase(), argument: text.to_owned() }),
        }
    }
}

const VERBS: [&str; 16] = [
    "MAIL", "RCPT", "DATA", "EHLO", "HELO", "RSET", "QUIT", "NOOP", "VRFY", "EXPN", "HELP", "STARTTLS", "AUTH", "BURL",
    "ETRN", "LHLO",
];

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
    let parameters = RecipientParameters::parse(rest).map_err(CommandError::Parameter)?;
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

/// A size and perhaps the end marker: whatever else there is, the end of the chunk cannot be known.
fn bdat(text: &str) -> Result<Command, CommandError> {
    let (size, last) = with_end_marker(text).ok_or(CommandError::ChunkSize)?;
    let size = digits(size, 20).ok_or(CommandError::ChunkSize)?;
    Ok(Command::Bdat { size, last })
}

fn burl(text: &str) -> Result<Command, CommandError> {
    let malformed = CommandError::Argument { expected: "a URL, or a URL and LAST" };
    let (url, last) = with_end_marker(text).ok_or(malformed)?;
    Ok(Command::Burl { url: url.parse().map_err(|_| malformed)?, last })
}

/// One word, and whether `LAST` follows it.
fn with_end_marker(text: &str) -> Option<(&str, bool)> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let word = words.next()?;
    match (words.next(), words.next()) {
        (None, _) => Some((word, false)),
        (Some(marker), None) if marker.eq_ignore_ascii_case("LAST") => Some((word, true)),
        _ => None,
    }
}

fn etrn(text: &str) -> Result<Command, CommandError> {
    let node = text.trim_matches(' ').parse();
    node.map(Command::Etrn).map_err(|_| CommandError::Argument { expected: "a domain name, @domain or #queue" })
}

fn attributes(text: &str, names: &[AttributeName]) -> Result<Vec<Attribute>, CommandError> {
    attribute::parse(text, names).map_err(CommandError::Attribute)
}
