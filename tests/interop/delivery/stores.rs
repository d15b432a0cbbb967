//! Servers that put each message somewhere: scripts, smtp-sink, and Dovecot.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use smtp_proto::client::Outcome;
use tempfile::TempDir;

use super::far_end::{FULL, FarEnd, KNOWN, Kept, Refusal, Shown, UNKNOWN, behind_fields, with_crlf};
use super::queues::entries;
use crate::support::dovecot::Dovecot;
use crate::support::peers;
use crate::support::process::Process;
use crate::support::secure::local;
use crate::support::smtp_sink;
use crate::support::tools::{text, texts};

/// A server in Python or Node that writes messages to files and tells of each.
struct Script {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
    lmtp: bool,
    notifications: Option<[Shown; 2]>,
}

pub(crate) fn aiosmtpd() -> Option<Box<dyn FarEnd>> {
    let mut command = Command::new(peers::python("aiosmtpd", "PyPI package aiosmtpd")?);
    command.args(["-c", include_str!("../aiosmtpd_peer.py"), UNKNOWN]);
    Some(Script::start(&mut command, false, None))
}

pub(crate) fn smtp_server() -> Option<Box<dyn FarEnd>> {
    Some(Script::start(&mut node()?, false, Some(NOTIFICATIONS)))
}

pub(crate) fn smtp_server_with_lmtp() -> Option<Box<dyn FarEnd>> {
    Some(Script::start(&mut node()?, true, Some(NOTIFICATIONS)))
}

/// As the script shows what smtp-server makes of it.
const NOTIFICATIONS: [Shown; 2] = [
    &[r#"{"ret":"HDRS","envid":"a+b=c"},{"notify":["SUCCESS","DELAY"],"orcpt":"rfc822;a+b@example.com"},null"#],
    &[r#"{"ret":"FULL","envid":null},null,{"notify":["NEVER"]}"#],
];

fn node() -> Option<Command> {
    let (node, modules) = peers::node("smtp-server")?;
    let mut command = Command::new(node);
    command.env("NODE_PATH", modules).args(["-e", include_str!("../smtp_server_peer.js")]);
    Some(command)
}

impl Script {
    fn start(command: &mut Command, lmtp: bool, notifications: Option<[Shown; 2]>) -> Box<dyn FarEnd> {
        let folder = TempDir::new().expect("a folder");
        let options = json!({ "folder": folder.path(), "refused": [UNKNOWN], "full": [FULL], "lmtp": lmtp });
        // The open stdin keeps it running.
        let mut process = Process::start(command.env("PEER_OPTIONS", options.to_string()), Stdio::piped());
        let listening = next_event(&mut process);
        Box::new(Self { process, address: local(&listening["port"]), folder, lmtp, notifications })
    }
}

fn next_event(process: &mut Process) -> Value {
    let Some(line) = process.next_line() else { process.fail("ended") };
    serde_json::from_str(&line).expect("JSON")
}

impl FarEnd for Script {
    fn server(&self) -> String {
        self.address.to_string()
    }

    fn offers(&self) -> &'static [&'static str] {
        match self.notifications {
            None => &["8BITMIME", "SMTPUTF8"],
            Some(_) => &["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN"],
        }
    }

    fn lmtp(&self) -> bool {
        self.lmtp
    }

    fn refuses_for_full(&self) -> Option<Refusal> {
        self.lmtp.then_some((552, ""))
    }

    fn notifications(&self) -> Option<[Shown; 2]> {
        self.notifications
    }

    /// smtp-server takes it for a part of the end.
    fn drops_a_lone_line_end(&self) -> bool {
        self.notifications.is_some()
    }

    fn kept(&mut self, _: &str, _: &Outcome) -> Kept {
        let event = next_event(&mut self.process);
        Kept {
            sender: text(&event, "sender").to_owned(),
            recipients: texts(&event, "recipients").into_iter().map(str::to_owned).collect(),
            content: fs::read(text(&event, "file")).expect("a message"),
            envelope: event.to_string(),
        }
    }

    fn count(self: Box<Self>) -> usize {
        entries(self.folder.path()).len()
    }
}

/// smtp-sink, which dumps each message to a file.
struct Sink {
    _process: Process,
    address: SocketAddr,
    folder: TempDir,
    lmtp: bool,
}

pub(crate) fn smtp_sink() -> Option<Box<dyn FarEnd>> {
    sink(false)
}

pub(crate) fn smtp_sink_with_lmtp() -> Option<Box<dyn FarEnd>> {
    sink(true)
}

fn sink(lmtp: bool) -> Option<Box<dyn FarEnd>> {
    let folder = TempDir::new().expect("a folder");
    // It has another user.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("chmod");
    let template = folder.path().join("message.");
    let dump = ["-d", template.to_str().expect("a plain name")];
    let options = if lmtp { [&dump[..], &["-L"]].concat() } else { dump.to_vec() };
    let (process, address) = smtp_sink::start(&options)?;
    Some(Box::new(Sink { _process: process, address, folder, lmtp }))
}

impl FarEnd for Sink {
    fn server(&self) -> String {
        self.address.to_string()
    }

    fn offers(&self) -> &'static [&'static str] {
        &["PIPELINING", "8BITMIME", "DSN"]
    }

    fn lmtp(&self) -> bool {
        self.lmtp
    }

    fn refuses_recipients(&self) -> bool {
        false
    }

    fn notifications(&self) -> Option<[Shown; 2]> {
        Some([
            &[
                "X-Mail-Args: <often@example.org> RET=HDRS ENVID=a+2Bb+3Dc\n",
                "X-Rcpt-Args: <one@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@example.com\n",
            ],
            &["X-Mail-Args: <never@example.org> RET=FULL\n", "X-Rcpt-Args: <two@example.net> NOTIFY=NEVER"],
        ])
    }

    /// A dump has fields with the commands before the message, and an empty line behind it.
    fn kept(&mut self, sender: &str, _: &Outcome) -> Kept {
        let field = format!("\nX-Mail-Args: <{sender}>").into_bytes();
        let mut dumps = entries(self.folder.path()).into_iter().map(|path| fs::read(path).expect("a message"));
        let dump = dumps.find(|dump| dump.windows(field.len()).any(|window| window == field)).expect("a message");
        let commands = dump.split(|&octet| octet == b'\n').map(String::from_utf8_lossy);
        let commands: Vec<_> = commands.take_while(|line| line.starts_with("X-")).map(String::from).collect();
        let recipients = commands.iter().filter_map(|line| line.strip_prefix("X-Rcpt-Args: <")?.split('>').next());
        let recipients: Vec<_> = recipients.map(str::to_owned).collect();
        let mut names = vec!["X-Client-Addr", "X-Client-Proto", "X-Helo-Args", "X-Mail-Args"];
        names.extend(recipients.iter().map(|_| "X-Rcpt-Args"));
        names.push("Received");
        let content = behind_fields(&dump, &names).strip_suffix(b"\n").expect("an empty line");
        Kept { sender: sender.to_owned(), recipients, content: with_crlf(content), envelope: commands.join("\n") }
    }

    fn count(self: Box<Self>) -> usize {
        entries(self.folder.path()).len()
    }
}

