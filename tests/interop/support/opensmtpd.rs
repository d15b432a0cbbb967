//! OpenSMTPD with a root folder of its own.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use super::process::{Process, start_server};
use super::root::Root;

/// A running OpenSMTPD.
pub(crate) struct OpenSmtpd {
    process: Process,
    pub(crate) address: SocketAddr,
    root: Root,
}

impl OpenSmtpd {
    /// One that takes mail for everybody and relays it all. `scheme` is of the relay: `smtp` or `lmtp`. `None` if it is
    /// not installed.
    pub(crate) fn start(scheme: &str, relay: SocketAddr) -> Option<Self> {
        let actions = |hostname: &str| {
            format!(
                "action \"out\" relay host {scheme}://{relay} helo {hostname}\n\
                 match from any for any action \"out\"\n"
            )
        };
        Self::start_with(actions, &[])
    }

    /// One that takes mail for these recipients and keeps it in its queue. `None` if it is not installed.
    pub(crate) fn start_keeping(recipients: &[&str]) -> Option<Self> {
        let known: Vec<_> = recipients.iter().map(|address| format!("\"{address}\"")).collect();
        let actions = |_: &str| {
            format!(
                "smtp max-message-size 32M\n\
             table known {{ {} }}\n\
             action \"out\" relay host smtp://localhost\n\
             match from any for rcpt-to <known> action \"out\"\n",
                known.join(", ")
            )
        };
        Self::start_with(actions, &["-P", "mta"])
    }

    fn start_with(actions: impl Fn(&str) -> String, options: &[&str]) -> Option<Self> {
        let root = Root::copy("SMTP_INTEROP_OPENSMTPD", "OpenSMTPD")?;
        // It is particular about the modes of these.
        for folder in ["var/spool/smtpd", "var/lib/opensmtpd/empty"] {
            fs::create_dir_all(root.path(folder)).expect("mkdir");
            fs::set_permissions(root.path(folder), Permissions::from_mode(0o711)).expect("chmod");
        }
        fs::create_dir_all(root.path("var/run")).expect("mkdir");
        // Nobody is asked for the names of clients.
        root.write("etc/resolv.conf", "lookup file\n");
        let (process, address) = start_server(|address, hostname| {
            let configuration = format!(
                "listen on {} port {} hostname {hostname}\n{}",
                address.ip(),
                address.port(),
                actions(hostname),
            );
            root.write("etc/smtpd.conf", &configuration);
            Process::start(root.command("/usr/sbin/smtpd").arg("-d").args(options), Stdio::null())
        });
        Some(Self { process, address, root })
    }

    /// The folder with the messages that it has.
    pub(crate) fn queue(&self) -> PathBuf {
        self.root.path("var/spool/smtpd/queue")
    }
}

impl Drop for OpenSmtpd {
    /// The processes under this one end with it.
    fn drop(&mut self) {
        self.process.terminate();
        let _ = self.process.try_wait();
    }
}
