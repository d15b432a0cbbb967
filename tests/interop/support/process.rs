//! Child processes whose output is read line by line, and which end with the
//! test whatever happens in it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long any single wait may take. Nothing here is a measure of speed: a
/// wait that ends at the deadline is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The pause between two attempts at something that gives no sign when it is
/// ready.
const RETRY: Duration = Duration::from_millis(10);

/// A running child. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    last_line: Option<String>,
}

/// What a child left behind.
pub(crate) struct Finished {
    pub(crate) name: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(command: &mut Command, stdin: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = lines_of(child.stdout.take().expect("stdout is piped"));
        let stderr = lines_of(child.stderr.take().expect("stderr is piped"));
        Self { name, child, stdout, stderr, last_line: None }
    }

    /// The next line of stdout, or `None` at its end.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        match self.stdout.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.last_line = Some(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.fail("printed nothing until the deadline"),
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("try_wait").is_some()
    }

    /// Sends SIGTERM, to no effect if the child has ended. The standard
    /// library can only send SIGKILL.
    pub(crate) fn terminate(&self) {
        let _ = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\""])
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status();
    }

    /// Waits for the end of the child and of both its streams.
    pub(crate) fn finish(mut self) -> Finished {
        let mut stdout = Vec::new();
        while let Some(line) = self.next_line() {
            stdout.push(line);
        }
        let status = self.wait();
        let mut stderr = String::new();
        loop {
            match self.stderr.recv_timeout(DEADLINE) {
                Ok(line) => stderr = stderr + &line + "\n",
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.fail("kept stderr open"),
            }
        }
        Finished { name: self.name.clone(), status, stdout, stderr }
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        match self.try_wait() {
            Some(status) => status,
            None => self.fail("did not end until the deadline"),
        }
    }

    /// Waits for the end of the child; `None` at the deadline.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().ok()? {
                return Some(status);
            }
            thread::sleep(RETRY);
        }
        None
    }

    /// Panics with the last line of stdout and what there is on stderr.
    pub(crate) fn fail(&self, what: &str) -> ! {
        let stderr: Vec<String> = self.stderr.try_iter().collect();
        panic!("{} {what}; last line: {:?}; stderr:\n{}", self.name, self.last_line, stderr.join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Panics with everything the child said unless it ended with status 0.
    pub(crate) fn expect_success(self) -> Self {
        assert!(
            self.status.success(),
            "{}: {}; stdout:\n{}\nstderr:\n{}",
            self.name,
            self.status,
            self.stdout.join("\n"),
            self.stderr
        );
        self
    }
}

/// Runs a child to its end.
pub(crate) fn run(command: &mut Command, stdin: Stdio) -> Finished {
    Process::start(command, stdin).finish()
}

/// Reads a stream to its end in a thread of its own, so that the child never
/// waits for the test. CR ends a line as LF does: smtp-sink writes its
/// counters with CR alone. Empty lines are left out.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            let chunk = match stream.fill_buf() {
                Ok(chunk) if !chunk.is_empty() => chunk,
                _ => break,
            };
            let end = chunk.iter().position(|&c| c == b'\n' || c == b'\r');
            let (text, used) = end.map_or((chunk, chunk.len()), |at| (&chunk[..at], at + 1));
            line.extend_from_slice(text);
            stream.consume(used);
            if end.is_some() && !line.is_empty() {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
        }
        if !line.is_empty() {
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
    receiver
}

/// A loopback address whose port was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free loopback port")
}

/// Starts a server that can neither take port 0 nor report its port. Another
/// process can take the free port first: the server then ends, or somebody
/// else answers with another greeting, and the next port is tried.
///
/// `start` is called with an address and a host name that nobody else uses,
/// which the server must say in its greeting.
pub(crate) fn start_server(mut start: impl FnMut(SocketAddr, &str) -> Process) -> (Process, SocketAddr) {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let address = free_address();
        let hostname = format!("p{}-{}-{attempt}.example", address.port(), unique());
        let mut process = start(address, &hostname);
        let deadline = Instant::now() + DEADLINE;
        while !process.has_ended() {
            if Instant::now() > deadline {
                process.fail("does not listen");
            }
            match greeting(address) {
                Some(line) if line.contains(&hostname) => return (process, address),
                Some(_) => break,
                None => thread::sleep(RETRY),
            }
        }
        if attempt == 10 {
            process.fail("could not be started on any of ten free ports");
        }
    }
}

/// Waits for something that a process gives no sign of.
pub(crate) fn wait_until(process: &mut Process, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !ready() {
        if process.has_ended() || Instant::now() > deadline {
            process.fail("does not get ready");
        }
        thread::sleep(RETRY);
    }
}

/// A number that no other call in this process and no other living process
/// gets.
fn unique() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}", std::process::id())
}

/// Says hello and goodbye to a server; `None` if nothing listens there.
fn greeting(address: SocketAddr) -> Option<String> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    (&stream).write_all(b"QUIT\r\n").ok()?;
    // The server closes after its reply, and has counted the session by then.
    reader.read_to_string(&mut String::new()).ok()?;
    Some(line)
}
