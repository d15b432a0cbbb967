//! The tool `receive` as a child process, and a peer of a plain socket.

#![allow(dead_code, reason = "no test uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// How long a single thing may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a `#[test]` of each function for each runtime, whose name it gets.
#[allow(unused_macros, reason = "as above")]
macro_rules! on_each_runtime {
    ($($test:ident),+ $(,)?) => {
        mod tokio {
            $(#[test] fn $test() { super::$test("tokio"); })+
        }
        mod async_std {
            $(#[test] fn $test() { super::$test("async-std"); })+
        }
        mod blocking {
            $(#[test] fn $test() { super::$test("blocking"); })+
        }
    };
}

/// A running `receive`; killed when dropped.
pub(crate) struct Tool {
    child: Child,
    /// `None` when it is read elsewhere.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Tool {
    /// Starts it; it prints its first line once it listens.
    pub(crate) fn start<'a>(runtime: &str, options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_receive"))
            .args(["--runtime", runtime, "--hostname", "receive.example"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("receive starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// What it prints next, of whatever kind; `None` when it has ended.
    pub(crate) fn next(&mut self) -> Option<Value> {
        next(self.stdout.as_mut().expect("nobody else reads"))
    }

    /// Reads all that it prints on another thread.
    pub(crate) fn listen(&mut self) -> JoinHandle<Vec<Value>> {
        let mut stdout = self.stdout.take().expect("nobody else reads");
        thread::spawn(move || iter::from_fn(|| next(&mut stdout)).collect())
    }

    /// Where it listens, of a listener that has not been asked for yet.
    pub(crate) fn address(&mut self) -> String {
        let listening = self.next().expect("receive listens");
        assert_eq!(listening["event"], "listening", "{listening}");
        listening["address"].as_str().expect("an address").to_owned()
    }

    /// All that it tells until a session is over.
    pub(crate) fn session(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while events.last().is_none_or(|event: &Value| event["event"] != "closed") {
            events.push(self.next().expect("the session ends first"));
        }
        events
    }

    /// Ends it as a crash does (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(stdout: &mut impl BufRead) -> Option<Value> {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("text");
    // A line that a crash cut short is none.
    let line = line.strip_suffix('\n')?;
    Some(serde_json::from_str(line).expect("a line is an object"))
}

/// What it says to wrong arguments.
pub(crate) fn complaint(options: &[&str]) -> String {
    let Output { status, stderr, .. } =
        Command::new(env!("CARGO_BIN_EXE_receive")).args(options).output().expect("receive runs");
    assert_eq!(status.code(), Some(64), "{options:?}");
    let stderr = String::from_utf8(stderr).expect("text");
    stderr.lines().next().unwrap_or_default().to_owned()
}

/// A client that says what it is told to.
pub(crate) struct Peer<S>(BufReader<S>);

impl Peer<TcpStream> {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Self::new(stream)
    }
}

impl<S: Read + Write> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) fn says(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("the server reads");
    }

    /// The next reply, with LF between its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            assert!(self.0.read_line(&mut reply).expect("a reply") > 0, "no reply, but the end, behind {reply:?}");
            let last = reply.as_bytes().get(start + 3) != Some(&b'-');
            let line = reply.trim_end().len();
            reply.truncate(line);
            if last {
                return reply;
            }
            reply.push('\n');
        }
    }

    /// Says a line and gives the reply, which has this code.
    pub(crate) fn asks(&mut self, line: &str, code: &str) -> String {
        self.says(&format!("{line}\r\n"));
        let reply = self.reply();
        assert!(reply.starts_with(code), "{line}: {reply}");
        reply
    }

    /// What is left to read.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("the end");
        rest
    }
}
