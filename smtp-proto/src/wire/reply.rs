//! Replies: three digits, an optional enhanced status code, text (RFC 5321 section 4.2, RFC 2034, RFC 3463).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use core::str::FromStr;

use bytes::{Buf, BytesMut};

use super::escape::Escaped;
use crate::error::PeerFault;

/// The longest reply line that is written, in octets with CRLF (RFC 5321 section 4.5.3.1.5).
pub const MAX_REPLY_LINE: usize = 512;

/// A reply code from 200 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyCode(u16);

/// What the first digit of a reply code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// 2yz: done.
    Positive,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now; the same may succeed later.
    Transient,
    /// 5yz: no; the same will fail again.
    Permanent,
}

impl ReplyCode {
    /// A code that may be sent: first digit 2 to 5, second 0 to 5 (RFC 5321 section 4.2).
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 && (code / 10) % 10 <= 5 { Some(Self(code)) } else { None }
    }

    /// The number.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// What the first digit says. Decide by this: servers send codes that no RFC lists.
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            2 => Severity::Positive,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    const fn class(self) -> u8 {
        (self.0 / 100) as u8
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An enhanced status code, `class.subject.detail` (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedStatusCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedStatusCode {
    /// A code of class 2, 4 or 5 with a subject and a detail up to 999.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        if matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999 {
            Some(Self { class, subject, detail })
        } else {
            None
        }
    }

    /// 2, 4 or 5: the same as the first digit of the reply.
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What it is about: addressing, mailbox, system, routing, protocol, content, policy.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// What exactly; an unknown one means no more than its class and subject say (ESC-009).
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Reads a code that stands alone at the front of `text`; returns it and the octets it took with the space behind.
    const fn parse_prefix(text: &[u8]) -> Option<(Self, usize)> {
        let [class @ (b'2' | b'4' | b'5'), b'.', rest @ ..] = text else {
            return None;
        };
        let Some((subject, rest)) = number(rest) else {
            return None;
        };
        let [b'.', rest @ ..] = rest else { return None };
        let Some((detail, rest)) = number(rest) else {
            return None;
        };
        let space = match rest {
            [] => 0,
            [b' ', ..] => 1,
            _ => return None,
        };
        let taken = text.len().saturating_sub(rest.len()).saturating_add(space);
        Some((Self { class: class.saturating_sub(b'0'), subject, detail }, taken))
    }
}

/// One to three digits without leading zeros.
const fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = text;
    let mut value = 0u16;
    let mut digits = 0u8;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        if digits == 3 || (digits > 0 && value == 0) {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(digit.saturating_sub(b'0') as u16);
        digits = digits.saturating_add(1);
        rest = tail;
    }
    if digits == 0 { None } else { Some((value, rest)) }
}

impl fmt::Display for EnhancedStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A reply of a server. Its copies share the text.
///
/// ```
/// use smtp_proto::wire::{Reply, Severity};
/// const UNKNOWN: Reply = Reply::from_static("550 5.1.1 No such user");
/// assert_eq!(UNKNOWN.code().value(), 550);
/// assert_eq!(UNKNOWN.severity(), Severity::Permanent);
/// assert_eq!(UNKNOWN.text(), "No such user");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    code: ReplyCode,
    enhanced: Option<EnhancedStatusCode>,
    text: Text,
}

/// A text that has one place in memory: one reply of a peer may be about very many recipients.
#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Static(text),
            Cow::Owned(text) => Self::Shared(text.into()),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Why a text is not a reply that may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReply {
    /// It does not begin with a code whose first digit is 2 to 5 and whose second is 0 to 5.
    #[error("a reply begins with a code from 200 to 559 and a space")]
    Code,
    /// The enhanced status code is of another class than the reply code (RFC 2034 section 4).
    #[error("the enhanced status code is of another class than the reply code")]
    Class,
}

