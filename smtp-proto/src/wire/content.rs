//! Message content between DATA and the final dot: framing, transparency and line ends (RFC 5321 sections 4.1.1.4
//! and 4.5.2).
//!
//! Framing comes first and looks at raw octets only: a message ends at CRLF `.` CRLF and nowhere else, whatever is
//! done about stray CRs and LFs. Neither direction copies content: what comes out are slices of what went in.

use bytes::{Buf, Bytes, BytesMut};

use crate::output::Output;

/// The longest text line, in octets without CRLF and without a stuffed dot (RFC 5321 section 4.5.3.1.6).
pub const MAX_TEXT_LINE: usize = 998;

const CRLF: &[u8] = b"\r\n";

/// What happens to a CR or LF that is not part of a CRLF.
///
/// No choice changes where a message ends (H-SM-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BareNewline {
    /// The message is refused.
    Reject,
    /// It becomes a CRLF.
    Fix,
    /// It is left out.
    Strip,
    /// It stays. Programs that take it for a line end may then see another message than this one did.
    Pass,
}

/// Why received content is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ContentFault {
    /// A CR or LF stands alone.
    #[error("a CR or LF that is not part of a CRLF")]
    BareNewline,
    /// A NUL character.
    #[error("a NUL character")]
    Nul,
    /// A text line is too long.
    #[error("a line that is too long")]
    LineTooLong,
}

/// Takes the content of one message out of the octets that follow a 354 reply.
#[derive(Debug)]
pub struct ContentDecoder {
    bare_newline: BareNewline,
    allow_nul: bool,
    longest_line: usize,
    at_line_start: bool,
    line_length: usize,
    /// A fault has been told; no further one is.
    faulty: bool,
    /// A dot at the start of a line means nothing: BDAT.
    chunked: bool,
    /// The last octet of a chunk was a CR: what it means shows in the next one.
    after_cr: bool,
    /// Octets left out since that was last asked.
    stripped: u64,
}

/// What came off the front of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Content, unstuffed: a slice of the buffer.
    Content(Bytes),
    /// The first thing that is wrong with the content, behind the content before it. Reading on finds the end.
    Fault(ContentFault),
    /// Nothing more without more input.
    Partial,
    /// The final dot; what follows is no longer content.
    End,
}

impl ContentDecoder {
    /// A decoder at the start of a message.
    pub fn new(bare_newline: BareNewline, allow_nul: bool, longest_line: usize) -> Self {
        Self {
            bare_newline,
            allow_nul,
            longest_line,
            at_line_start: true,
            line_length: 0,
            faulty: false,
            chunked: false,
            after_cr: false,
            stripped: 0,
        }
    }

    /// A decoder at the start of a message that comes in chunks (RFC 3030), to be asked with
    /// [`decode_chunk`](Self::decode_chunk).
    pub fn chunked(bare_newline: BareNewline, allow_nul: bool, longest_line: usize) -> Self {
        Self { chunked: true, ..Self::new(bare_newline, allow_nul, longest_line) }
    }

