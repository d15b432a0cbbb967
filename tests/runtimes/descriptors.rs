//! A process without descriptors: its listeners wait for better times, and none is lost.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use smtp_tests::runtime::Runtime;

use super::support::{PATIENCE, Raw, joined};

/// Descriptors that the process may have.
const LIMIT: usize = 40;

/// More than it can serve at a time.
const CLIENTS: usize = 60;

/// Ends the process whatever becomes of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The tool under a limit, with two listeners; gives their addresses.
fn start(runtime: Runtime) -> (Killed, BufReader<ChildStdout>, [String; 2]) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_receive")])
        .args(["--runtime", runtime.name(), "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    let addresses = [(); 2].map(|()| {
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        event["address"].as_str().unwrap().to_owned()
    });
    (Killed(child), told, addresses)
}

fn a_lack_of_descriptors_is_survived(runtime: Runtime) {
    let (child, mut told, addresses) = start(runtime);
    // What it tells is not to stand in its way.
    let reading = thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()).unwrap());
    let clients: Vec<_> = addresses.iter().cycle().take(CLIENTS).map(|address| Raw::connect(address)).collect();
    let (start, descriptors) = (Instant::now(), format!("/proc/{}/fd", child.0.id()));
    while fs::read_dir(&descriptors).unwrap().count() < LIMIT {
        assert!(start.elapsed() < PATIENCE, "the process has descriptors left");
        thread::yield_now();
    }
    // Who goes makes room for those who wait, on both listeners and in any order.
    let leave = |mut client: Raw| {
        thread::spawn(move || {
            assert!(client.reply().starts_with("220"));
            assert!(client.ask("QUIT").starts_with("221"));
        })
    };
    let leaving: Vec<_> = clients.into_iter().map(leave).collect();
    leaving.into_iter().for_each(joined);
    for address in &addresses {
        assert!(Raw::connect(address).reply().starts_with("220"));
    }
    drop(child);
    reading.join().unwrap();
}

on_each_runtime!(a_lack_of_descriptors_is_survived);