impl Reply {
    /// A reply with this code, enhanced status code and text.
    ///
    /// Line ends in the text make a multi-line reply; other control characters are written as `?`. Without an
    /// enhanced status code, `x.0.0` of the right class is sent where the session uses them.
    ///
    /// # Errors
    /// When the classes of the two codes differ, or a 3yz reply is given an enhanced status code.
    pub fn new(
        code: ReplyCode,
        enhanced: Option<EnhancedStatusCode>,
        text: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidReply> {
        match enhanced {
            Some(enhanced) if enhanced.class != code.class() => Err(InvalidReply::Class),
            _ => Ok(Self { code, enhanced, text: text.into().into() }),
        }
    }

    /// A reply written out: `"550 5.1.1 No such user"`.
    ///
    /// # Panics
    /// When the text is not a valid reply. In a `const` that is a compile error. For texts made at run time use
    /// [`str::parse`].
    pub const fn from_static(text: &'static str) -> Self {
        let Ok((code, enhanced, start)) = parse_codes(text.as_bytes()) else {
            #[allow(clippy::panic, reason = "a wrong literal in the program, not a peer's input")]
            {
                panic!("not a valid reply");
            }
        };
        // `start` lies behind ASCII.
        let (_, text) = text.split_at(start);
        Self { code, enhanced, text: Text::Static(text) }
    }

    /// The reply code.
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// What the first digit of the code says.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Whether the code is 2yz.
    pub fn is_positive(&self) -> bool {
        self.severity() == Severity::Positive
    }

    /// The enhanced status code, when the reply has one of the right class.
    pub fn enhanced(&self) -> Option<EnhancedStatusCode> {
        self.enhanced
    }

    /// The text without codes. Lines are separated by `\n`.
    ///
    /// In a received reply this is the peer's text: escape it before you show it ([`fmt::Display`] does).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a server closes the connection with this reply: 421 at any time (RFC 5321 section 3.8), 521 in its
    /// greeting (RFC 7504 section 3).
    pub(crate) fn closes_connection(&self) -> bool {
        matches!(self.code.0, 421 | 521)
    }

    /// Whether it is 421.
    pub(crate) fn is_service_closing(&self) -> bool {
        self.code.0 == 421
    }

    /// The same text with the code of another.
    pub(crate) fn with_code_of(mut self, other: &Self) -> Self {
        self.code = other.code;
        self
    }

    /// Forgets the enhanced status code where the server did not announce that it sends them (ESC-008).
    pub(crate) fn without_enhanced(mut self) -> Self {
        if let Some(enhanced) = self.enhanced.take() {
            let mut text = String::new();
            for line in self.text.split('\n') {
                let separator = if text.is_empty() { "" } else { "\n" };
                // Appending to a string cannot fail.
                let _ = fmt::write(&mut text, format_args!("{separator}{enhanced} {line}"));
            }
            self.text = Text::Shared(text.into());
        }
        self
    }

    /// Writes the reply, in several lines where the text has line ends or is too long for one.
    pub fn write(&self, form: ReplyForm, out: &mut BytesMut) {
        let enhanced = match self.severity() {
            Severity::Intermediate => None,
            _ if form.enhanced => {
                self.enhanced.or(Some(EnhancedStatusCode { class: self.code.class(), subject: 0, detail: 0 }))
            }
            _ => None,
        };
        // Code, separator, CRLF; then an enhanced status code of at most nine octets and its space.
        let room = MAX_REPLY_LINE.saturating_sub(6).saturating_sub(if enhanced.is_some() { 10 } else { 0 });
        let mut pieces = lines(&self.text).flat_map(|line| Pieces { rest: line, room, start: true }).peekable();
        while let Some(piece) = pieces.next() {
            let separator = if pieces.peek().is_some() { '-' } else { ' ' };
            // Appending to a buffer cannot fail.
            let _ = match enhanced {
                Some(enhanced) => fmt::write(out, format_args!("{}{separator}{enhanced} ", self.code)),
                None => fmt::write(out, format_args!("{}{separator}", self.code)),
            };
            for character in piece.chars() {
                match character {
                    '\t' | ' '..='~' => out.extend_from_slice(&[character as u8]),
                    _ if form.utf8 && !character.is_ascii() && !character.is_control() => {
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    _ => out.extend_from_slice(b"?"),
                }
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// How replies are written in the state a session is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyForm {
    /// With enhanced status codes (RFC 2034).
    pub enhanced: bool,
    /// With UTF-8 text: only in answer to a command with SMTPUTF8 (RFC 6531 section 3.7.4).
    pub utf8: bool,
}

/// Lines of a text, whichever line ends it has.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line))
}

/// A line cut into pieces of at most `room` octets; an empty line is one empty piece.
struct Pieces<'a> {
    rest: &'a str,
    room: usize,
    start: bool,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() && !self.start {
            return None;
        }
        self.start = false;
        let mut end = self.room.min(self.rest.len());
        while !self.rest.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let (piece, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(piece)
    }
}

const fn parse_codes(text: &[u8]) -> Result<(ReplyCode, Option<EnhancedStatusCode>, usize), InvalidReply> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'5', c @ b'0'..=b'9', b' ', rest @ ..] = text else {
        return Err(InvalidReply::Code);
    };
    let code = ReplyCode(digits(*a, *b, *c));
    match EnhancedStatusCode::parse_prefix(rest) {
        Some((enhanced, taken)) => {
            if enhanced.class == code.class() {
                Ok((code, Some(enhanced), 4usize.saturating_add(taken)))
            } else {
                Err(InvalidReply::Class)
            }
        }
        None => Ok((code, None, 4)),
    }
}

const fn digits(a: u8, b: u8, c: u8) -> u16 {
    let [a, b, c] = [a.saturating_sub(b'0') as u16, b.saturating_sub(b'0') as u16, c.saturating_sub(b'0') as u16];
    a.saturating_mul(100).saturating_add(b.saturating_mul(10)).saturating_add(c)
}

/// Reads `550 5.1.1 No such user`; line ends in the text make a multi-line reply.
impl FromStr for Reply {
    type Err = InvalidReply;