    /// Takes the next piece of a chunk off `rx`, of which so many octets are still to come. `last`: it is the last of the
    /// message. [`Decoded::End`] is the end of the chunk.
    pub fn decode_chunk(&mut self, rx: &mut BytesMut, left: &mut u64, last: bool) -> Decoded {
        loop {
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rx.len());
            let ends_here = u64::try_from(here) == Ok(*left);
            if core::mem::take(&mut self.after_cr) {
                match rx.get(..here).and_then(|chunk| chunk.first()) {
                    Some(b'\n') => {
                        take(rx, 1, left);
                        self.line_length = 0;
                        return Decoded::Content(Bytes::from_static(CRLF));
                    }
                    None if !ends_here || !last => {
                        self.after_cr = true;
                        return if ends_here { Decoded::End } else { Decoded::Partial };
                    }
                    _ => match self.stray_cr() {
                        Some(decoded) => return decoded,
                        None => continue,
                    },
                }
            }
            if here == 0 {
                return if ends_here { Decoded::End } else { Decoded::Partial };
            }
            let (run, stop) = self.scan(rx.get(..here).unwrap_or_default());
            if run > 0 {
                *left = left.saturating_sub(u64::try_from(run).unwrap_or(u64::MAX));
                return Decoded::Content(rx.split_to(run).freeze());
            }
            match stop {
                // A CR at the end of what is there.
                Stop::End if ends_here => {
                    take(rx, 1, left);
                    self.after_cr = true;
                }
                Stop::End => return Decoded::Partial,
                Stop::LineStart => {}
                Stop::Fault(fault) => {
                    self.faulty = true;
                    return Decoded::Fault(fault);
                }
                Stop::BareNewline => {
                    take(rx, 1, left);
                    if self.bare_newline == BareNewline::Fix {
                        self.line_length = 0;
                        return Decoded::Content(Bytes::from_static(CRLF));
                    }
                    self.stripped = self.stripped.saturating_add(1);
                }
            }
        }
    }

    /// Octets that were left out ([`BareNewline::Strip`]) since the last call.
    pub fn take_stripped(&mut self) -> u64 {
        core::mem::take(&mut self.stripped)
    }

    /// Deals with a CR at the end of a chunk that no LF follows.
    fn stray_cr(&mut self) -> Option<Decoded> {
        match self.stray(b"\r") {
            Some(Stop::Fault(fault)) => {
                self.faulty = true;
                Some(Decoded::Fault(fault))
            }
            Some(_) if self.bare_newline == BareNewline::Fix => {
                self.line_length = 0;
                Some(Decoded::Content(Bytes::from_static(CRLF)))
            }
            Some(_) => {
                self.stripped = self.stripped.saturating_add(1);
                None
            }
            None => {
                self.line_length = self.line_length.saturating_add(1);
                Some(Decoded::Content(Bytes::from_static(b"\r")))
            }
        }
    }

    /// Takes the next piece of content off `rx`. Octets that need their successors to be understood stay in it:
    /// never more than two.
    pub fn decode(&mut self, rx: &mut BytesMut) -> Decoded {
        loop {
            if self.at_line_start {
                match rx.as_ref() {
                    [b'.', b'\r', b'\n', ..] => {
                        rx.advance(3);
                        return Decoded::End;
                    }
                    [] | [b'.'] | [b'.', b'\r'] => return Decoded::Partial,
                    [b'.', ..] => {
                        rx.advance(1);
                        self.at_line_start = false;
                    }
                    _ => {}
                }
            }
            let (run, stop) = self.scan(rx);
            if run > 0 {
                return Decoded::Content(rx.split_to(run).freeze());
            }
            match stop {
                Stop::End => return Decoded::Partial,
                Stop::LineStart => {}
                Stop::Fault(fault) => {
                    self.faulty = true;
                    return Decoded::Fault(fault);
                }
                Stop::BareNewline => {
                    rx.advance(1);
                    if self.bare_newline == BareNewline::Fix {
                        self.line_length = 0;
                        return Decoded::Content(Bytes::from_static(CRLF));
                    }
                    self.stripped = self.stripped.saturating_add(1);
                }
            }
        }
    }

    /// How many octets at the front are content as they stand, and what comes behind them.
    fn scan(&mut self, octets: &[u8]) -> (usize, Stop) {
        let mut run = 0usize;
        loop {
            let rest = octets.get(run..).unwrap_or_default();
            if !self.chunked && self.at_line_start && rest.first().is_none_or(|first| *first == b'.') {
                return (run, if rest.is_empty() { Stop::End } else { Stop::LineStart });
            }
            let text = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
            let room = self.longest_line.saturating_sub(self.line_length);
            if text > room && !self.faulty {
                self.line_length = self.longest_line;
                self.at_line_start = false;
                return (run.saturating_add(room), Stop::Fault(ContentFault::LineTooLong));
            }
            if text > 0 {
                self.at_line_start = false;
                self.line_length = self.line_length.saturating_add(text);
                run = run.saturating_add(text);
            }
            let taken = match rest.get(text..).unwrap_or_default() {
                [] | [b'\r'] => return (run, Stop::End),
                [b'\r', b'\n', ..] => {
                    self.at_line_start = true;
                    self.line_length = 0;
                    2
                }
                octets => {
                    self.at_line_start = false;
                    if let Some(stop) = self.stray(octets) {
                        return (run, stop);
                    }
                    self.line_length = self.line_length.saturating_add(1);
                    1
                }
            };
            run = run.saturating_add(taken);
        }
    }

    /// What a NUL, or a CR or LF that stands alone, means; nothing when it is content like any other.
    fn stray(&self, octets: &[u8]) -> Option<Stop> {
        let refuse = |fault| (!self.faulty).then_some(Stop::Fault(fault));
        if octets.first() == Some(&0) {
            return if self.allow_nul { None } else { refuse(ContentFault::Nul) };
        }
        match self.bare_newline {
            BareNewline::Reject => refuse(ContentFault::BareNewline),
            BareNewline::Fix | BareNewline::Strip => Some(Stop::BareNewline),
            BareNewline::Pass => None,
        }
    }
}

