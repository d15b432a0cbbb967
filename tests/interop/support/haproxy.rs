//! HAProxy in front of a server.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::peers;
use super::process::Process;

/// A running HAProxy that passes connections on to one server.
pub(crate) struct HaProxy {
    pub(crate) address: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl HaProxy {
    /// `None` if it is not installed. The options are those of HAProxy for its server; with `check` among them it asks
    /// by EHLO, as `haproxy.example`, whether the server is there.
    pub(crate) fn start(server: SocketAddr, options: &str) -> Option<Self> {
        let haproxy = peers::program("haproxy", "Debian package haproxy")?;
        // It takes a socket that listens already.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        let configuration = format!(
            "global\n\
             log stdout format raw daemon\n\
             defaults\n\
             mode tcp\n\
             log global\n\
             timeout connect 120s\n\
             timeout client 120s\n\
             timeout server 120s\n\
             listen mail\n\
             bind fd@0\n\
             option smtpchk EHLO haproxy.example\n\
             option log-health-checks\n\
             server receive {server} {options}\n"
        );
        fs::write(&file, configuration).expect("write haproxy.cfg");
        let process =
            Process::start(Command::new(haproxy).arg("-db").arg("-f").arg(&file), Stdio::from(OwnedFd::from(listener)));
        Some(Self { address, process, _folder: folder })
    }

    /// The next line of the log with this in it.
    pub(crate) fn logged(&mut self, what: &str) -> String {
        loop {
            match self.process.next_line() {
                Some(line) if line.contains(what) => return line,
                Some(_) => {}
                None => self.process.fail("ended"),
            }
        }
    }
}
