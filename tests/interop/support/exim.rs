//! Exim with a root folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use super::process::{Process, start_server, wait_until};
use super::root::Root;

/// A running Exim.
pub(crate) struct Exim {
    process: Process,
    pub(crate) address: SocketAddr,
    root: Root,
}

impl Exim {
    /// One that takes mail for everybody and relays it all. `None` if it is not installed.
    pub(crate) fn start(relay: SocketAddr) -> Option<Self> {
        Self::start_with(&relaying(relay))
    }

    /// One that takes mail for these recipients and keeps it in its queue. `None` if it is not installed.
    pub(crate) fn start_keeping(recipients: &[&str]) -> Option<Self> {
        Self::start_with(&keeping(recipients))
    }

    fn start_with(configuration: &str) -> Option<Self> {
        let root = Root::copy("SMTP_INTEROP_EXIM", "Exim")?;
        fs::create_dir_all(root.path("etc/exim4")).expect("mkdir");
        for folder in ["var/spool/exim4", "var/log/exim4"] {
            root.make_folder(folder, "Debian-exim");
        }
        let (process, address) = start_server(|address, hostname| {
            root.write("etc/exim4/exim4.conf", &(common(address, hostname) + configuration));
            Process::start(root.command("/usr/sbin/exim4").arg("-bdf"), Stdio::null())
        });
        Some(Self { process, address, root })
    }

    /// The folder with the messages that it has.
    pub(crate) fn queue(&self) -> PathBuf {
        self.root.path("var/spool/exim4/input")
    }

    /// The lines of the log about deliveries, once nothing is to be done for this many messages.
    pub(crate) fn deliveries(&mut self, messages: usize) -> Vec<String> {
        let log = self.root.path("var/log/exim4/mainlog");
        let mut lines = String::new();
        wait_until(&mut self.process, || {
            lines = fs::read_to_string(&log).unwrap_or_default();
            lines.matches(" Completed\n").count() >= messages
        });
        let mark = |line: &&str| ["=>", "->", "**", "=="].iter().any(|mark| line.split(' ').nth(3) == Some(mark));
        lines.lines().filter(mark).map(str::to_owned).collect()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        self.process.terminate();
        let _ = self.process.try_wait();
    }
}

fn common(address: SocketAddr, hostname: &str) -> String {
    format!(
        "primary_hostname = {hostname}\n\
         local_interfaces = {}\n\
         daemon_smtp_ports = {}\n\
         keep_environment =\n\
         host_lookup =\n\
         tls_advertise_hosts =\n\
         dsn_advertise_hosts = *\n\
         smtputf8_advertise_hosts = *\n\
         message_size_limit = 32M\n",
        address.ip(),
        address.port(),
    )
}

fn relaying(relay: SocketAddr) -> String {
    format!(
        "acl_smtp_rcpt = accept\n\
         acl_smtp_data = accept\n\
         # Deliveries need no other user than the one that took the message.\n\
         deliver_drop_privilege\n\
         log_selector = +pipelining +smtp_confirmation\n\
         begin routers\n\
         relay:\n\
         driver = manualroute\n\
         transport = relay\n\
         route_list = * {}\n\
         self = send\n\
         begin transports\n\
         relay:\n\
         driver = smtp\n\
         port = {}\n\
         allow_localhost\n\
         hosts_try_chunking = *\n",
        relay.ip(),
        relay.port(),
    )
}

fn keeping(recipients: &[&str]) -> String {
    format!(
        "queue_only\n\
         acl_smtp_rcpt = recipient\n\
         acl_smtp_data = accept\n\
         begin acl\n\
         recipient:\n\
         accept condition = ${{if inlist{{$local_part@$domain}}{{{}}}}}\n\
         deny message = 5.1.1 No such user here\n",
        recipients.join(":"),
    )
}