/// Takes octets of a chunk off the buffer.
fn take(rx: &mut BytesMut, count: usize, left: &mut u64) {
    rx.advance(count);
    *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
}

enum Stop {
    /// The input is used up, or its last octet needs its successor.
    End,
    /// A dot at the start of a line.
    LineStart,
    /// The first fault.
    Fault(ContentFault),
    /// A stray CR or LF to be replaced or left out.
    BareNewline,
}

/// Turns content into what follows a 354 reply: CRLF line ends, dots stuffed, the final dot. Or, for chunks
/// (RFC 3030), into text with CRLF line ends, or what it is.
///
/// Line ends are put right first, dots are stuffed in what comes of that (H-SM-5).
#[derive(Debug)]
pub struct ContentEncoder {
    form: Form,
    bare_newline: BareNewline,
    longest_line: usize,
    line_length: usize,
    /// Octets of content written, without stuffed dots and what ends the message.
    octets: u64,
    position: Position,
    /// A CR was taken whose successor is not known yet.
    after_cr: bool,
}

/// What content is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What follows a 354 reply.
    Stuffed,
    /// Text in chunks.
    Text,
    /// Octets in chunks.
    Binary,
}

/// Where the next octet of what is written stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    LineStart,
    InLine,
    /// Behind a stray CR or LF that was passed on: no line start, but some programs take it for one.
    AfterStray,
}

impl ContentEncoder {
    /// An encoder at the start of a message.
    pub fn new(bare_newline: BareNewline, longest_line: usize) -> Self {
        Self {
            form: Form::Stuffed,
            bare_newline,
            longest_line,
            line_length: 0,
            octets: 0,
            position: Position::LineStart,
            after_cr: false,
        }
    }

    /// An encoder at the start of a message that goes in chunks: no dots are stuffed, and none ends it (BDAT-017).
    pub fn chunked(bare_newline: BareNewline, longest_line: usize) -> Self {
        Self { form: Form::Text, ..Self::new(bare_newline, longest_line) }
    }

    /// An encoder for octets that go in chunks as they are (BINARYMIME).
    pub fn binary() -> Self {
        Self { form: Form::Binary, ..Self::new(BareNewline::Pass, usize::MAX) }
    }

    /// Octets of content written so far, with line ends put right and without stuffed dots.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Moves content from `input` to `out` until the one is empty or the other is at its high-water mark. The
    /// segments in `out` are slices of `input`.
    ///
    /// # Errors
    /// When a line is too long, or with [`BareNewline::Reject`] a CR or LF stands alone. The message cannot be
    /// finished then, and part of it is in `out`.
    pub fn encode(&mut self, input: &mut Bytes, out: &mut Output) -> Result<(), ContentFault> {
        while self.form == Form::Binary && !input.is_empty() && !out.is_full() {
            let piece = input.split_to(input.len().min(out.room()));
            self.count(piece.len());
            out.push(piece);
        }
        while !out.is_full() {
            let Some(first) = input.first().copied() else {
                break;
            };
            if core::mem::take(&mut self.after_cr) {
                let pair = first == b'\n';
                if pair {
                    input.advance(1);
                    self.line_end(out);
                } else {
                    self.stray(b"\r", out)?;
                }
                continue;
            }
            if first == b'.' && self.position != Position::InLine && self.form == Form::Stuffed {
                out.push(Bytes::from_static(b"."));
                self.position = Position::InLine;
            }
            let run = self.run(input.get(..out.room()).unwrap_or(input));
            if self.line_length > self.longest_line {
                return Err(ContentFault::LineTooLong);
            }
            if run > 0 {
                self.count(run);
                out.push(input.split_to(run));
                continue;
            }
            // What stops a run at once is a stray LF, or a CR that is stray or the last octet.
            input.advance(1);
            if first == b'\r' {
                self.after_cr = true;
            } else {
                self.stray(b"\n", out)?;
            }
        }
        Ok(())
    }

    /// Writes what ends the message: a line end where text has none at its end, and the final dot if there is one.
    ///
    /// # Errors
    /// With [`BareNewline::Reject`] when the content ends in a CR.
    pub fn finish(&mut self, out: &mut Output) -> Result<(), ContentFault> {
        if core::mem::take(&mut self.after_cr) {
            self.stray(b"\r", out)?;
        }
        if self.position != Position::LineStart && self.form != Form::Binary {
            self.line_end(out);
        }
        if self.form == Form::Stuffed {
            out.push(Bytes::from_static(b".\r\n"));
        }
        Ok(())
    }

