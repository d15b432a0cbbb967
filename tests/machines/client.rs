//! The client's machine.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use smtp_proto::client::{self, Client, Content, Envelope, Outcome, RecipientOutcome, Verdict};
use smtp_proto::wire::Parameter;
use smtp_proto::{ApiMisuse, Error, Instant, Machine, Phase, Step};

use super::at;

/// A client that was greeted by a server with these capabilities.
fn client(capabilities: &str) -> (Client, BytesMut) {
    let mut client = Client::new(smtp_tests::in_clear("c.test"), at(0));
    let mut rx = BytesMut::from("220 mx\r\n");
    talk(&mut client, at(0), &mut rx, "");
    talk(&mut client, at(0), &mut rx, capabilities);
    (client, rx)
}

/// Gives the client what the server says; gives what it writes.
fn talk(client: &mut Client, now: Instant, rx: &mut BytesMut, said: &str) -> String {
    rx.extend_from_slice(said.as_bytes());
    let mut written = String::new();
    while let Ok(step) = client.step(now, rx) {
        match step {
            Step::Write => {
                let count = client.output().remaining();
                written += str::from_utf8(&client.output().copy_to_bytes(count)).unwrap();
            }
            Step::Event(_) => {}
            _ => break,
        }
    }
    written
}

fn envelope() -> Envelope {
    Envelope::new("a@a.test", ["b@b.test"]).unwrap()
}

#[test]
fn a_server_that_went_away_is_heard_for_a_while() {
    let (mut client, mut rx) = client("250 mx\r\n");
    let id = client.send(envelope(), Content::Streamed { size: None }).unwrap();
    talk(&mut client, at(0), &mut rx, "");
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        talk(&mut client, at(0), &mut rx, reply);
    }
    client.content(id, Bytes::from_static(b"text\r\n")).unwrap();
    while let Ok(Step::Event(_)) = client.step(at(0), &mut rx) {}
    assert!(client.output().has_remaining());
    // The write stands still for a minute before it fails.
    client.write_failed();
    assert_eq!(client.step(at(60), &mut rx), Ok(Step::Read));
    assert_eq!(client.deadline(), Some(at(70)));
    rx.extend_from_slice(b"552 too much\r\n");
    let Ok(Step::Event(client::Event::Outcome { outcome, .. })) = client.step(at(69), &mut rx) else { panic!() };
    assert!(matches!(outcome.recipients[..], [RecipientOutcome::Refused { phase: Phase::Content, .. }]));
}

#[test]
fn what_cannot_go_on_the_wire_is_refused_by_name() {
    // WIRE-008, WIRE-021
    let (mut client, mut rx) = client("250 mx\r\n");
    let misuse = |result: Result<client::RequestId, ApiMisuse>| match result {
        Err(ApiMisuse::Argument(invalid)) => invalid.to_string(),
        other => panic!("{other:?}"),
    };
    let mut nobody = envelope();
    nobody.recipients.clear();
    assert!(misuse(client.send(nobody, "x")).starts_with("list of recipients"));
    for (keyword, value) in [("SIZE", "1"), ("body", "7BIT"), ("X", &*"x".repeat(3000))] {
        let mut odd = envelope();
        odd.parameters.push(Parameter::new(keyword, Some(value)).unwrap());
        assert!(misuse(client.probe(odd)).starts_with("parameter of MAIL"));
    }
    let mut twice = envelope();
    let other = &mut twice.recipients[0].parameters.other;
    other.extend([Parameter::new("X", None).unwrap(), Parameter::new("x", None).unwrap()]);
    assert!(misuse(client.send(twice, "x")).starts_with("parameter of RCPT"));
    for own in ["DATA", "data", "MAIL FROM:<>", "EHLO x", "QUIT", "STARTTLS", "BDAT 3"] {
        assert!(misuse(client.command(own)).starts_with("command "), "{own}");
    }
    let mut utf8 = envelope();
    utf8.parameters.push(Parameter::new("X", Some("é")).unwrap());
    client.send(utf8, "x").unwrap();
    assert_eq!(talk(&mut client, at(0), &mut rx, ""), "", "nothing was written");
}