    fn from_str(text: &str) -> Result<Self, InvalidReply> {
        let (code, enhanced, start) = parse_codes(text.as_bytes())?;
        let (_, text) = text.split_at(start);
        Ok(Self { code, enhanced, text: Text::Shared(text.into()) })
    }
}

/// On one line, with everything escaped that could act on a terminal.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        let mut separator = " ";
        for line in lines(&self.text).filter(|line| !line.is_empty()) {
            write!(f, "{separator}{}", Escaped(line.as_bytes()))?;
            separator = " / ";
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

/// How much of a reply is read before the server is taken for hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyLimits {
    /// Octets of one line with its CRLF. Default 2048 (Postfix `line_length_limit`).
    pub line: usize,
    /// Lines of one reply. Default 128.
    pub lines: usize,
    /// Octets of one reply with its line ends. Default 64 KiB.
    pub total: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line: 2048, lines: 128, total: 64 * 1024 }
    }
}

/// Collects the lines of one reply at a time from a stream of octets.
#[derive(Debug, Default)]
pub struct ReplyReader {
    scanned: usize,
    lines: usize,
    total: usize,
    code: Option<ReplyCode>,
    enhanced: Option<EnhancedStatusCode>,
    text: String,
}

impl ReplyReader {
    /// A reader at the start of a reply.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what it can from `rx`; a reply when its last line was there.
    ///
    /// # Errors
    /// When the octets are not a reply or go over a limit. What follows would be guesswork: close the connection.
    pub fn read(&mut self, rx: &mut BytesMut, limits: &ReplyLimits) -> Result<Option<Reply>, PeerFault> {
        loop {
            let unseen = rx.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unseen) else {
                self.scanned = rx.len();
                let pending = self.total.saturating_add(self.scanned);
                return if self.scanned > limits.line || pending > limits.total {
                    Err(PeerFault::ReplyTooLong)
                } else {
                    Ok(None)
                };
            };
            let length = self.scanned.saturating_add(offset).saturating_add(1);
            self.scanned = 0;
            self.total = self.total.saturating_add(length);
            self.lines = self.lines.saturating_add(1);
            if length > limits.line || self.lines > limits.lines || self.total > limits.total {
                return Err(PeerFault::ReplyTooLong);
            }
            let Some(line) = rx.get(..length).and_then(|line| line.strip_suffix(b"\r\n")) else {
                return Err(PeerFault::BareNewline);
            };
            let last = self.line(line)?;
            rx.advance(length);
            if last {
                let reader = core::mem::take(self);
                return Ok(reader.code.map(|code| Reply {
                    code,
                    enhanced: reader.enhanced,
                    text: Text::Shared(reader.text.into()),
                }));
            }
        }
    }

    /// Whether part of a reply has been read.
    pub(crate) fn is_amid_reply(&self) -> bool {
        self.lines > 0
    }

    /// Takes one line; true when it is the last.
    fn line(&mut self, line: &[u8]) -> Result<bool, PeerFault> {
        let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
            return Err(PeerFault::MalformedReply);
        };
        let code = ReplyCode(digits(*a, *b, *c));
        let (last, text) = match rest {
            // A bare code is a last line without text (RFC 5321 section 4.2).
            [] => (true, rest),
            [b' ' | b'\t', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(PeerFault::MalformedReply),
        };
        let (enhanced, text) = match EnhancedStatusCode::parse_prefix(text) {
            // On further lines only what the first has already said is left out.
            Some((enhanced, taken))
                if enhanced.class == code.class() && (self.code.is_none() || self.enhanced == Some(enhanced)) =>
            {
                (Some(enhanced), text.get(taken..).unwrap_or_default())
            }
            _ => (None, text),
        };
        match self.code {
            None => {
                self.code = Some(code);
                self.enhanced = enhanced;
            }
            Some(first) if first != code => return Err(PeerFault::MixedReplyCodes),
            Some(_) => self.text.push('\n'),
        }
        self.text.push_str(&String::from_utf8_lossy(text));
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    const ENHANCED: ReplyForm = ReplyForm { enhanced: true, utf8: false };

    fn written(reply: &Reply, form: ReplyForm) -> String {
        let mut out = BytesMut::new();
        reply.write(form, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn read(input: &[u8]) -> Result<Option<Reply>, PeerFault> {
        let whole = ReplyReader::new().read(&mut BytesMut::from(input), &ReplyLimits::default());
        let mut reader = ReplyReader::new();
        let mut rx = BytesMut::new();
        let mut last = Ok(None);
        for byte in input {
            rx.extend_from_slice(&[*byte]);
            last = reader.read(&mut rx, &ReplyLimits::default());
            if last != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, last, "one octet at a time differs from the whole");
        whole
    }

    #[test]
    fn a_text_cannot_split_a_reply() {
        // REPLY-001, REPLY-003, ESC-003
        let reply: Reply = "550 5.7.1 no\r\n250 x\u{0}\u{7}é".parse().unwrap();
        assert_eq!(written(&reply, ENHANCED), "550-5.7.1 no\r\n550 5.7.1 250 x???\r\n");
        assert_eq!(written(&reply, ReplyForm { enhanced: false, utf8: true }), "550-no\r\n550 250 x??é\r\n");
    }

    #[test]
    fn long_texts_become_lines_of_at_most_512_octets() {
        // REPLY-004, REPLY-005
        let reply: Reply = format!("250 2.0.0 {}", "x".repeat(600)).parse().unwrap();
        let text = written(&reply, ENHANCED);
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= 510), "{lines:?}");
        assert!(lines[0].starts_with("250-2.0.0 x") && lines[1].starts_with("250 2.0.0 x"));
        assert_eq!(written(&Reply::from_static("250 "), ReplyForm::default()), "250 \r\n");
    }

    #[test]
    fn enhanced_codes_are_added_where_missing_and_never_to_3yz() {
        // ESC-001, ESC-002, ESC-004
        assert_eq!(written(&Reply::from_static("451 later"), ENHANCED), "451 4.0.0 later\r\n");
        assert_eq!(written(&Reply::from_static("354 go"), ENHANCED), "354 go\r\n");
        assert_eq!("550 2.0.0 x".parse::<Reply>(), Err(InvalidReply::Class));
        assert_eq!("354 2.0.0 x".parse::<Reply>(), Err(InvalidReply::Class));
        assert_eq!(
            Reply::new(ReplyCode::new(550).unwrap(), EnhancedStatusCode::new(2, 0, 0), "x"),
            Err(InvalidReply::Class)
        );
    }

    #[test]
    fn codes_outside_the_grammar_cannot_be_sent() {
        // REPLY-002
        for code in [0, 100, 199, 260, 600, 999] {
            assert_eq!(ReplyCode::new(code), None);
        }
        for text in ["", "250", "25 x", "650 x", "199 x", "270 x", "+25 x", "250-x", "2500 x"] {
            assert_eq!(text.parse::<Reply>(), Err(InvalidReply::Code), "{text}");
        }
        assert_eq!(EnhancedStatusCode::new(3, 0, 0), None);
        assert_eq!(EnhancedStatusCode::new(5, 1000, 0), None);
    }

    #[test]
    fn replies_are_read_as_servers_write_them() {
        // REPLY-007, REPLY-008, REPLY-011
        let reply = read(b"250\r\n").unwrap().unwrap();
        assert_eq!((reply.code().value(), reply.text()), (250, ""));
        assert_eq!(read(b"250 \r\n").unwrap().unwrap().text(), "");
        assert_eq!(read(b"299 odd\r\n").unwrap().unwrap().severity(), Severity::Positive);
        assert_eq!(read(b"455 odd\r\n").unwrap().unwrap().severity(), Severity::Transient);
        let reply = read(b"250-2.1.0 a\r\n250-2.1.0 b\r\n250 2.1.0 c\r\n").unwrap().unwrap();
        assert_eq!(reply.text(), "a\nb\nc");
        assert_eq!(reply.enhanced().unwrap().to_string(), "2.1.0");
        assert_eq!(reply.to_string(), "250 2.1.0 a / b / c");
        assert_eq!(read(b"250-a\r\n250").unwrap(), None);
    }

    #[test]
    fn an_enhanced_code_counts_only_when_well_formed_and_of_the_right_class() {
        // ESC-006, ESC-007, ESC-009
        for text in ["5.01.1 x", "2.1.0 x", "5.1 x", "5.1.1x", "5.1.1.1 x", "5.1000.1 x", "3.1.1 x", "5.1. x", "5..1 x"]
        {
            let reply = read(format!("550 {text}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!((reply.enhanced(), reply.text()), (None, text));
        }
        assert_eq!(read(b"450 4.99.99 x\r\n").unwrap().unwrap().enhanced(), EnhancedStatusCode::new(4, 99, 99));
        assert_eq!(read(b"550 5.1.1\r\n").unwrap().unwrap().enhanced(), EnhancedStatusCode::new(5, 1, 1));
        let plain = read(b"550-5.1.1 x\r\n550 5.1.1 y\r\n").unwrap().unwrap().without_enhanced();
        assert_eq!((plain.enhanced(), plain.text()), (None, "5.1.1 x\n5.1.1 y"));
        for text in ["550-5.1.1 a\r\n550 5.7.1 b\r\n", "250-x\r\n250 2.1.0 y\r\n", "250-x\r\n250 2.1.0 2.1.0 y\r\n"] {
            let reply = read(text.as_bytes()).unwrap().unwrap();
            let again =
                read(written(&reply, ReplyForm { enhanced: reply.enhanced().is_some(), utf8: false }).as_bytes());
            assert_eq!(again.unwrap().unwrap().text(), reply.text());
        }
    }

    #[test]
    fn what_is_not_a_reply_is_a_fault() {
        // REPLY-009, REPLY-010, WIRE-001
        for (input, fault) in [
            (&b"650 x\r\n"[..], PeerFault::MalformedReply),
            (b"HTTP/1.1 400\r\n", PeerFault::MalformedReply),
            (b"\r\n", PeerFault::MalformedReply),
            (b"25\r\n", PeerFault::MalformedReply),
            (b"250x\r\n", PeerFault::MalformedReply),
            (b"250-a\r\n550 b\r\n", PeerFault::MixedReplyCodes),
            (b"250 a\n", PeerFault::BareNewline),
        ] {
            assert_eq!(read(input), Err(fault), "{input:?}");
        }
    }

    #[test]
    fn reply_caps_hold_at_n_and_break_at_n_plus_one() {
        let line = |length: usize| format!("250-{}\r\n", "x".repeat(length - 6));
        assert_eq!(read(line(2048).as_bytes()), Ok(None));
        assert_eq!(read(line(2049).as_bytes()), Err(PeerFault::ReplyTooLong));
        assert_eq!(read("x".repeat(2048).as_bytes()), Ok(None));
        assert_eq!(read("x".repeat(2049).as_bytes()), Err(PeerFault::ReplyTooLong));
        assert!(read(format!("{}250 end\r\n", "250-\r\n".repeat(127)).as_bytes()).unwrap().is_some());
        assert_eq!(read(format!("{}250 end\r\n", "250-\r\n".repeat(128)).as_bytes()), Err(PeerFault::ReplyTooLong));
        assert_eq!(read(line(1024).repeat(64).as_bytes()), Ok(None));
        assert_eq!(read((line(1024).repeat(64) + "2").as_bytes()), Err(PeerFault::ReplyTooLong));
    }
}
