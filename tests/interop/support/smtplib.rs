//! Python's smtplib, the client that says what it is told to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::messages::Message;
use super::peers;
use super::process::{Finished, run};

/// A Python that has it.
pub(crate) struct Smtplib(PathBuf);

impl Smtplib {
    /// `None` if it is not installed.
    pub(crate) fn find() -> Option<Self> {
        peers::python("smtplib, ssl", "Debian package python3").map(Self)
    }

    /// Sends a message. The options are those of the script; the last line that it prints has the recipients that were
    /// refused, with the replies to them.
    pub(crate) fn send(
        &self,
        server: SocketAddr,
        message: &Message,
        sender: &str,
        recipients: &[&str],
        options: &Value,
    ) -> Finished {
        let folder = TempDir::new().expect("a folder");
        let file = message.write_to(folder.path(), b"");
        run(
            Command::new(&self.0)
                .env("PEER_OPTIONS", options.to_string())
                .args(["-c", include_str!("../smtplib_peer.py")])
                .args([server.ip().to_string(), server.port().to_string()])
                .arg(file)
                .arg(sender)
                .args(recipients),
            Stdio::null(),
        )
    }
}
