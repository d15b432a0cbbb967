//! A record of the dialogue for people: every command and reply as it passes, content only by its size, authentication
//! without what is said in it. What is not printable is replaced or escaped, and over-long lines of replies are folded.

use alloc::boxed::Box;
use core::fmt;
#[cfg(feature = "std")]
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Which session of a connector, counted from 1 in the order in which they began; of a server, the
    /// [`id`](crate::server::Connection::id) of the connection. 0 where a machine is driven by hand.
    pub session: u64,
    /// When the machine dealt with it. In the adapters, time begins with the session.
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

/// What receives the entries. The session waits for it.
pub type Tap = Box<dyn FnMut(Entry<'_>) + Send>;

/// A tap that writes a line for each entry: the number of the session, the seconds since it began, who said what.
///
/// Each line is one call of [`write_all`](std::io::Write::write_all), so that sessions do not mix within one; nothing is
/// flushed. A line that the writer does not take is lost, and the session goes on.
///
/// ```
/// use smtp_proto::client::{Client, Config};
/// use smtp_proto::{Instant, transcript};
/// let mut client = Client::new(Config::new("client.example.org")?, Instant::default());
/// // Prints lines such as `0 0.042 C: EHLO client.example.org`.
/// client.set_transcript(Box::new(transcript::to_writer(std::io::stderr())));
/// # Ok::<(), smtp_proto::InvalidArgument>(())
/// ```
#[cfg(feature = "std")]
pub fn to_writer(mut writer: impl std::io::Write + Send) -> impl FnMut(Entry<'_>) + Send {
    move |entry| {
        let Entry { session, at, .. } = entry;
        let (seconds, milliseconds) = (at.elapsed().as_secs(), at.elapsed().subsec_millis());
        let line = alloc::format!("{session} {seconds}.{milliseconds:03} {entry}\n");
        // What goes wrong with the record is no concern of the session.
        let _ = writer.write_all(line.as_bytes());
    }
}

/// A tap that the sessions of a connector or a server share.
#[cfg(feature = "std")]
#[derive(Clone)]
pub(crate) struct SharedTap {
    tap: Arc<Mutex<Tap>>,
    sessions: Arc<Mutex<u64>>,
}

#[cfg(feature = "std")]
impl SharedTap {
    pub(crate) fn new(tap: impl FnMut(Entry<'_>) + Send + 'static) -> Self {
        Self { tap: Arc::new(Mutex::new(Box::new(tap))), sessions: Arc::default() }
    }

    /// For the session of this number.
    pub(crate) fn tap(self, session: u64) -> Tap {
        Box::new(move |entry| {
            (*self.tap.lock().unwrap_or_else(PoisonError::into_inner))(Entry { session, ..entry });
        })
    }

    /// For the next session.
    pub(crate) fn next_tap(self) -> Tap {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        *sessions = sessions.saturating_add(1);
        let session = *sessions;
        drop(sessions);
        self.tap(session)
    }
}

#[cfg(feature = "std")]
impl fmt::Debug for SharedTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedTap")
    }
}

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
        self.entry(Entry { session: 0, at, speaker, said: Said::Line(Escaped(line)) });
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
        self.entry(Entry { session: 0, at, speaker, said: Said::Content(octets) });
    }

    /// The client begins TLS.
    pub(crate) fn tls(&mut self, at: Instant, tls: &TlsInfo) {
        let said = Said::Tls(&tls.version, &tls.cipher_suite);
        self.entry(Entry { session: 0, at, speaker: Speaker::Client, said });
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

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::time::Duration;
    use std::io;

    /// Takes every second line.
    #[derive(Clone, Default)]
    struct Fickle(Arc<Mutex<(usize, Vec<u8>)>>);

    impl io::Write for Fickle {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let (calls, taken) = &mut *self.0.lock().unwrap();
            *calls += 1;
            if *calls % 2 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            taken.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn lines_tell_session_time_and_speaker_and_what_is_not_taken_is_lost() {
        let writer = Fickle::default();
        let shared = SharedTap::new(to_writer(writer.clone()));
        let mut taps = [shared.clone().next_tap(), shared.clone().next_tap(), shared.tap(77)];
        let mut say = |tap: usize, at: u64, speaker, text: &[u8]| {
            let at = Instant::since_epoch(Duration::from_millis(at));
            taps[tap](Entry { session: 0, at, speaker, said: Said::Line(Escaped(text)) });
        };
        say(0, 7, Speaker::Server, b"220 mail.example");
        say(0, 7, Speaker::Client, b"lost");
        say(1, 61_042, Speaker::Client, b"EHLO \x1b[2J\r\n2 0.000 S: 250 forged");
        say(1, 61_042, Speaker::Client, b"lost");
        say(2, 0, Speaker::Server, b"221 Bye");
        let taken = String::from_utf8(writer.0.lock().unwrap().1.clone()).unwrap();
        let lines: Vec<&str> = taken.split_terminator('\n').collect();
        assert_eq!(lines.len(), 3, "{taken:?}");
        assert_eq!(lines[0], "1 0.007 S: 220 mail.example");
        assert!(lines[1].starts_with("2 61.042 C: EHLO ") && !lines[1].contains(char::is_control), "{taken:?}");
        assert_eq!(lines[2], "77 0.000 S: 221 Bye");
    }
}
