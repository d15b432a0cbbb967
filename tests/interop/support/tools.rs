//! The two tools under test.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::messages::{self, RECIPIENTS, SENDER};
use super::process::{self, Finished, Process};

/// A running `receive` that stores what it gets.
pub(crate) struct Receive {
    process: Process,
    maildir: TempDir,
    address: SocketAddr,
    events: Vec<Value>,
}

impl Receive {
    pub(crate) fn start(runtime: &str, options: &[&str]) -> Self {
        let mut receive = Self::spawn(runtime, &["--listen", "127.0.0.1:0"], options);
        receive.address = receive.listening().parse().expect("an address");
        receive
    }

    /// One that listens on a Unix socket.
    pub(crate) fn start_on_socket(runtime: &str, path: &Path, options: &[&str]) -> Self {
        let name = path.to_str().expect("a plain name");
        let mut receive = Self::spawn(runtime, &["--unix", name], options);
        assert_eq!(receive.listening(), format!("unix:{name}"));
        receive
    }

    fn spawn(runtime: &str, listen: &[&str], options: &[&str]) -> Self {
        let maildir = TempDir::new().expect("a folder for the messages");
        let mut command = Command::new(env!("CARGO_BIN_EXE_receive"));
        command
            .args(["--runtime", runtime])
            .args(listen)
            .args(["--hostname", "receive.example", "--maildir"])
            .arg(maildir.path())
            .args(options);
        let process = Process::start(&mut command, Stdio::null());
        Self { process, maildir, address: SocketAddr::from(([0, 0, 0, 0], 0)), events: Vec::new() }
    }

    /// Where it says that it listens.
    fn listening(&mut self) -> String {
        let listening = self.next_event().unwrap_or_default();
        assert_eq!(listening["event"], "listening", "{listening}");
        text(&listening, "address").to_owned()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn next_event(&mut self) -> Option<Value> {
        let line = self.process.next_line()?;
        let event: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("receive printed {line:?}: {error}"));
        self.events.push(event.clone());
        Some(event)
    }

    /// The next `message` event.
    pub(crate) fn next_message(&mut self) -> Value {
        loop {
            match self.next_event() {
                Some(event) if event["event"] == "message" => return event,
                Some(_) => {}
                None => self.process.fail("ended before the message came"),
            }
        }
    }

    /// The events of this name that came before a message in its session.
    pub(crate) fn before(&self, message: &Value, name: &str) -> Vec<Value> {
        let of_session = |event: &&Value| event["session"] == message["session"] && event["event"] == name;
        self.events.iter().take_while(|event| *event != message).filter(of_session).cloned().collect()
    }

    /// What was stored of the message that an event reports. The event's own
    /// size and hash must agree with it.
    pub(crate) fn stored(&self, message: &Value) -> Vec<u8> {
        let path = Path::new(text(message, "file"));
        assert!(path.starts_with(self.maildir.path()), "{message}");
        let content = std::fs::read(path).expect("the stored message");
        assert_eq!(message["size"], content.len(), "{message}");
        assert_eq!(message["sha256"], messages::sha256(&content));
        content
    }

    /// Stops the server in the orderly way and gives all its events. Each
    /// session must have begun and ended.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.process.terminate();
        while self.next_event().is_some() {}
        let status = self.process.wait();
        assert!(status.success(), "receive: {status}");
        let events = std::mem::take(&mut self.events);
        assert_eq!(sessions(&events, "connect"), sessions(&events, "closed"));
        events
    }
}

/// The numbers of the sessions with an event of this name, sorted.
pub(crate) fn sessions(events: &[Value], name: &str) -> Vec<u64> {
    let mut sessions: Vec<u64> = events
        .iter()
        .filter(|event| event["event"] == name)
        .map(|event| event["session"].as_u64().expect("a session number"))
        .collect();
    sessions.sort_unstable();
    sessions
}

/// Runs `send` to its end.
pub(crate) fn send<S: AsRef<OsStr>>(
    runtime: &str,
    server: SocketAddr,
    arguments: impl IntoIterator<Item = S>,
) -> Finished {
    process::run(
        Command::new(env!("CARGO_BIN_EXE_send"))
            .args(["--runtime", runtime, "--server", &server.to_string()])
            .args(["--hello", "send.example"])
            .args(arguments),
        Stdio::null(),
    )
}

/// Arguments that send each message of the set once to all recipients.
pub(crate) fn send_all(folder: &Path) -> Vec<OsString> {
    send_files(messages::all().iter().map(|message| message.write_to(folder, b"")))
}

/// Arguments that send each file once to all recipients.
pub(crate) fn send_files(files: impl Iterator<Item = PathBuf>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--from".into(), SENDER.into()];
    for recipient in RECIPIENTS {
        arguments.extend(["--to".into(), recipient.into()]);
    }
    for file in files {
        arguments.extend(["--file".into(), file.into()]);
    }
    arguments
}

/// The report of each message from a run of `send`.
pub(crate) fn reports(finished: &Finished) -> Vec<Value> {
    let parse =
        |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("send printed {line:?}: {error}"));
    finished.stdout.iter().map(parse).collect()
}

/// A member of an event that must be a string.
pub(crate) fn text<'a>(event: &'a Value, member: &str) -> &'a str {
    let value = event[member].as_str();
    value.unwrap_or_else(|| panic!("no text {member:?} in {event}"))
}

/// A member of an event that must be a list of strings.
pub(crate) fn texts<'a>(event: &'a Value, member: &str) -> Vec<&'a str> {
    let list = event[member].as_array();
    let list = list.unwrap_or_else(|| panic!("no list {member:?} in {event}"));
    list.iter().map(|item| item.as_str().expect("a string")).collect()
}
