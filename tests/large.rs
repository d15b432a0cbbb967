//! A message of 1 GiB through client and server on each runtime, and how much memory that takes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failing test is to fail")]

use std::fs;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::client::Envelope;
use smtp_proto::server::{self, Decision, Session};
use smtp_tests::runtime::{Runtime, Service};

const SIZE: u64 = 1 << 30;
const LINE: &[u8; 64] = b"Sixty-two letters in a line that comes again and again and ag.\r\n";

static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();

/// So many octets of lines, made as they are read.
struct Lines(u64);

impl Read for Lines {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut count = room.len().min(usize::try_from(SIZE - self.0).unwrap());
        let from = (self.0 % 64) as usize;
        let block = BLOCK.get_or_init(|| LINE.repeat(1024));
        count = count.min(block.len() - from);
        room[..count].copy_from_slice(&block[from..from + count]);
        self.0 += count as u64;
        Ok(count)
    }
}

impl tokio::io::AsyncRead for Lines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.read(room.initialize_unfilled())?;
        room.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl async_std::io::Read for Lines {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.read(room))
    }
}

/// Counts what comes, and looks at a line of it now and then.
struct Count {
    octets: Arc<AtomicU64>,
    told: mpsc::Sender<u64>,
}

impl smtp_blocking::Handler for Count {
    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        let at = self.octets.fetch_add(content.len() as u64, Ordering::Relaxed);
        assert_eq!(content.first(), Some(&LINE[(at % 64) as usize]));
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, size: u64) -> Decision {
        self.told.send(size).unwrap();
        Decision::Accept
    }
}

/// A line of /proc/self/status, in KiB.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap()
}

#[test]
fn a_gibibyte_needs_less_than_8_mib() {
    for runtime in Runtime::ALL {
        let mut config = server::Config::new("mx.test").unwrap();
        config.limits.message_size = None;
        let (told, tell) = mpsc::channel();
        let service = Service::start(runtime, "127.0.0.1:0", config, Duration::ZERO, move |_| Count {
            octets: Arc::default(),
            told: told.clone(),
        })
        .unwrap();
        let server = service.address().to_string();
        // The peak starts again from here.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS:");
        let config = smtp_tests::in_clear("c.test");
        let envelope = Envelope::new("a@a.test", ["b@b.test"]).unwrap();
        let outcome = match runtime {
            Runtime::Tokio => {
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                    let mut client = smtp_tokio::Client::connect(&server, config).await.unwrap();
                    client.send_from(envelope, Lines(0), Some(SIZE)).await
                })
            }
            Runtime::AsyncStd => async_std::task::block_on(async {
                let mut client = smtp_async_std::Client::connect(&server, config).await.unwrap();
                client.send_from(envelope, Lines(0), Some(SIZE)).await
            }),
            Runtime::Blocking => {
                let mut client = smtp_blocking::Client::connect(&server, config).unwrap();
                client.send_from(envelope, Lines(0), Some(SIZE))
            }
        };
        let growth = memory("VmHWM:").saturating_sub(before);
        assert!(outcome.unwrap().is_delivered());
        assert_eq!(tell.recv().unwrap(), SIZE);
        service.shut_down();
        service.wait();
        // Seen although the harness swallows the output of tests that pass.
        writeln!(io::stderr(), "1 GiB on {}: {growth} KiB of resident growth", runtime.name()).unwrap();
        assert!(growth < 8 * 1024, "{} KiB on {}", growth, runtime.name());
    }
}
