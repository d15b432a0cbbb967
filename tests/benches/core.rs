//! What the protocol costs without any I/O: a whole session in each role, content in both directions.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smtp_proto::client::{Client, Envelope};
use smtp_proto::server::{self, Decision, Server};
use smtp_proto::wire::{BareNewline, ContentDecoder, Decoded};
use smtp_proto::{Instant, Machine, Step};

const LINE: &str = "A line of text as it stands in letters that people write to each other.\r\n";

/// What a pipelining client sends to deliver so many messages to three recipients each.
fn dialogue(messages: usize, content: &[u8]) -> Vec<u8> {
    let mut octets = b"EHLO client.example.org\r\n".to_vec();
    for _ in 0..messages {
        octets.extend(b"MAIL FROM:<jane@example.org> SIZE=4096\r\nRCPT TO:<joe@example.net>\r\n");
        octets.extend(b"RCPT TO:<ann@example.net>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n");
        octets.extend(content);
        octets.extend(b".\r\n");
    }
    octets.extend(b"QUIT\r\n");
    octets
}

/// Serves it; gives the octets of content and of replies.
fn serve(config: &Arc<server::Config>, mut rx: BytesMut) -> (usize, usize) {
    let mut server = Server::new(Arc::clone(config), Instant::default());
    let (mut content, mut replies) = (0, 0);
    loop {
        match server.step(Instant::default(), &mut rx).expect("a server never fails") {
            Step::Event(server::Event::Body(piece)) => content += piece.len(),
            Step::Event(event) if event.is_question() => server.decide(Decision::Accept).expect("a question was asked"),
            Step::Event(_) => {}
            Step::Write => {
                let count = server.output().remaining();
                replies += count;
                server.output().advance(count);
            }
            Step::UpgradeTls => unreachable!("there is no TLS here"),
            Step::Close => return (content, replies),
            step => panic!("{step:?}"),
        }
    }
}

fn server_sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server session of 100 messages to 3 recipients");
    let config = Arc::new(server::Config::new("mail.example.net").expect("a name"));
    for size in [1, 4, 64] {
        let content = LINE.repeat(size * 1024 / LINE.len());
        let octets = dialogue(100, content.as_bytes());
        group.throughput(Throughput::Elements(100));
        group.bench_function(BenchmarkId::from_parameter(format!("{size} KiB")), |bencher| {
            bencher.iter_batched(
                || BytesMut::from(&octets[..]),
                |rx| black_box(serve(&config, rx)),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn client_sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("client session of 100 messages to 3 recipients");
    for size in [1, 4, 64] {
        let content = Bytes::from(LINE.repeat(size * 1024 / LINE.len()));
        group.throughput(Throughput::Elements(100));
        group.bench_function(BenchmarkId::from_parameter(format!("{size} KiB")), |bencher| {
            bencher.iter(|| {
                let config = smtp_tests::in_clear("client.example.org");
                let mut client = Client::new(config, Instant::default());
                let envelope =
                    Envelope::new("jane@example.org", ["joe@example.net", "ann@example.net", "bob@example.net"])
                        .expect("addresses");
                for _ in 0..100 {
                    client.send(envelope.clone(), content.clone()).expect("a session");
                }
                client.quit().expect("a session");
                let mut rx = BytesMut::from("220 mail.example.net\r\n");
                let mut trips = 0;
                loop {
                    match client.step(Instant::default(), &mut rx).expect("a session") {
                        Step::Event(event) => drop(black_box(event)),
                        Step::Write => {
                            let count = client.output().remaining();
                            client.output().advance(count);
                        }
                        Step::Read => {
                            trips += 1;
                            rx.extend_from_slice(match trips {
                                1 => b"250-mail.example.net\r\n250-SIZE\r\n250 PIPELINING\r\n",
                                2 => b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
                                102 => b"250 queued\r\n221 bye\r\n",
                                _ => b"250 queued\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
                            });
                        }
                        Step::UpgradeTls => unreachable!("there is no TLS here"),
                        Step::Close => break black_box(trips),
                        Step::Decide => panic!("there is work"),
                    }
                }
            });
        });
    }
    group.finish();
}

fn content(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("content");
    let texts = [
        ("lines of 73", LINE.repeat(1_000_000 / LINE.len())),
        ("lines of 78 with a dot each", format!(".{}\r\n", "x".repeat(77)).repeat(1_000_000 / 80)),
        ("lines of 998", format!("{}\r\n", "x".repeat(998)).repeat(1000)),
    ];
    for (name, text) in &texts {
        let raw = text.replace("\r\n.", "\r\n..") + ".\r\n";
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter_batched(
                || BytesMut::from(raw.as_bytes()),
                |mut rx| {
                    let mut decoder = ContentDecoder::new(BareNewline::Reject, false, 998);
                    let mut octets = 0;
                    while let Decoded::Content(piece) = decoder.decode(&mut rx) {
                        octets += piece.len();
                    }
                    black_box(octets)
                },
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, server_sessions, client_sessions, content);
criterion_main!(benches);