    /// How many octets can go out as they stand: up to a dot to be stuffed, or a CR or LF that is not a CRLF.
    fn run(&mut self, input: &[u8]) -> usize {
        let mut run = 0usize;
        loop {
            let rest = input.get(run..).unwrap_or_default();
            let stuffed = self.form == Form::Stuffed && rest.first() == Some(&b'.');
            if run > 0 && self.position == Position::LineStart && stuffed {
                return run;
            }
            let text = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            if text > 0 {
                self.position = Position::InLine;
                run = run.saturating_add(text);
                self.line_length = self.line_length.saturating_add(text);
                if self.line_length > self.longest_line {
                    return run;
                }
            }
            if !rest.get(text..).unwrap_or_default().starts_with(CRLF) {
                return run;
            }
            self.position = Position::LineStart;
            self.line_length = 0;
            run = run.saturating_add(2);
        }
    }

    fn count(&mut self, octets: usize) {
        self.octets = self.octets.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
    }

    fn line_end(&mut self, out: &mut Output) {
        out.push(Bytes::from_static(CRLF));
        self.count(CRLF.len());
        self.line_length = 0;
        self.position = Position::LineStart;
    }

    /// Deals with a CR or LF that stands alone.
    fn stray(&mut self, octet: &'static [u8], out: &mut Output) -> Result<(), ContentFault> {
        match self.bare_newline {
            BareNewline::Reject => return Err(ContentFault::BareNewline),
            BareNewline::Fix => self.line_end(out),
            BareNewline::Strip => {}
            BareNewline::Pass => {
                out.push(Bytes::from_static(octet));
                self.count(octet.len());
                self.line_length = self.line_length.saturating_add(1);
                self.position = Position::AfterStray;
            }
        }
        Ok(())
    }
}

/// What a look at a whole message shows before any of it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// Octets with line ends put right and before dots are stuffed: what SIZE states (RFC 1870 section 5).
    pub size: u64,
    /// Whether an octet has its top bit set.
    pub eight_bit: bool,
    /// Whether a CR or LF stands alone.
    pub bare_newline: bool,
    /// Octets of the longest line without its line end.
    pub longest_line: usize,
}

impl Survey {
    /// Looks through the content as it will be sent under this policy.
    pub fn new(content: &[u8], policy: BareNewline) -> Self {
        let mut survey = Self { eight_bit: !content.is_ascii(), ..Self::default() };
        let (mut start, mut line, mut fixed, mut dropped) = (0usize, 0usize, 0u64, 0u64);
        for at in memchr::memchr2_iter(b'\r', b'\n', content) {
            if at < start {
                // The LF of a CRLF.
                continue;
            }
            line = line.saturating_add(at.saturating_sub(start));
            let end = at.saturating_add(1);
            if content.get(at..).unwrap_or_default().starts_with(CRLF) {
                start = end.saturating_add(1);
            } else {
                survey.bare_newline = true;
                start = end;
                match policy {
                    BareNewline::Fix => fixed = fixed.saturating_add(1),
                    BareNewline::Reject => {}
                    BareNewline::Strip => {
                        dropped = dropped.saturating_add(1);
                        continue;
                    }
                    BareNewline::Pass => {
                        line = line.saturating_add(1);
                        continue;
                    }
                }
            }
            survey.longest_line = survey.longest_line.max(line);
            line = 0;
        }
        line = line.saturating_add(content.len().saturating_sub(start));
        survey.longest_line = survey.longest_line.max(line);
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let unfinished = if line > 0 { 2 } else { 0 };
        survey.size = length.saturating_add(fixed).saturating_sub(dropped).saturating_add(unfinished);
        survey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::String;
    use alloc::vec::Vec;

    const POLICIES: [BareNewline; 4] = [BareNewline::Reject, BareNewline::Fix, BareNewline::Strip, BareNewline::Pass];

    /// Every string up to this length over the octets that mean something here and one that does not.
    fn strings(length: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..=length).flat_map(|length| {
            (0..5usize.pow(length as u32)).map(move |mut number| {
                (0..length)
                    .map(|_| {
                        let octet = b"\r\n.a\0"[number % 5];
                        number /= 5;
                        octet
                    })
                    .collect()
            })
        })
    }

