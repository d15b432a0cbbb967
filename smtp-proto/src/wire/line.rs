//! Command lines out of a stream of octets: CRLF ends a line and nothing else does (RFC 5321 section 2.3.8).

use bytes::{Buf, BytesMut};

/// Cuts lines off the front of a buffer, looking at each octet once.
#[derive(Debug, Default)]
pub struct LineReader {
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    /// Octets of the current line that were thrown away because it is too long already.
    discarded: usize,
}

/// What the front of the buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line without its CRLF.
    Whole(BytesMut),
    /// The line that ended here was longer than allowed; it is gone.
    TooLong,
    /// The line is so long that nobody reads to its end.
    Endless,
    /// No line end yet.
    Partial,
}

impl LineReader {
    /// A reader at the start of a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the front of the buffer is the front of a line: nothing of it was thrown away.
    pub fn is_at_start(&self) -> bool {
        self.discarded == 0
    }

    /// Takes one line of at most `longest` octets with its CRLF. Of a longer one, up to `patience` octets are
    /// thrown away in search of its end.
    pub fn read(&mut self, rx: &mut BytesMut, longest: usize, patience: usize) -> Line {
        loop {
            let unseen = rx.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unseen) else {
                return self.partial(rx, longest, patience);
            };
            let feed = self.scanned.saturating_add(offset);
            let end = feed.saturating_add(1);
            if feed.checked_sub(1).and_then(|before| rx.get(before)) != Some(&b'\r') {
                self.scanned = end;
                continue;
            }
            self.scanned = 0;
            let discarded = core::mem::take(&mut self.discarded);
            let length = end.saturating_add(discarded);
            if length > patience.max(longest) {
                return Line::Endless;
            }
            // A line that has lost its front stays too long, whatever the limit is now.
            if discarded > 0 || length > longest {
                rx.advance(end);
                return Line::TooLong;
            }
            let mut line = rx.split_to(end);
            line.truncate(end.saturating_sub(2));
            return Line::Whole(line);
        }
    }

    fn partial(&mut self, rx: &mut BytesMut, longest: usize, patience: usize) -> Line {
        self.scanned = rx.len();
        if self.discarded.saturating_add(rx.len()) > patience.max(longest) {
            return Line::Endless;
        }
        if self.discarded > 0 || rx.len() > longest {
            // The last octet may be the CR of the line end.
            let surplus = rx.len().saturating_sub(1);
            self.discarded = self.discarded.saturating_add(surplus);
            rx.advance(surplus);
            self.scanned = rx.len();
        }
        Line::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn lines(input: &[u8], step: usize) -> Vec<Line> {
        let (mut reader, mut rx, mut found) = (LineReader::new(), BytesMut::new(), Vec::new());
        for piece in input.chunks(step) {
            rx.extend_from_slice(piece);
            loop {
                match reader.read(&mut rx, 16, 64) {
                    Line::Partial => break,
                    Line::Endless => {
                        found.push(Line::Endless);
                        return found;
                    }
                    line => found.push(line),
                }
            }
        }
        found
    }

    #[test]
    fn lines_are_the_same_in_every_segmentation() {
        // WIRE-001, P1
        let whole = |text: &'static [u8]| Line::Whole(BytesMut::from(text));
        let cases: [(Vec<u8>, Vec<Line>); 7] = [
            (b"a\r\n\r\nbc\r\nd".to_vec(), vec![whole(b"a"), whole(b""), whole(b"bc")]),
            (b"a\nb\rc\r\n\n\r\n".to_vec(), vec![whole(b"a\nb\rc"), whole(b"\n")]),
            ([&[b'x'; 14][..], b"\r\nok\r\n"].concat(), vec![whole(b"xxxxxxxxxxxxxx"), whole(b"ok")]),
            ([&[b'x'; 15][..], b"\r\nok\r\n"].concat(), vec![Line::TooLong, whole(b"ok")]),
            ([&[b'x'; 62][..], b"\r\nok\r\n"].concat(), vec![Line::TooLong, whole(b"ok")]),
            ([&[b'x'; 63][..], b"\r\nok\r\n"].concat(), vec![Line::Endless]),
            (vec![b'\r'; 65], vec![Line::Endless]),
        ];
        for (input, expected) in cases {
            for step in 1..=input.len() {
                assert_eq!(lines(&input, step), expected, "{input:?} in steps of {step}");
            }
        }
    }
}
