//! Other clients, each behind the same face: send so many messages, over one connection where it can.

use std::env;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::ours::{self, How};
use super::server::Server;
use super::support::peers::{self, node, program, python, ruby};
use super::support::postfix::{Additions, Postfix};
use smtp_tests::runtime::Runtime;

pub(crate) const SENDER: &str = "jane@example.org";

/// What a client is to send, and to whom.
pub(crate) struct Job<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) messages: usize,
    pub(crate) recipients: usize,
    pub(crate) octets: usize,
    /// The server it gets to in the end, where that is ours.
    pub(crate) server: Option<&'a Server>,
}

impl Job<'_> {
    /// As all scripts take it: `PORT MESSAGES RECIPIENTS OCTETS`.
    pub(crate) fn arguments(&self) -> [String; 4] {
        [usize::from(self.to.port()), self.messages, self.recipients, self.octets].map(|number| number.to_string())
    }
}

/// Something that sends messages.
pub(crate) struct Client {
    pub(crate) name: String,
    run: Box<dyn Fn(&Job) + Send + Sync>,
}

impl Client {
    pub(crate) fn new(name: &str, run: impl Fn(&Job) + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), run: Box::new(run) }
    }

    /// A program that takes the arguments of a job behind its own.
    fn script(name: &str, program: PathBuf, arguments: Vec<String>) -> Self {
        Self::new(name, move |job| succeed(Command::new(&program).args(&arguments).args(job.arguments())))
    }

    /// Does the job; fails when it cannot.
    pub(crate) fn run(&self, job: &Job) {
        (self.run)(job);
    }
}

/// Runs a program to its end.
pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A message of so many octets, or a little less: lines of 72.
pub(crate) fn content(octets: usize) -> String {
    let subject = "Subject: Hello\r\n\r\n";
    let line = "x".repeat(70) + "\r\n";
    subject.to_owned() + &line.repeat(octets.saturating_sub(subject.len()) / line.len())
}

pub(crate) fn recipients(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("recipient{number}@example.net")).collect()
}

fn content_file(octets: usize) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(content(octets).as_bytes()).expect("write");
    file
}

fn peer_script(name: &str) -> String {
    format!("{}/benches/speed/peers/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// lettre and mail-send, which `.ci/peers` builds.
pub(crate) fn of_crates() -> Vec<Client> {
    let built = env::var_os("SMTP_INTEROP_RUST_PEERS").map(PathBuf::from).filter(|program| program.is_file());
    let Some(program) = built.or_else(|| peers::skip("lettre and mail-send are not built (by .ci/peers)")) else {
        return Vec::new();
    };
    let client = |name: &str, argument: &str| Client::script(name, program.clone(), vec![argument.to_owned()]);
    vec![client("lettre", "lettre"), client("lettre, tokio", "lettre-tokio"), client("mail-send", "mail-send")]
}

/// Postfix's test program.
pub(crate) fn smtp_source() -> Option<Client> {
    let program = program("smtp-source", "Debian package postfix")?;
    Some(Client::new("smtp-source", move |job| {
        let [_, messages, recipients, octets] = job.arguments();
        let mut command = Command::new(&program);
        command.args(["-d", "-M", "client.example.org", "-f", SENDER, "-t", "recipient@example.net", "-m", &messages]);
        succeed(command.args(["-r", &recipients, "-l", &octets]).arg(job.to.to_string()));
    }))
}

/// All that are installed.
pub(crate) fn installed() -> Vec<Client> {
    let python = |module: &str, script: &str| {
        let program = python(module, "PyPI package of that name")?;
        Some(Client::script(module, program, vec![peer_script(script)]))
    };
    let mut clients = of_crates();
    clients.extend(smtp_source());
    clients.extend(postfix());
    clients.extend(nodemailer());
    clients.extend(python("smtplib", "smtplib_client.py"));
    clients.extend(python("aiosmtplib", "aiosmtplib_client.py"));
    clients.extend(
        ruby(&["net/smtp"], "Debian package ruby")
            .map(|program| Client::script("Net::SMTP", program, vec![peer_script("net_smtp_client.rb")])),
    );
    clients.extend(curl());
    clients.extend(msmtp());
    clients
}

fn nodemailer() -> Option<Client> {
    let (program, modules) = node("nodemailer")?;
    Some(Client::new("nodemailer, pool", move |job| {
        let mut command = Command::new(&program);
        command.env("NODE_PATH", &modules).arg(peer_script("nodemailer_client.js"));
        succeed(command.args(job.arguments()));
    }))
}

fn curl() -> Option<Client> {
    let program = program("curl", "Debian package curl")?;
    Some(Client::new("curl", move |job| {
        let file = content_file(job.octets);
        let mut command = Command::new(&program);
        for number in 0..job.messages {
            if number > 0 {
                command.arg("--next");
            }
            command.args(["--silent", "--show-error", "--mail-from", SENDER, "--upload-file"]).arg(file.path());
            for recipient in recipients(job.recipients) {
                command.args(["--mail-rcpt", &recipient]);
            }
            command.arg(format!("smtp://{}/client.example.org", job.to));
        }
        succeed(&mut command);
    }))
}

fn msmtp() -> Option<Client> {
    let program = program("msmtp", "Debian package msmtp")?;
    Some(Client::new("msmtp", move |job| {
        let file = content_file(job.octets);
        for _ in 0..job.messages {
            let mut command = Command::new(&program);
            command.args(["--host=127.0.0.1", "--auth=off", "--tls=off", "--domain=client.example.org"]);
            command.arg(format!("--port={}", job.to.port())).args(["--from", SENDER, "--"]);
            command.args(recipients(job.recipients)).stdin(Stdio::from(File::open(file.path()).expect("the message")));
            succeed(&mut command);
        }
    }))
}

/// A whole Postfix, whose queue is delivered over one connection.
fn postfix() -> Option<Client> {
    program("postfix", "Debian package postfix")?;
    if !peers::is_root() {
        return peers::skip("postfix cannot be started (needs root)");
    }
    Some(Client::new("Postfix, as a relay", |job| {
        let main = "smtp_connection_cache_on_demand = yes\n\
                    smtp_connection_cache_destinations = static:all\n\
                    initial_destination_concurrency = 1\n\
                    smtp_destination_concurrency_limit = 1\n";
        let additions = |_: &_| Additions { main: main.to_owned(), ..Additions::default() };
        let known = recipients(job.recipients);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let postfix = Postfix::start(job.to, &known, additions).expect("Postfix is installed");
        ours::client(Runtime::Blocking, How::All).run(&Job { to: postfix.address, ..*job });
        let server = job.server.expect("a server of ours");
        while server.record().arrivals.len() < job.messages {
            thread::sleep(Duration::from_millis(10));
        }
    }))
}
