//! nodemailer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::messages::{Message, RECIPIENTS, SENDER};
use super::peers;
use super::process::{Finished, run};

/// Node, and the folder with nodemailer in it.
pub(crate) struct Nodemailer(PathBuf, PathBuf);

impl Nodemailer {
    /// `None` if it is not installed.
    pub(crate) fn find() -> Option<Self> {
        peers::node("nodemailer").map(|(node, modules)| Self(node, modules))
    }

    /// Sends a message to all recipients.
    pub(crate) fn send(&self, server: SocketAddr, message: &Message) -> Finished {
        let folder = TempDir::new().expect("a folder");
        let file = message.write_to(folder.path(), b"");
        run(
            Command::new(&self.0)
                .env("NODE_PATH", &self.1)
                .args(["-e", include_str!("../nodemailer_peer.js"), "--"])
                .args([server.ip().to_string(), server.port().to_string()])
                .arg(file)
                .arg(SENDER)
                .args(RECIPIENTS),
            Stdio::null(),
        )
    }
}
