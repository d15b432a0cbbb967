//! The tool `send` as a child process, and a far end that keeps what it gets.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use smtp_blocking::Handler;
use smtp_proto::server::{Config, Decision, Mail, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tests::runtime::{Runtime, Service};

use crate::tool::PATIENCE;

/// The password of all; no output has it.
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// What a run of `send` came to.
pub(crate) struct Sent {
    pub(crate) code: i32,
    pub(crate) entries: Vec<Value>,
    pub(crate) stderr: String,
    /// What it said about failures.
    pub(crate) complaints: Vec<String>,
    /// The lines at the end.
    pub(crate) summary: Vec<String>,
}

impl Sent {
    /// What it printed, in the order of this member.
    pub(crate) fn sorted(&self, member: &str) -> Vec<&Value> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry[member].as_u64());
        entries
    }
}

/// Runs `send` to its end.
pub(crate) fn send(runtime: &str, options: &[&str]) -> Sent {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_send"))
        .args(["--runtime", runtime])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("send runs");
    let (stdout, stderr) = (String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"));
    assert!(!stdout.contains(PASSWORD) && !stderr.contains(PASSWORD), "a password was printed");
    assert!(!stderr.contains(['\r', '\u{1b}']), "a bar where no terminal is: {stderr:?}");
    let told = stderr.lines().filter_map(|line| line.strip_prefix("send: ").map(str::to_owned));
    let summarises =
        |line: &String| ["messages: ", "recipients: ", "octets: "].iter().any(|name| line.starts_with(name));
    let (summary, complaints) = told.partition(summarises);
    Sent {
        code: status.code().expect("an exit"),
        entries: stdout.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect(),
        stderr,
        complaints,
        summary,
    }
}

/// The same to a far end.
pub(crate) fn send_to(runtime: &str, far: &Far, options: &[&str]) -> Sent {
    send(runtime, &[&["--server", &far.service.address().to_string()], options].concat())
}

/// What it says to wrong arguments.
pub(crate) fn complaint(options: &[&str]) -> String {
    let Output { status, stderr, .. } =
        Command::new(env!("CARGO_BIN_EXE_send")).args(options).output().expect("send runs");
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(64), "{options:?}: {stderr}");
    stderr.lines().next().unwrap_or_default().to_owned()
}

/// A message that arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) content: String,
}

impl Letter {
    pub(crate) fn new(from: &str, to: &[&str], content: &str) -> Self {
        let to = to.iter().map(|to| (*to).to_owned()).collect();
        Self { from: from.to_owned(), to, content: content.to_owned() }
    }
}

/// A server that keeps what it gets. The recipient `no@...` is refused, `later...` twice for now, `never@...` always for now.
pub(crate) struct Far {
    service: Service,
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    state: Mutex<State>,
    changed: Condvar,
    /// No message is taken before there have been so many sessions.
    wanted: usize,
}

#[derive(Default)]
struct State {
    letters: Vec<Letter>,
    /// How often there was a RCPT for whom.
    asked: BTreeMap<String, usize>,
    sessions: usize,
}

impl Far {
    pub(crate) fn start(runtime: &str, config: Config) -> Self {
        Self::of(runtime.parse().expect("a runtime"), config, World::default())
    }

    /// One that takes no message before there have been so many sessions.
    pub(crate) fn waiting_for_sessions(wanted: usize) -> Self {
        let config = Config::new("far.example").expect("a name");
        // It waits in its handler.
        Self::of(Runtime::Blocking, config, World { wanted, ..World::default() })
    }

    fn of(runtime: Runtime, mut config: Config, world: World) -> Self {
        // Whoever sends to so many that are refused is not turned away for it.
        (config.limits.soft_errors, config.limits.hard_errors) = (u32::MAX, u32::MAX);
        let world = Arc::new(world);
        let theirs = Arc::clone(&world);
        let handler = move |_: &_| Keeper { world: Arc::clone(&theirs), letter: Letter::default() };
        let service = Service::start(runtime, "127.0.0.1:0", config, std::time::Duration::ZERO, handler);
        Self { service: service.expect("it listens"), world }
    }

    /// What has arrived since this was asked last, sorted.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        let mut letters = std::mem::take(&mut self.world.state().letters);
        letters.sort();
        letters
    }

    /// How often it was asked to take mail for a recipient.
    pub(crate) fn asked(&self, recipient: &str) -> usize {
        self.world.state().asked.get(recipient).copied().unwrap_or_default()
    }

    /// How many sessions there have been.
    pub(crate) fn sessions(&self) -> usize {
        self.world.state().sessions
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    world: Arc<World>,
    letter: Letter,
}

impl Handler for Keeper {
    fn connected(&mut self, _: &Session) -> Decision {
        let mut state = self.world.state();
        state.sessions += 1;
        self.world.changed.notify_all();
        Decision::Accept
    }

    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        self.letter = Letter { from: mail.reverse_path.to_string(), ..Letter::default() };
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        let mut state = self.world.state();
        let asked = state.asked.entry(recipient.clone()).or_default();
        *asked += 1;
        if recipient.starts_with("no@") {
            return Reply::from_static("550 5.1.1 No such user here").into();
        }
        if recipient.starts_with("never@") || (recipient.starts_with("later") && *asked <= 2) {
            return Reply::from_static("450 4.2.1 Not now").into();
        }
        self.letter.to.push(recipient);
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.letter.content += std::str::from_utf8(&content).expect("ASCII");
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        let state = self.world.state();
        let waiting =
            self.world.changed.wait_timeout_while(state, PATIENCE, |state| state.sessions < self.world.wanted);
        let (mut state, over) = waiting.unwrap_or_else(PoisonError::into_inner);
        if over.timed_out() {
            return Reply::from_static("554 5.0.0 Too few sessions").into();
        }
        state.letters.push(std::mem::take(&mut self.letter));
        Decision::Accept
    }
}
