//! Postfix in temporary folders.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::peers;
use super::process::{Process, free_address, run, start_server};

/// The length of the Received field that a message begins with.
pub(crate) fn received_field(content: &[u8]) -> usize {
    assert!(content.starts_with(b"Received: "), "no Received field first");
    let mut length = 0;
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        if length > 0 && !line.starts_with(b"\t") && !line.starts_with(b" ") {
            break;
        }
        length += line.len();
    }
    length
}

/// A Postfix of its own: configuration, queue and all else in a temporary
/// folder. It knows some recipients and relays what it accepts for them.
pub(crate) struct Postfix {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Where it takes connections that begin with TLS.
    pub(crate) implicit: Option<SocketAddr>,
    folder: TempDir,
}

/// What a Postfix has beyond what every one here has.
#[derive(Default)]
pub(crate) struct Additions {
    /// Lines for main.cf.
    pub(crate) main: String,
    /// Whether it also listens for connections that begin with TLS.
    pub(crate) implicit: bool,
}

/// Where a Postfix relays to.
pub(crate) enum Relay {
    Smtp(SocketAddr),
    Lmtp(SocketAddr),
    LmtpSocket(PathBuf),
}

impl From<SocketAddr> for Relay {
    fn from(address: SocketAddr) -> Self {
        Self::Smtp(address)
    }
}

impl Relay {
    /// As main.cf has it.
    fn transport(&self) -> String {
        match self {
            Self::Smtp(address) => format!("smtp:[{}]:{}", address.ip(), address.port()),
            Self::Lmtp(address) => format!("lmtp:inet:{address}"),
            Self::LmtpSocket(path) => format!("lmtp:unix:{}", path.display()),
        }
    }
}

/// What became of a recipient, by the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// `sent`, `bounced`, `deferred`.
    pub(crate) outcome: String,
    /// The enhanced status code.
    pub(crate) code: String,
    /// What the server said, and to what.
    pub(crate) reason: String,
}

impl Postfix {
    /// `None` if it is not installed. `add` gets the folder of the
    /// configuration.
    pub(crate) fn start(
        relay: impl Into<Relay>,
        recipients: &[&str],
        add: impl FnOnce(&Path) -> Additions,
    ) -> Option<Self> {
        let transport = relay.into().transport();
        let postfix = peers::program("postfix", "Debian package postfix")?;
        let postconf = peers::program("postconf", "Debian package postfix")?;
        if !peers::is_root() {
            return peers::skip("postfix cannot be started (needs root)");
        }
        let folder = TempDir::new().expect("a folder");
        let config = prepare(folder.path());
        let additions = add(&config);
        let daemons =
            run(Command::new(postconf).args(["-d", "-h", "daemon_directory"]), Stdio::null()).expect_success();
        let master = Path::new(&daemons.stdout[0]).join("master");

        let mut implicit = None;
        let (process, address) = start_server(|address, hostname| {
            // When somebody takes this one before Postfix does, Postfix ends.
            implicit = additions.implicit.then(free_address);
            write_main(&config, hostname, &transport, recipients, &additions.main);
            write_master(&config, address, implicit);
            // Creates the folders of the queue.
            run(Command::new(&postfix).arg("-c").arg(&config).arg("check"), Stdio::null()).expect_success();
            // What `postfix start-fg` ends in; started without that so that
            // the process to stop is our child. -s: stdout is for the log.
            Process::start(Command::new(&master).arg("-c").arg(&config).arg("-s"), Stdio::null())
        });
        Some(Self { process, address, implicit, folder })
    }

    /// The folder of its configuration, as its programs want it.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// The folder of its queue.
    pub(crate) fn queue(&self) -> PathBuf {
        self.folder.path().join("queue")
    }

    /// Hands a message in as programs of the same machine do. The options are those of Postfix's `sendmail`.
    pub(crate) fn submit(&self, options: &[&str], message: &Path) {
        let sendmail = Path::new("/usr/sbin/sendmail");
        let input = fs::File::open(message).expect("the message");
        run(Command::new(sendmail).arg("-C").arg(self.config()).args(options), input.into()).expect_success();
    }

