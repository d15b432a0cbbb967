//! A gate between a client and a server that holds commands back until the last of a group has come.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::process::DEADLINE;

/// Passes one connection on. A client that waits for a reply within the group waits in vain.
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    passed: JoinHandle<io::Result<Vec<u8>>>,
}

impl Gate {
    /// Holds back what comes from the first of these on until the last has come, and all of the line.
    pub(crate) fn start(server: SocketAddr, first: &'static str, last: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let passed = thread::spawn(move || {
            let (client, _) = listener.accept()?;
            let server = TcpStream::connect(server)?;
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(DEADLINE))?;
            }
            let (mut replies, mut back) = (server.try_clone()?, client.try_clone()?);
            let replies = thread::spawn(move || {
                let _ = io::copy(&mut replies, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
            let held = pass(&client, &server, first.as_bytes(), last.as_bytes());
            let _ = server.shutdown(Shutdown::Write);
            let _ = replies.join();
            held
        });
        Self { address, passed }
    }

    /// What was held back and then went through at once, when the connection is over.
    pub(crate) fn group(self) -> String {
        let held = self.passed.join().expect("no panic").expect("a connection");
        String::from_utf8_lossy(&held).into_owned()
    }
}

fn pass(mut client: &TcpStream, mut server: &TcpStream, first: &[u8], last: &[u8]) -> io::Result<Vec<u8>> {
    let mut held = Vec::new();
    let mut octets = [0; 4096];
    loop {
        let count = client.read(&mut octets)?;
        if count == 0 {
            return Ok(held);
        }
        held.extend_from_slice(&octets[..count]);
        // What is before the group goes through, line by line.
        let start = find(&held, first).or_else(|| held.iter().rposition(|&octet| octet == b'\n').map(|at| at + 1));
        server.write_all(&held.drain(..start.unwrap_or_default()).collect::<Vec<_>>())?;
        let end = find(&held, last).filter(|_| held.starts_with(first));
        if end.is_some_and(|at| find(&held[at + last.len()..], b"\r\n").is_some()) {
            break;
        }
    }
    server.write_all(&held)?;
    let _ = io::copy(&mut client, &mut server);
    Ok(held)
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}
