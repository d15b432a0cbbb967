//! Dovecot in a temporary folder.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::peers;
use super::postfix::open;
use super::process::{Process, run, start_server, wait_until};

/// A Dovecot of its own.
pub(crate) struct Dovecot {
    process: Process,
    folder: TempDir,
}

impl Dovecot {
    /// One that does nothing but authenticate for Postfix. `None` if it is not installed. `mechanisms` are in lower
    /// case, with blanks between them.
    pub(crate) fn start(user: &str, password: &str, mechanisms: &str) -> Option<Self> {
        let dovecot = program()?;
        let folder = folder();
        fs::write(folder.path().join("users"), format!("{user}:{{PLAIN}}{password}\n")).expect("write users");
        // Nobody waits here after a wrong password: neither this client, nor
        // all that come from its address later.
        let config = format!(
            "protocols =\n\
             auth_mechanisms = {mechanisms}\n\
             auth_failure_delay = 0\n\
             passdb {{\n driver = passwd-file\n args = username_format=%u {0}/users\n}}\n\
             service anvil {{\n unix_listener anvil-auth-penalty {{\n mode = 0\n }}\n}}\n\
             service auth {{\n unix_listener {0}/auth {{\n mode = 0666\n }}\n}}\n",
            folder.path().display()
        );
        let process = start(&dovecot, folder.path(), &config);
        let mut dovecot = Self { process, folder };
        let socket = dovecot.folder.path().join("auth");
        wait_until(&mut dovecot.process, || UnixStream::connect(&socket).is_ok());
        Some(dovecot)
    }

    /// One that takes mail for these recipients by LMTP, and its address; it listens on [`Dovecot::socket`], too. The
    /// mailbox of one of them has no room even for the fields that Dovecot adds. `None` if it is not installed.
    pub(crate) fn start_lmtp(recipients: &[&str], full: &str) -> Option<(Self, SocketAddr)> {
        let dovecot = program()?;
        // The program of the protocol is in a package of its own.
        if !Path::new("/usr/lib/dovecot/lmtp").is_file() {
            return peers::skip("Dovecot's lmtp is not installed (needs Debian package dovecot-lmtpd)");
        }
        let folder = folder();
        let users = recipients.iter().map(|&user| match user == full {
            true => format!("{user}::::::: userdb_quota_rule=*:bytes=100\n"),
            false => format!("{user}:::::::\n"),
        });
        fs::write(folder.path().join("users"), users.collect::<String>()).expect("write users");
        fs::create_dir(folder.path().join("mail")).expect("mkdir");
        run(Command::new("chown").arg("nobody:nogroup").arg(folder.path().join("mail")), Stdio::null())
            .expect_success();
        let (process, address) = start_server(|address, hostname| {
            let config = format!(
                "protocols = lmtp\n\
                 hostname = {hostname}\n\
                 postmaster_address = postmaster@{hostname}\n\
                 mail_location = maildir:{0}/mail/%u\n\
                 mail_uid = nobody\n\
                 mail_gid = nogroup\n\
                 passdb {{\n driver = static\n}}\n\
                 userdb {{\n driver = passwd-file\n args = username_format=%u {0}/users\n}}\n\
                 protocol lmtp {{\n mail_plugins = quota\n}}\n\
                 plugin {{\n quota = count:User quota\n quota_vsizes = yes\n quota_rule = *:storage=0\n}}\n\
                 service lmtp {{\n\
                 inet_listener lmtp {{\n address = {1}\n port = {2}\n }}\n\
                 unix_listener {0}/lmtp {{\n mode = 0666\n }}\n}}\n",
                folder.path().display(),
                address.ip(),
                address.port(),
            );
            start(&dovecot, folder.path(), &config)
        });
        Some((Self { process, folder }, address))
    }

    /// Where it takes mail besides the address.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("lmtp")
    }

    /// The folder with a Maildir of each recipient that ever got something.
    pub(crate) fn mail(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// The lines for Postfix's main.cf.
    pub(crate) fn main(&self) -> String {
        format!("smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}/auth\n", self.folder.path().display())
    }
}

fn program() -> Option<PathBuf> {
    let found = peers::program("dovecot", "Debian package dovecot-core")?;
    if !peers::is_root() {
        return peers::skip("dovecot cannot be started (needs root)");
    }
    Some(found)
}

fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    open(folder.path());
    folder
}

fn start(dovecot: &Path, folder: &Path, config: &str) -> Process {
    let config = format!(
        "base_dir = {0}/run\n\
         state_dir = {0}/run\n\
         log_path = /dev/stderr\n\
         ssl = no\n\
         default_internal_user = nobody\n\
         default_internal_group = nogroup\n\
         default_login_user = nobody\n\
         {config}",
        folder.display()
    );
    let path = folder.join("dovecot.conf");
    fs::write(&path, config).expect("write dovecot.conf");
    Process::start(Command::new(dovecot).arg("-F").arg("-c").arg(&path), Stdio::null())
}

impl Drop for Dovecot {
    /// The processes under the master end with it if it can tell them.
    fn drop(&mut self) {
        self.process.terminate();
        let _ = self.process.try_wait();
    }
}