/// Dovecot, which has a Maildir for each recipient.
struct Maildirs {
    dovecot: Dovecot,
    server: String,
}

pub(crate) fn dovecot() -> Option<Box<dyn FarEnd>> {
    let (dovecot, address) = Dovecot::start_lmtp(&KNOWN, FULL)?;
    Some(Box::new(Maildirs { dovecot, server: address.to_string() }))
}

pub(crate) fn dovecot_on_a_unix_socket() -> Option<Box<dyn FarEnd>> {
    let (dovecot, _) = Dovecot::start_lmtp(&KNOWN, FULL)?;
    let server = format!("unix:{}", dovecot.socket().display());
    Some(Box::new(Maildirs { dovecot, server }))
}

impl Maildirs {
    /// What was delivered: to whom and from whom, and where it is.
    fn all(&self) -> Vec<(String, String, PathBuf)> {
        let mut all = Vec::new();
        for maildir in entries(&self.dovecot.mail()) {
            let recipient = maildir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for path in entries(&maildir.join("new")) {
                let sender = return_path(&path);
                all.push((recipient.clone(), sender, path));
            }
        }
        all
    }
}

fn return_path(path: &Path) -> String {
    let message = fs::read(path).expect("a message");
    let line = message.split(|&octet| octet == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let sender = line.strip_prefix("Return-Path: <").and_then(|rest| rest.strip_suffix('>'));
    sender.unwrap_or_else(|| panic!("no Return-Path in {line:?}")).to_owned()
}

impl FarEnd for Maildirs {
    fn server(&self) -> String {
        self.server.clone()
    }

    fn offers(&self) -> &'static [&'static str] {
        &["PIPELINING", "CHUNKING", "8BITMIME"]
    }

    fn lmtp(&self) -> bool {
        true
    }

    fn refuses_for_full(&self) -> Option<Refusal> {
        Some((552, "5.2.2"))
    }

    fn kept(&mut self, sender: &str, _: &Outcome) -> Kept {
        let of_sender = self.all().into_iter().filter(|(_, of, _)| of == sender);
        let (mut recipients, mut contents) = (Vec::new(), Vec::new());
        for (recipient, _, path) in of_sender {
            let message = fs::read(path).expect("a message");
            let mut content = behind_fields(&message, &["Return-Path"]);
            // Where a message has one recipient only.
            if content.starts_with(b"Delivered-To: ") {
                content = behind_fields(content, &["Delivered-To"]);
            }
            contents.push(with_crlf(behind_fields(content, &["Received"])));
            recipients.push(recipient);
        }
        let content = contents.pop().unwrap_or_else(|| panic!("nothing from {sender}"));
        assert!(contents.iter().all(|other| *other == content), "{recipients:?} have different messages");
        Kept { sender: sender.to_owned(), recipients, content, envelope: String::new() }
    }

    fn count(self: Box<Self>) -> usize {
        let mut senders: Vec<_> = self.all().into_iter().map(|(_, sender, _)| sender).collect();
        senders.sort_unstable();
        senders.dedup();
        senders.len()
    }
}
