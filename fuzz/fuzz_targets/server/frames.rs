//! Where lines and content are in what the client sends, by their definitions and nothing else.

use std::ops::Range;

use smtp_fuzz::{applied, with_line_ends};
use smtp_proto::wire::{BareNewline, Command};

pub struct Frames<'a> {
    octets: &'a [u8],
    /// The end of the last line, or of the content behind it, that the server took as a whole.
    pub at: usize,
    /// How many octets have been searched for a line end.
    searched: usize,
    /// Octets before this are content.
    content: usize,
    /// Nothing counts before the connection was told of: there may be a PROXY header.
    begun: bool,
    /// The next line answers a challenge.
    pub exchange: bool,
    /// What the message consists of that is coming in.
    pieces: Vec<Piece>,
    last: Option<Command>,
    /// The longest command line, in octets with its CRLF.
    longest: usize,
}

enum Piece {
    /// Behind DATA.
    Data(Range<usize>),
    /// A chunk, with whether it is the last.
    Chunk(Range<usize>, bool),
    Url,
}

/// A line that was taken, without its CRLF.
pub struct Taken<'a> {
    pub line: &'a [u8],
    pub exchange: bool,
}

impl<'a> Frames<'a> {
    pub fn new(octets: &'a [u8], longest: usize) -> Self {
        let (at, searched, content) = (0, 0, 0);
        Self { octets, at, searched, content, begun: false, exchange: false, pieces: Vec::new(), last: None, longest }
    }

    /// The server has taken so many octets; gives the lines among them.
    pub fn advance(&mut self, taken: usize) -> Vec<Taken<'a>> {
        let mut lines = Vec::new();
        while self.begun {
            if self.content > self.at {
                if taken < self.content {
                    break;
                }
                self.at = self.content;
            }
            let from = self.searched.saturating_sub(1).max(self.at);
            let unseen = self.octets.get(from..taken).unwrap_or_default();
            let Some(offset) = unseen.windows(2).position(|pair| pair == b"\r\n") else {
                self.searched = taken;
                break;
            };
            let line = &self.octets[self.at..from + offset];
            self.at = from + offset + 2;
            self.searched = self.at;
            let exchange = std::mem::take(&mut self.exchange);
            lines.push(Taken { line, exchange });
            let whole = !exchange && line.len() + 2 <= self.longest;
            self.last = whole.then(|| Command::parse(line).ok()).flatten();
            if let Some(Command::Bdat { size, last }) = &self.last {
                self.content = usize::try_from(*size).unwrap_or(usize::MAX).saturating_add(self.at);
                self.pieces.push(Piece::Chunk(self.at..self.content, *last));
            }
        }
        lines
    }

    /// The server told of the connection, or TLS began, when it had taken so many octets.
    pub fn begin(&mut self, taken: usize) {
        (self.begun, self.exchange) = (true, false);
        (self.at, self.searched, self.content) = (taken, taken, 0);
    }

    /// Whether the server stands behind a whole line or content, where it may ask something.
    pub fn at_boundary(&self, taken: usize) -> bool {
        self.at == taken
    }

    /// A message begins, or begins to be refused.
    pub fn message(&mut self, accepted: bool) {
        match &self.last {
            Some(Command::Data) if accepted => {
                self.content = end_of_data(self.octets, self.at);
                self.pieces = vec![Piece::Data(self.at..self.content)];
            }
            Some(Command::Bdat { .. }) => drop(self.pieces.drain(..self.pieces.len() - 1)),
            _ => self.pieces.clear(),
        }
    }

    /// A piece of it is elsewhere.
    pub fn url(&mut self) {
        self.pieces.push(Piece::Url);
    }

    /// What the message consists of with this policy, at its end.
    pub fn whole(&self, policy: BareNewline, binary: bool) -> Option<Vec<u8>> {
        let (mut made, mut chunks) = (Vec::new(), Vec::new());
        let mut last = None;
        for piece in &self.pieces {
            match piece {
                Piece::Data(range) => {
                    assert!(range.end == self.at && self.pieces.len() == 1, "a message by DATA and BDAT");
                    return applied(&unstuffed(&self.octets[range.start..range.end - 3]), policy);
                }
                Piece::Chunk(range, is_last) => {
                    assert_ne!(last, Some(true), "a chunk behind the last");
                    chunks.extend_from_slice(&self.octets[range.clone()]);
                    last = Some(*is_last);
                }
                Piece::Url => {
                    made.extend(closed(&mut chunks, policy, binary)?);
                    last = None;
                }
            }
        }
        assert_ne!(last, Some(false), "the end of a message that has none");
        made.extend(closed(&mut chunks, policy, binary)?);
        Some(made)
    }
}

fn closed(chunks: &mut Vec<u8>, policy: BareNewline, binary: bool) -> Option<Vec<u8>> {
    let chunks = std::mem::take(chunks);
    if binary { Some(chunks) } else { with_line_ends(&chunks, policy) }
}

/// The end of the message that begins at `start`.
fn end_of_data(octets: &[u8], start: usize) -> usize {
    let raw = &octets[start..];
    match raw.starts_with(b".\r\n") {
        true => start + 3,
        false => raw.windows(5).position(|window| window == b"\r\n.\r\n").map_or(usize::MAX, |at| start + at + 5),
    }
}

fn unstuffed(raw: &[u8]) -> Vec<u8> {
    let stuffed = |at: usize| raw[at] == b'.' && (at == 0 || raw[..at].ends_with(b"\r\n"));
    (0..raw.len()).filter(|at| !stuffed(*at)).map(|at| raw[at]).collect()
}
