//! A record of the dialogue for people: every command and reply as it passes, content only by its size, authentication
//! without what is said in it. What is not printable is replaced or escaped, and over-long lines of replies are folded.

use alloc::boxed::Box;
use core::fmt;

use crate::time::Instant;
use crate::tls::TlsInfo;
use crate::wire::Escaped;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// One entry of a transcript. Displayed as `C: EHLO client.example`, with what is secret as `***`, and with everything
/// escaped that could act on a terminal.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// When the machine dealt with it.
    pub at: Instant,
    /// Who said it.
    pub speaker: Speaker,
    /// What was said.
    pub said: Said<'a>,
}

/// What was said.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Said<'a> {
    /// A command, or one line of a reply, without its line end.
    Line(Escaped<'a>),
    /// The content of a message, or what there was of it: so many octets, dots unstuffed.
    Content(u64),
    /// TLS began, of this version and cipher suite.
    Tls(&'a str, &'a str),
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Said::Tls(version, cipher_suite) = self.said {
            return write!(f, "-- {version} {cipher_suite}");
        }
        f.write_str(match self.speaker {
            Speaker::Client => "C: ",
            Speaker::Server => "S: ",
        })?;
        match self.said {
            Said::Line(line) => line.fmt(f),
            Said::Content(octets) => write!(f, "({octets} octets of content)"),
            Said::Tls(..) => Ok(()),
        }
    }
}

/// What receives the entries.
pub type Tap = Box<dyn FnMut(Entry<'_>) + Send>;

/// The tap of a machine, if it has one.
#[derive(Default)]
pub(crate) struct Transcript(Option<Tap>);

impl Transcript {
    pub(crate) fn set(&mut self, tap: Tap) {
        self.0 = Some(tap);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn line(&mut self, at: Instant, speaker: Speaker, line: &[u8]) {
        self.entry(Entry { at, speaker, said: Said::Line(Escaped(line)) });
    }

    /// The lines of a text that ends in CRLF.
    pub(crate) fn lines(&mut self, at: Instant, speaker: Speaker, text: &[u8]) {
        if self.is_on() {
            for line in text.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
                self.line(at, speaker, line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
    }

    pub(crate) fn content(&mut self, at: Instant, speaker: Speaker, octets: u64) {
        self.entry(Entry { at, speaker, said: Said::Content(octets) });
    }

    /// The client begins TLS.
    pub(crate) fn tls(&mut self, at: Instant, tls: &TlsInfo) {
        let said = Said::Tls(&tls.version, &tls.cipher_suite);
        self.entry(Entry { at, speaker: Speaker::Client, said });
    }

    fn entry(&mut self, entry: Entry<'_>) {
        if let Some(tap) = &mut self.0 {
            tap(entry);
        }
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Transcript(on)" } else { "Transcript(off)" })
    }
}
