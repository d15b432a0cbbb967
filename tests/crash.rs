//! `receive` with a Maildir is killed under load (SIGKILL), again and again: what it acknowledged is there, whole and
//! once, and nobody ever sees a part of a message.
//!
//! What a loss of power does to what the system has not written yet cannot be seen this way: `receive` has to have
//! the file and its folder written before it acknowledges.
//!
//! The moments of the kills come from a generator. Its seed is printed; `CRASH_SEED` sets it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod tool;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sha2::{Digest, Sha256};
use smtp_tests::recorder::hexadecimal;
use tempfile::TempDir;
use tool::{PATIENCE, Tool};

on_each_runtime!(what_was_acknowledged_outlives_200_kills_whole_and_once);

const KILLS: u64 = 200;
const CLIENTS: u64 = 4;
/// The longest pause between the sign that is waited for and the kill, in microseconds.
const LONGEST_PAUSE: u64 = 3000;
/// How much a client writes at a time, at most, in octets.
const PIECE: u64 = 16 * 1024;

fn what_was_acknowledged_outlives_200_kills_whole_and_once(runtime: &str) {
    let seed = match env::var("CRASH_SEED") {
        Ok(seed) => seed.parse().expect("CRASH_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    eprintln!("{runtime}: CRASH_SEED={seed}");
    let mut random = Random(seed);
    let folder = TempDir::new().unwrap();
    let mut acknowledged = BTreeSet::new();
    let (mut least, mut watcher) = (0, None);
    for round in 0..KILLS {
        let mut receive = start(runtime, folder.path());
        let address = receive.address();
        let printed = receive.listen();
        // The folder is there now.
        watcher.get_or_insert_with(|| Watcher::start(folder.path().join("new")));
        let (tell, told) = mpsc::channel();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let random = Random(random.next());
                Client::start(&address, format!("{round}-{client}"), random, tell.clone())
            })
            .collect();
        drop(tell);
        let moment = Moment::random(&mut random);
        least += moment.wait(&told);
        thread::sleep(Duration::from_micros(random.below(LONGEST_PAUSE)));
        receive.kill();
        for client in clients {
            acknowledged.append(&mut client.join().unwrap());
        }
        let printed = printed.join().unwrap();
        assert!(printed.iter().all(|event| event["event"] != "failed"), "{printed:?}");
    }
    let seen = watcher.expect("there were rounds").stop();
    assert!(acknowledged.len() as u64 >= least && least > 0, "{} of {least}", acknowledged.len());

    // It still works where it was killed.
    let mut receive = start(runtime, folder.path());
    let mut stream = connect(&receive.address()).unwrap();
    let last = Message::new("last".to_owned(), &mut random);
    deliver(&mut stream, &last, &mut random, &mut |_| ()).unwrap();
    acknowledged.insert(last.id);
    receive.kill();

    let mut times = HashMap::new();
    let new = files(&folder.path().join("new"));
    for file in &new {
        *times.entry(whole(file)).or_insert(0) += 1;
    }
    for id in &acknowledged {
        assert!(times.contains_key(id), "{id} was acknowledged and is not there; seed {seed}");
    }
    for (id, times) in &times {
        assert_eq!(*times, 1, "{id}; seed {seed}");
    }
    // Nothing that could be seen was taken back.
    assert!(seen.iter().all(|file| new.contains(file)), "seed {seed}");
    eprintln!(
        "{runtime}: {} acknowledged in {KILLS} kills, {} there, {} seen at work, {} begun and not finished",
        acknowledged.len(),
        times.len(),
        seen.len(),
        files(&folder.path().join("tmp")).len(),
    );
}

fn start(runtime: &str, folder: &Path) -> Tool {
    let options = ["--listen", "127.0.0.1:0", "--sink", "maildir", "--maildir", folder.to_str().unwrap()];
    Tool::start(runtime, options)
}

/// When a kill comes.
#[derive(Debug)]
enum Moment {
    /// Behind so many acknowledgements.
    Acknowledged(u64),
    /// When so many octets of content have left the clients.
    Sent(u64),
}

/// What a client tells.
enum Progress {
    Acknowledged,
    Sent(u64),
}

impl Moment {
    fn random(random: &mut Random) -> Self {
        match random.below(2) {
            0 => Self::Acknowledged(random.below(12)),
            _ => Self::Sent(random.below(512 * 1024)),
        }
    }

    /// Waits for it; tells how many acknowledgements were seen.
    fn wait(&self, told: &Receiver<Progress>) -> u64 {
        let (mut acknowledged, mut sent) = (0, 0);
        while match self {
            Self::Acknowledged(count) => acknowledged < *count,
            Self::Sent(count) => sent < *count,
        } {
            match told.recv_timeout(PATIENCE).expect("the server takes mail") {
                Progress::Acknowledged => acknowledged += 1,
                Progress::Sent(octets) => sent += octets,
            }
        }
        acknowledged
    }
}