#[test]
fn an_outcome_for_nobody_is_no_delivery() {
    let (mut client, mut rx) = client("250-mx\r\n250 PIPELINING\r\n");
    let id = client.send(envelope(), "x").unwrap();
    talk(&mut client, at(0), &mut rx, "");
    talk(&mut client, at(0), &mut rx, "250 ok\r\n250 ok\r\n354 go\r\n");
    // It is too late to withdraw what is wholly written.
    client.cancel(id);
    rx.extend_from_slice(b"250 queued\r\n");
    let Ok(Step::Event(client::Event::Outcome { mut outcome, .. })) = client.step(at(0), &mut rx) else { panic!() };
    assert_eq!((outcome.verdict(), &outcome.error), (Verdict::Delivered, &None));
    outcome.recipients.clear();
    assert_eq!(outcome.verdict(), Verdict::Refused);
}

#[test]
fn a_limit_of_time_may_be_as_large_as_can_be() {
    let mut config = smtp_tests::in_clear("c.test");
    config.timeouts = client::Timeouts::all(Duration::MAX);
    let mut client = Client::new(config, at(1));
    assert_eq!(client.step(at(1_000_000), &mut BytesMut::new()), Ok(Step::Read));
    assert!(client.deadline().is_some_and(|deadline| deadline.elapsed() == Duration::MAX));
}

#[test]
fn a_client_keeps_no_more_of_a_server_than_its_limits() {
    // LIM-014, P3
    for flood in ["220-text\r\n", "x", "220-\r\n", "220 "] {
        let mut client = Client::new(smtp_tests::in_clear("c.test"), at(0));
        let (mut rx, mut fed) = (BytesMut::new(), 0);
        let end = loop {
            rx.extend_from_slice(flood.as_bytes());
            fed += flood.len();
            match client.step(at(0), &mut rx) {
                Ok(step) => assert_eq!(step, Step::Read),
                Err(error) => break error,
            }
            assert!(rx.len() <= 2048 && fed <= 65_536);
        };
        assert!(matches!(end, Error::Peer(_)), "{end}");
    }
}

/// Has the client write so many octets at the most; gives how many it wrote.
fn write(client: &mut Client, now: Instant, rx: &mut BytesMut, most: usize) -> usize {
    while let Ok(Step::Event(_)) = client.step(now, rx) {}
    let output = client.output();
    let count = output.remaining().min(most);
    output.advance(count);
    assert!(matches!(client.step(now, rx), Ok(Step::Write | Step::Read)));
    count
}

