//! smtp-sink, which takes everything, or refuses what it is told to.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::peers;
use super::process::{Process, start_server};

/// `None` if it is not installed.
pub(crate) fn start(options: &[&str]) -> Option<(Process, SocketAddr)> {
    let program = peers::program("smtp-sink", "Debian package postfix")?;
    Some(start_server(|address, hostname| {
        let mut command = Command::new(&program);
        if peers::is_root() {
            // smtp-sink refuses to run with root's rights.
            command.args(["-u", "nobody"]);
        }
        command.args(options).args(["-h", hostname]).arg(address.to_string()).arg("100");
        Process::start(&mut command, Stdio::null())
    }))
}