/// A client that sends until the server is gone.
struct Client {
    id: String,
    random: Random,
    tell: Sender<Progress>,
    acknowledged: BTreeSet<String>,
}

impl Client {
    /// Gives what was acknowledged.
    fn start(address: &str, id: String, random: Random, tell: Sender<Progress>) -> JoinHandle<BTreeSet<String>> {
        let address = address.to_owned();
        thread::spawn(move || {
            let mut client = Self { id, random, tell, acknowledged: BTreeSet::new() };
            // It ends in the middle of something.
            let _ = client.send(&address);
            client.acknowledged
        })
    }

    fn send(&mut self, address: &str) -> io::Result<()> {
        let mut stream = connect(address)?;
        for count in 0.. {
            let message = Message::new(format!("{}-{count}", self.id), &mut self.random);
            let tell = self.tell.clone();
            deliver(&mut stream, &message, &mut self.random, &mut |octets| drop(tell.send(Progress::Sent(octets))))?;
            self.acknowledged.insert(message.id);
            let _ = self.tell.send(Progress::Acknowledged);
        }
        Ok(())
    }
}

/// Connects and says hello.
fn connect(address: &str) -> io::Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    expect(&mut stream, b"220 ")?;
    stream.get_mut().write_all(b"HELO client.example\r\n")?;
    expect(&mut stream, b"250 ")?;
    Ok(stream)
}

/// Sends a message. It comes back once that is acknowledged.
fn deliver(
    stream: &mut BufReader<TcpStream>,
    message: &Message,
    random: &mut Random,
    sent: &mut dyn FnMut(u64),
) -> io::Result<()> {
    for line in ["MAIL FROM:<a@a.test>\r\n", "RCPT TO:<b@b.test>\r\n"] {
        stream.get_mut().write_all(line.as_bytes())?;
        expect(stream, b"250 ")?;
    }
    stream.get_mut().write_all(b"DATA\r\n")?;
    expect(stream, b"354 ")?;
    let mut rest = message.text.as_slice();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(PIECE) as usize));
        stream.get_mut().write_all(piece)?;
        sent(piece.len() as u64);
        rest = behind;
    }
    stream.get_mut().write_all(b".\r\n")?;
    expect(stream, b"250 ")
}

/// Reads a whole line, which begins like this.
fn expect(stream: &mut BufReader<TcpStream>, beginning: &[u8]) -> io::Result<()> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    assert!(line.starts_with(beginning), "{}", String::from_utf8_lossy(&line));
    Ok(())
}

/// A message that shows whether it is whole: it has its own name, and a checksum of its body.
struct Message {
    id: String,
    text: Vec<u8>,
}

impl Message {
    fn new(id: String, random: &mut Random) -> Self {
        // Most are short, some long enough to be killed in.
        let lines = if random.below(4) == 0 { random.below(4000) } else { random.below(40) };
        let mut body = String::new();
        for _ in 0..lines {
            body += &format!("{:016x}{:016x}{:016x}\r\n", random.next(), random.next(), random.next());
        }
        let checksum = hexadecimal(&Sha256::digest(&body));
        let text = format!("Message-ID: {id}\r\nX-Checksum: {checksum}\r\n\r\n{body}").into_bytes();
        Self { id, text }
    }
}

/// The name of a message in a file.
///
/// # Panics
/// When it is not whole.
fn whole(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let parts = text.strip_prefix("Message-ID: ").and_then(|text| text.split_once("\r\nX-Checksum: "));
    let parts = parts.and_then(|(id, rest)| Some((id, rest.split_once("\r\n\r\n")?)));
    let Some((id, (checksum, body))) = parts else { panic!("{} is cut short: {text:?}", file.display()) };
    assert_eq!(checksum, hexadecimal(&Sha256::digest(body)), "{id} is not whole in {}", file.display());
    id.to_owned()
}

fn files(folder: &Path) -> HashSet<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Reads every message as soon as it can be seen.
struct Watcher {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<HashSet<PathBuf>>,
}

impl Watcher {
    fn start(new: PathBuf) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let mut seen = HashSet::new();
            loop {
                // Once more behind the end.
                let last = stop.load(Ordering::Acquire);
                for file in files(&new) {
                    if !seen.contains(&file) {
                        whole(&file);
                        seen.insert(file);
                    }
                }
                if last {
                    return seen;
                }
                thread::yield_now();
            }
        });
        Self { stopped, thread }
    }

    /// Gives what was seen.
    fn stop(self) -> HashSet<PathBuf> {
        self.stopped.store(true, Ordering::Release);
        self.thread.join().expect("nobody sees a part of a message")
    }
}

/// Numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
