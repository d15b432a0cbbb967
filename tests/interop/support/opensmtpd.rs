//! OpenSMTPD with a root folder of its own.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::process::{Process, start_server};
use super::root::Root;

/// A running OpenSMTPD that takes mail for everybody and relays it all.
pub(crate) struct OpenSmtpd {
    process: Process,
    pub(crate) address: SocketAddr,
    _root: Root,
}

impl OpenSmtpd {
    /// `None` if it is not installed. `scheme` is of the relay: `smtp` or `lmtp`.
    pub(crate) fn start(scheme: &str, relay: SocketAddr) -> Option<Self> {
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
                "listen on {} port {} hostname {hostname}\n\
                 action \"out\" relay host {scheme}://{relay} helo {hostname}\n\
                 match from any for any action \"out\"\n",
                address.ip(),
                address.port(),
            );
            root.write("etc/smtpd.conf", &configuration);
            Process::start(root.command("/usr/sbin/smtpd").arg("-d"), Stdio::null())
        });
        Some(Self { process, address, _root: root })
    }
}

impl Drop for OpenSmtpd {
    /// The processes under this one end with it.
    fn drop(&mut self) {
        self.process.terminate();
        let _ = self.process.try_wait();
    }
}