#[test]
fn a_slow_upload_may_take_as_long_as_it_moves() {
    // LIM-010, P19: with DATA, in a chunk, and in the last one
    for (capabilities, replies, size) in [
        ("250-mx\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n", 30_000),
        ("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "250 ok\r\n250 ok\r\n", 30_000),
        ("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "250 ok\r\n250 ok\r\n", 3_000_000),
    ] {
        let (mut client, mut rx) = client(capabilities);
        client.send(envelope(), "text\r\n".repeat(size / 6)).unwrap();
        let mut now = 0;
        // The commands leave at once.
        while let Ok(Step::Event(_)) = client.step(at(now), &mut rx) {}
        let commands = client.output().chunk().len();
        write(&mut client, at(now), &mut rx, commands);
        rx.extend_from_slice(replies.as_bytes());
        let step = size / 20;
        let mut left = size;
        while left > step {
            // Just in time, every time.
            now += 179;
            let wrote = write(&mut client, at(now), &mut rx, step);
            assert!(wrote > 0, "{:?} with {left} of {size} octets left", client.failure());
            left = left.saturating_sub(wrote);
        }
        // It stands still.
        assert_eq!(client.step(at(now + 179), &mut rx), Ok(Step::Write));
        while let Ok(Step::Event(_)) = client.step(at(now + 180), &mut rx) {}
        assert_eq!(client.failure(), Some(&Error::Timeout { phase: Phase::Content }));
    }
}

#[test]
fn a_chunk_that_is_refused_before_it_is_there_ends_the_session_and_the_message_is_refused() {
    // BDAT-018, P17: nothing of it can be taken back, and nothing of it is accepted
    for (size, early) in [(3_000_000, "552 too much\r\n"), (30_000, "552 too much\r\n"), (30_000, "421 no\r\n")] {
        let (mut client, mut rx) = client("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
        client.send(envelope(), "text\r\n".repeat(size / 6)).unwrap();
        while let Ok(Step::Event(_)) = client.step(at(0), &mut rx) {}
        let commands = client.output().chunk().len();
        write(&mut client, at(0), &mut rx, commands);
        rx.extend_from_slice(b"250 ok\r\n250 ok\r\n");
        write(&mut client, at(0), &mut rx, 10_000);
        rx.extend_from_slice(early.as_bytes());
        let Ok(Step::Event(client::Event::Outcome { outcome, .. })) = client.step(at(0), &mut rx) else { panic!() };
        assert!(matches!(outcome.recipients[..], [RecipientOutcome::Refused { phase: Phase::Content, .. }]));
        assert!(matches!(client.step(at(0), &mut rx), Err(Error::ServiceClosing { phase: Phase::Content, .. })));
    }
}

#[test]
fn a_message_in_chunks_can_be_withdrawn_before_its_last() {
    // BDAT-018, BDAT-020: four of its five are on their way
    let (mut client, mut rx) = client("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    let id = client.send(envelope(), "text\r\n".repeat(800_000)).unwrap();
    talk(&mut client, at(0), &mut rx, "");
    let written = talk(&mut client, at(0), &mut rx, "250 ok\r\n250 ok\r\n");
    assert_eq!(written.matches("BDAT ").count(), 4);
    client.cancel(id);
    assert_eq!(talk(&mut client, at(0), &mut rx, ""), "RSET\r\n");
    assert_eq!(talk(&mut client, at(0), &mut rx, "250 1\r\n250 2\r\n552 3\r\n"), "");
    rx.extend_from_slice(b"503 4\r\n250 reset\r\n");
    let Ok(Step::Event(client::Event::Outcome { outcome, .. })) = client.step(at(0), &mut rx) else { panic!() };
    assert!(matches!(outcome.recipients[..], [RecipientOutcome::Refused { phase: Phase::Content, .. }]));
    assert_eq!(client.step(at(0), &mut rx), Ok(Step::Decide));
}

#[test]
fn what_the_application_takes_is_not_the_servers_time() {
    // A chunk is on its way, and its reply has come, when the application looks for more content for a while.
    let (mut client, mut rx) = client("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    let id = client.send(envelope(), Content::Streamed { size: None }).unwrap();
    talk(&mut client, at(0), &mut rx, "");
    talk(&mut client, at(0), &mut rx, "250 ok\r\n250 ok\r\n");
    client.content(id, "text\r\n".repeat(200_000).into()).unwrap();
    assert!(talk(&mut client, at(0), &mut rx, "").starts_with("BDAT "));
    client.content(id, Bytes::from_static(b"more\r\n")).unwrap();
    assert_eq!(client.step(at(10), &mut rx), Ok(Step::Event(client::Event::WantContent(id))));
    client.content(id, Bytes::from_static(b"text\r\n")).unwrap();
    assert_eq!(client.step(at(500), &mut rx), Ok(Step::Event(client::Event::WantContent(id))));
    // Ten seconds had passed for the server.
    assert_eq!(client.deadline(), Some(at(500 + 170)));
}

#[test]
fn content_that_a_server_cannot_read_is_found_behind_a_full_chunk() {
    // I18N-003: two pieces at once, of which the first fills a chunk to its last octet
    let (mut client, mut rx) = client("250-mx\r\n250 CHUNKING\r\n");
    let id = client.send(envelope(), Content::Streamed { size: None }).unwrap();
    client.content(id, "fifteen octets\r\n".repeat(1 << 16).into()).unwrap();
    client.content(id, Bytes::from_static(b"\xe9\r\n")).unwrap();
    client.end_content(id).unwrap();
    for (reply, command) in [("", "MAIL "), ("250 ok\r\n", "RCPT "), ("250 ok\r\n", "BDAT "), ("250 ok\r\n", "RSET")] {
        assert!(talk(&mut client, at(0), &mut rx, reply).starts_with(command));
    }
}

#[test]
fn what_a_server_says_once_is_kept_once() {
    // LIM-014: a long reply, and many recipients of many messages whom it is about
    let (mut client, mut rx) = client("250 mx\r\n");
    let many = || Envelope::new("a@a.test", (0..50).map(|number| format!("r{number}@b.test"))).unwrap();
    for _ in 0..3 {
        client.send(many(), "x").unwrap();
    }
    talk(&mut client, at(0), &mut rx, "");
    rx.extend_from_slice(format!("{}421 bye\r\n", "421-on and on\r\n".repeat(100)).as_bytes());
    let mut texts = Vec::new();
    while let Ok(Step::Event(event)) = client.step(at(0), &mut rx) {
        let client::Event::Outcome { outcome, .. } = event else { panic!("{event:?}") };
        texts.extend(outcome.recipients.into_iter().map(|told| match told {
            RecipientOutcome::Refused { reply, .. } => reply,
            RecipientOutcome::Failed(Error::ServiceClosing { reply, .. }) => reply,
            told => panic!("{told:?}"),
        }));
    }
    assert_eq!(texts.len(), 150);
    let places: std::collections::BTreeSet<_> = texts.iter().map(|reply| reply.text().as_ptr()).collect();
    assert_eq!(places.len(), 1);
}

#[test]
fn a_go_ahead_that_comes_twice_refuses_nothing() {
    // REPLY-012, P17
    let (mut client, mut rx) = client("250-mx\r\n250 PIPELINING\r\n");
    client.send(envelope(), "x").unwrap();
    talk(&mut client, at(0), &mut rx, "");
    rx.extend_from_slice(b"250 ok\r\n250 ok\r\n354 go\r\n354 go\r\n");
    assert!(matches!(client.step(at(0), &mut rx), Ok(Step::Event(client::Event::Recipient { .. }))));
    let Ok(Step::Event(client::Event::Outcome { outcome, .. })) = client.step(at(0), &mut rx) else { panic!() };
    assert!(matches!(outcome.recipients[..], [RecipientOutcome::Failed(Error::Peer(_))]), "{outcome:?}");
}

#[test]
fn an_outcome_says_whether_the_session_is_over() {
    let (mut client, mut rx) = client("250 mx\r\n");
    let outcome = |client: &mut Client, rx: &mut BytesMut| {
        loop {
            match client.step(at(0), rx) {
                Ok(Step::Event(client::Event::Outcome { outcome, .. })) => return outcome,
                Ok(Step::Write) => {
                    let count = client.output().remaining();
                    client.output().advance(count);
                }
                Ok(Step::Event(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let needs_eight_bits = |outcome: &Outcome| matches!(outcome.error, Some(Error::Unsendable(_)));
    // The same is wrong with both, but of one the server had the begin already.
    client.send(envelope(), Bytes::from_static("ö".as_bytes())).unwrap();
    let before = outcome(&mut client, &mut rx);
    assert!(needs_eight_bits(&before) && !before.session_over, "{before:?}");
    let id = client.send(envelope(), Content::Streamed { size: None }).unwrap();
    for reply in ["", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        talk(&mut client, at(0), &mut rx, reply);
    }
    client.content(id, Bytes::from_static("ö".as_bytes())).unwrap();
    let amid = outcome(&mut client, &mut rx);
    assert!(needs_eight_bits(&amid) && amid.session_over, "{amid:?}");
    assert!(client.failure().is_some());
}