    /// Content, the first fault with its place in it, and what is left over behind the final dot.
    type Outcome = (Vec<u8>, Option<(ContentFault, usize)>, Option<Vec<u8>>);

    fn decode(raw: &[u8], step: usize, policy: BareNewline) -> Outcome {
        let mut decoder = ContentDecoder::new(policy, false, MAX_TEXT_LINE);
        let (mut rx, mut content, mut first_fault) = (BytesMut::new(), Vec::new(), None);
        let mut pieces = raw.chunks(step);
        loop {
            match decoder.decode(&mut rx) {
                Decoded::Content(piece) => content.extend_from_slice(&piece),
                Decoded::Fault(fault) => {
                    assert_eq!(first_fault.replace((fault, content.len())), None);
                }
                Decoded::Partial => {
                    assert!(rx.len() <= 2, "{rx:?} is held back");
                    match pieces.next() {
                        Some(piece) => rx.extend_from_slice(piece),
                        None => return (content, first_fault, None),
                    }
                }
                Decoded::End => {
                    for piece in pieces {
                        rx.extend_from_slice(piece);
                    }
                    return (content, first_fault, Some(rx.to_vec()));
                }
            }
        }
    }

    fn encode(content: &[u8], step: usize, policy: BareNewline) -> Result<Vec<u8>, ContentFault> {
        let mut encoder = ContentEncoder::new(policy, MAX_TEXT_LINE);
        let mut out = Output::new();
        for piece in content.chunks(step.max(1)) {
            encoder.encode(&mut Bytes::copy_from_slice(piece), &mut out)?;
        }
        encoder.finish(&mut out)?;
        Ok(out.copy_to_bytes(out.remaining()).to_vec())
    }