    /// What becomes of each of these recipients, one at a time, at the first attempt.
    pub(crate) fn statuses(&mut self, recipients: &[&str]) -> Vec<Status> {
        let mut found: Vec<Option<Status>> = recipients.iter().map(|_| None).collect();
        while found.iter().any(Option::is_none) {
            let line = self.logged(" status=");
            let between = |from: &str, to: &str| {
                let (_, rest) = line.split_once(from)?;
                rest.split_once(to).map(|(part, _)| part.to_owned())
            };
            let address = between(" to=<", ">").expect("a recipient");
            let Some(at) = recipients.iter().position(|known| *known == address) else { continue };
            let reason = line.split_once(" (").expect("a reason").1;
            found[at].get_or_insert(Status {
                outcome: between(" status=", " ").expect("an outcome"),
                code: between(" dsn=", ",").expect("a code"),
                reason: reason.strip_suffix(')').unwrap_or(reason).to_owned(),
            });
        }
        found.into_iter().flatten().collect()
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

impl Drop for Postfix {
    /// The daemons under the master end with it if it can tell them.
    fn drop(&mut self) {
        self.process.terminate();
        let _ = self.process.try_wait();
    }
}

/// Makes the folders that Postfix does not make itself and gives the one for
/// the configuration.
fn prepare(folder: &Path) -> PathBuf {
    // Postfix's daemons have their own user and must get through.
    open(folder);
    for name in ["config", "queue", "data"] {
        fs::create_dir(folder.join(name)).expect("mkdir");
    }
    own(&folder.join("data"));
    folder.join("config")
}

/// Lets daemons with a user of their own into a folder.
pub(crate) fn open(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Gives something to Postfix's user.
fn own(path: &Path) {
    run(Command::new("chown").arg("-R").arg("postfix").arg(path), Stdio::null()).expect_success();
}

fn write_main(config: &Path, hostname: &str, transport: &str, recipients: &[&str], additions: &str) {
    let folder = config.parent().expect("a parent").display();
    let known: Vec<String> = recipients.iter().map(|address| format!("{{{address}=known}}")).collect();
    let main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {folder}/queue\n\
         data_directory = {folder}/data\n\
         maillog_file = /dev/stdout\n\
         myhostname = {hostname}\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         mydestination =\n\
         alias_maps =\n\
         alias_database =\n\
         relay_domains = example.net\n\
         relay_recipient_maps = inline:{{ {} }}\n\
         relay_transport = {transport}\n\
         default_transport = {transport}\n\
         smtp_dns_support_level = disabled\n\
         smtp_connection_cache_on_demand = no\n\
         smtpd_recipient_restrictions = reject_unauth_destination\n\
         smtpd_error_sleep_time = 0\n\
         message_size_limit = 26214400\n\
         {additions}",
        known.join(", "),
    );
    fs::write(config.join("main.cf"), main).expect("write main.cf");
}

fn write_master(config: &Path, address: SocketAddr, implicit: Option<SocketAddr>) {
    let implicit = implicit
        .map(|address| format!("{address} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"))
        .unwrap_or_default();
    // service type private unpriv chroot wakeup maxproc command
    let master = format!(
        "{address} inet n - n - - smtpd\n\
         {implicit}\
         postlog unix-dgram n - n - 1 postlogd\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         smtp unix - - n - - smtp\n\
         lmtp unix - - n - - lmtp\n\
         pickup unix n - n 60 1 pickup\n\
         error unix - - n - - error\n\
         retry unix - - n - - error\n\
         scache unix - - n - 1 scache\n\
         proxymap unix - - n - - proxymap\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         anvil unix - - n - 1 anvil\n"
    );
    fs::write(config.join("master.cf"), master).expect("write master.cf");
}

/// Writes what Cyrus SASL needs inside Postfix to know one user, and gives
/// the lines for main.cf; `None` if it is not installed.
pub(crate) fn cyrus_sasl(config: &Path, user: &str, password: &str, mechanisms: &str) -> Option<String> {
    let saslpasswd2 = peers::program("saslpasswd2", "Debian package sasl2-bin")?;
    // Debian's Postfix looks in this folder in any case, others where they
    // are told.
    let folder = config.join("sasl");
    fs::create_dir(&folder).expect("mkdir");
    let database = folder.join("sasldb2");
    let smtpd = format!(
        "pwcheck_method: auxprop\n\
         auxprop_plugin: sasldb\n\
         sasldb_path: {}\n\
         mech_list: {mechanisms}\n",
        database.display()
    );
    fs::write(folder.join("smtpd.conf"), smtpd).expect("write smtpd.conf");
    let (name, realm) = user.split_once('@').expect("a realm");
    let mut input = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut input, password.as_bytes()).expect("write the password");
    std::io::Seek::rewind(&mut input).expect("rewind");
    run(Command::new(saslpasswd2).args(["-p", "-c", "-u", realm, "-f"]).arg(&database).arg(name), input.into())
        .expect_success();
    own(&folder);
    Some(format!("smtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\ncyrus_sasl_config_path = {}\n", folder.display()))
}
