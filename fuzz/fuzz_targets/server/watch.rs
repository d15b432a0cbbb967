//! All that is shown, and whether there is a secret in it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use smtp_fuzz::shows_secret;
use smtp_proto::server::Server;
use smtp_proto::wire::Command;

use crate::frames::Taken;

/// All that is shown, and which of the client's lines may be among it.
pub struct Watch {
    /// Whether a line that is no command may belong to an authentication.
    pub auth: bool,
    open: Vec<u8>,
    shown: Arc<Mutex<String>>,
    longest: usize,
    /// Where nobody authenticates, there is nothing to see but the transcript.
    on: bool,
}

impl Watch {
    pub fn new(octets: &[u8], server: &mut Server, longest: usize) -> Self {
        let on = octets.windows(4).any(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
        let shown = Arc::new(Mutex::new(String::new()));
        let tap = Arc::clone(&shown);
        server.set_transcript(Box::new(move |entry| {
            let line = entry.to_string();
            assert!(!line.contains(char::is_control), "a control character in the transcript");
            if on {
                tap.lock().expect("one thread").push_str(&format!("{line}\n{entry:?}\n"));
            }
        }));
        Self { auth: false, open: Vec::new(), shown, longest, on }
    }

    pub fn show(&self, thing: &dyn Debug) {
        if self.on {
            self.shown.lock().expect("one thread").push_str(&format!("{thing:?}\n"));
        }
    }

    /// Looks at a line that the server took. Content is never shown.
    pub fn line(&mut self, taken: &Taken<'_>) {
        let line = taken.line;
        let starts =
            |line: &[u8], with: &[u8]| line.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        // Longer ones are shown nowhere.
        if !taken.exchange && (line.len() + 2 <= self.longest || starts(line, b"AUTH ")) {
            let known = !matches!(Command::parse(line), Err(_) | Ok(Command::Other { .. }));
            self.auth = starts(line.trim_ascii_start(), b"AUTH") || self.auth && !known;
            if !self.auth {
                self.open.extend_from_slice(line);
            }
        }
    }

    pub fn check(&self) {
        let shown = self.shown.lock().expect("one thread");
        assert!(!shows_secret(shown.as_bytes()) || shows_secret(&self.open), "a secret is shown: {shown}");
    }
}