    /// Where a message ends, by the definition and nothing else (DATA-003, DATA-005).
    fn end_of_data(raw: &[u8]) -> Option<usize> {
        let framed = [b"\r\n", raw].concat();
        framed.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 3)
    }

    #[test]
    fn framing_follows_the_definition_whatever_the_policy_and_the_segmentation() {
        // DATA-003, DATA-005, WIRE-003, H-SM-1, H-SM-2, P1, P10
        for raw in strings(if cfg!(debug_assertions) { 7 } else { 9 }) {
            let end = end_of_data(&raw);
            for policy in POLICIES {
                let whole = decode(&raw, raw.len().max(1), policy);
                assert_eq!(whole.2.as_deref(), end.map(|end| &raw[end..]), "{raw:?} {policy:?}");
                for step in 1..raw.len().min(4) {
                    assert_eq!(decode(&raw, step, policy), whole, "{raw:?} {policy:?} in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn content_comes_out_unstuffed_and_with_the_policy_applied() {
        // DATA-004, DATA-006, DATA-013, H-SM-7
        let content = |raw: &[u8], policy| {
            let (content, fault, rest) = decode(raw, raw.len(), policy);
            assert_eq!(rest.as_deref(), Some(&b""[..]));
            (String::from_utf8(content).unwrap(), fault.map(|(fault, _)| fault))
        };
        let bare = Some(ContentFault::BareNewline);
        for (raw, policy, expected, fault) in [
            (&b".\r\n"[..], BareNewline::Reject, "", None),
            (b"a\r\n.\r\n", BareNewline::Reject, "a\r\n", None),
            (b"..x\r\n.x\r\n..\r\n.\r\n", BareNewline::Reject, ".x\r\nx\r\n.\r\n", None),
            (b"a\nb\r\n.\r\n", BareNewline::Reject, "a\nb\r\n", bare),
            (b"a\nb\rc\r\n.\r\n", BareNewline::Fix, "a\r\nb\r\nc\r\n", None),
            (b"a\nb\rc\r\n.\r\n", BareNewline::Strip, "abc\r\n", None),
            (b"a\nb\rc\r\n.\r\n", BareNewline::Pass, "a\nb\rc\r\n", None),
            (b"a\n.\n.\r\r\n.\r\n", BareNewline::Fix, "a\r\n.\r\n.\r\n\r\n", None),
            (b".\rx\r\n.\r\n", BareNewline::Pass, "\rx\r\n", None),
            (b"a\0\r\n.\r\n", BareNewline::Fix, "a\0\r\n", Some(ContentFault::Nul)),
        ] {
            assert_eq!(content(raw, policy), (expected.into(), fault), "{raw:?} {policy:?}");
        }
        let every_octet: Vec<u8> = (1..=255).filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
        let (decoded, fault, _) = decode(&[&every_octet[..], b"\r\n.\r\n"].concat(), 7, BareNewline::Reject);
        assert_eq!((decoded, fault), ([&every_octet[..], b"\r\n"].concat(), None));
    }

    #[test]
    fn long_lines_are_found_at_the_limit_and_a_stuffed_dot_does_not_count() {
        // LIM-002
        let fault = |line: String, step| {
            decode((line + "\r\n.\r\n").as_bytes(), step, BareNewline::Reject).1.map(|(fault, _)| fault)
        };
        for step in [1, 7, 5000] {
            assert_eq!(fault("x".repeat(998), step), None);
            assert_eq!(fault("x".repeat(999), step), Some(ContentFault::LineTooLong));
            assert_eq!(fault(String::from("..") + &"x".repeat(997), step), None);
            assert_eq!(fault(String::from("..") + &"x".repeat(998), step), Some(ContentFault::LineTooLong));
        }
    }

    #[test]
    fn what_is_encoded_ends_once_and_decodes_to_the_same_content() {
        // DATA-007, DATA-008, DATA-009, DATA-015, WIRE-002, H-SM-4, H-SM-5, P8, P9
        for content in strings(if cfg!(debug_assertions) { 7 } else { 9 }) {
            for policy in POLICIES {
                let whole = encode(&content, content.len(), policy);
                for step in 1..content.len().min(4) {
                    assert_eq!(encode(&content, step, policy), whole, "{content:?} {policy:?} in steps of {step}");
                }
                let survey = Survey::new(&content, policy);
                let Ok(raw) = whole else {
                    assert!(policy == BareNewline::Reject && survey.bare_newline, "{content:?} {policy:?}");
                    continue;
                };
                let (received, fault, rest) = decode(&raw, raw.len(), BareNewline::Reject);
                assert_eq!(rest.as_deref(), Some(&b""[..]), "{content:?} {policy:?} as {raw:?}");
                if policy == BareNewline::Pass {
                    // Some peers end a line at a stray octet: no dot may stand alone behind one.
                    let lenient: Vec<u8> =
                        raw.iter().map(|octet| if *octet == b'\r' { b'\n' } else { *octet }).collect();
                    let ends = lenient.windows(3).filter(|window| window == b"\n.\n").count();
                    assert_eq!(ends + usize::from(lenient.starts_with(b".\n")), 1, "{content:?} as {raw:?}");
                    continue;
                }
                assert!(!matches!(fault, Some((ContentFault::BareNewline, _))), "{content:?} {policy:?} as {raw:?}");
                assert_eq!(survey.size, received.len() as u64, "{content:?} {policy:?} as {raw:?}");
                let longest = received.split(|octet| *octet == b'\n').map(|line| line.len().saturating_sub(1)).max();
                assert_eq!(survey.longest_line, longest.unwrap_or(0), "{content:?} {policy:?}");
                let canonical = content.is_empty() || content.ends_with(b"\r\n");
                if canonical && !survey.bare_newline {
                    assert_eq!(received, content);
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_never_finished() {
        // LIM-003
        for step in [1, 7, 5000] {
            assert!(encode("x".repeat(998).as_bytes(), step, BareNewline::Fix).is_ok());
            assert!(encode((String::from(".") + &"x".repeat(997)).as_bytes(), step, BareNewline::Fix).is_ok());
            let fault = encode(("a\r\n".to_owned() + &"x".repeat(999)).as_bytes(), step, BareNewline::Fix);
            assert_eq!(fault, Err(ContentFault::LineTooLong));
        }
    }

    #[test]
    fn content_is_sliced_and_never_copied() {
        let text = Bytes::from(Vec::from(&b"first\r\n.second\r\nthird\nfourth"[..]));
        let range = text.as_ptr_range();
        let mut out = Output::new();
        let mut encoder = ContentEncoder::new(BareNewline::Fix, MAX_TEXT_LINE);
        encoder.encode(&mut text.clone(), &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        let inside: usize = out.segments().filter(|segment| range.contains(&segment.as_ptr())).map(<[u8]>::len).sum();
        assert_eq!(inside, text.len() - 1, "all but the LF that became a CRLF");

        let mut rx = BytesMut::from(&b"first\r\n..second\r\n.\r\n"[..]);
        let range = rx.as_ptr_range();
        let mut decoder = ContentDecoder::new(BareNewline::Reject, false, MAX_TEXT_LINE);
        while let Decoded::Content(piece) = decoder.decode(&mut rx) {
            assert!(range.contains(&piece.as_ptr()));
        }
    }
}
