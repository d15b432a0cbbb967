//! Properties that hold for every input: both roles against each other, against a model, against their limits.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

mod chunks;
mod grammar;
mod model;
mod sessions;
mod truth;

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;
use smtp_proto::client::{self, Client, Envelope, Event, Outcome, RecipientOutcome};
use smtp_proto::server::{self, Decision, Server};
use smtp_proto::wire::{BareNewline, Command, Mailbox, Reply};
use smtp_proto::{Instant, Machine, Step};
use smtp_tests::pair::{Fault, Numbers, Pair};

const REFUSED: Reply = Reply::from_static("550 5.1.1 No such user");

fn pair(pipelining: bool) -> Pair {
    pair_with(pipelining, true)
}

fn pair_without_chunks(pipelining: bool) -> Pair {
    pair_with(pipelining, false)
}

fn pair_with(pipelining: bool, chunking: bool) -> Pair {
    let mut config = server::Config::new("mx.test").unwrap();
    config.pipelining = pipelining;
    config.chunking = chunking;
    config.limits.text_line = 100_000;
    config.allow_nul = true;
    let mut client = smtp_tests::in_clear("c.test");
    client.text_line = usize::MAX;
    let mut pair = Pair::new(client, config);
    pair.decide_recipient = Box::new(|recipient| match recipient.forward_path.to_string() {
        refused if refused.starts_with("no") => REFUSED.into(),
        _ => Decision::Accept,
    });
    pair
}

fn outcomes(pair: &Pair) -> Vec<&Outcome> {
    let events = pair.client_events.iter();
    events.filter_map(|event| if let Event::Outcome { outcome, .. } = event { Some(outcome) } else { None }).collect()
}

/// What arrives of a message when its line ends are put right.
fn fixed(content: &[u8]) -> Vec<u8> {
    let (mut fixed, mut rest) = (Vec::new(), content);
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'\r', [b'\n', behind @ ..]) => behind,
            (b'\r' | b'\n', _) => behind,
            _ => {
                fixed.push(*first);
                rest = behind;
                continue;
            }
        };
        fixed.extend(b"\r\n");
    }
    if !fixed.is_empty() && !fixed.ends_with(b"\r\n") {
        fixed.extend(b"\r\n");
    }
    fixed
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b".".to_vec()),
        Just(b".\r\n".to_vec()),
        Just(b"\r\n.\r\nMAIL FROM:<x@x.test>\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_arrives_once_and_whole_under_any_scheduling(
        contents in proptest::collection::vec(content(), 1..5),
        pipelining in any::<bool>(),
        seed in any::<u64>(),
        most in prop_oneof![Just(1usize), 1usize..50, Just(100_000)],
    ) {
        // P8, P9, P17, DATA-007, DATA-015, PIPE-004
        let mut pair = pair(pipelining);
        for content in &contents {
            let envelope = Envelope::new("a@a.test", ["b@b.test", "no@b.test", "c@b.test"]).unwrap();
            pair.client.send(envelope, content.clone()).unwrap();
        }
        pair.client.quit().unwrap();
        pair.run(&mut Numbers::new(seed), most);
        prop_assert_eq!(&pair.client_end, &Some(Ok(())));
        let delivered = pair.delivered();
        prop_assert_eq!(delivered.len(), contents.len());
        for ((recipients, received), content) in delivered.iter().zip(&contents) {
            prop_assert_eq!(recipients, &["b@b.test", "no@b.test", "c@b.test"]);
            prop_assert_eq!(&received[..], &fixed(content)[..]);
        }
        for outcome in outcomes(&pair) {
            let accepted: Vec<bool> = outcome.recipients.iter().map(RecipientOutcome::is_accepted).collect();
            prop_assert_eq!(accepted, [true, false, true]);
        }
    }

    #[test]
    fn addresses_read_back_as_themselves(local in "[^\u{0}-\u{1f}\u{7f}-\u{9f}]{1,30}", domain in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,3}") {
        // ADDR-004, ADDR-005, ADDR-015, P15
        if let Ok(mailbox) = Mailbox::new(&local, domain.parse().unwrap()) {
            prop_assert_eq!(mailbox.to_string().parse::<Mailbox>(), Ok(mailbox));
        }
    }

    #[test]
    fn commands_that_parse_read_back_as_themselves(line in proptest::collection::vec(any::<u8>(), 0..60), shaped in "(MAIL FROM:|RCPT TO:|EHLO |VRFY |HELP |NOOP |XFOO )[<@a-z.\"\\\\ >=\\[\\]:0-9éA-Z-]{0,40}") {
        // ADDR-014, ADDR-015
        for line in [&line[..], shaped.as_bytes()] {
            if let Ok(command) = Command::parse(line) {
                prop_assert_eq!(Command::parse(command.to_string().as_bytes()), Ok(command));
            }
        }
    }
}

#[test]
fn no_fault_at_any_step_makes_a_false_outcome() {
    // P17, STATE-014, STATE-018
    for pipelining in [false, true] {
        for most in [40, 100_000] {
            let mut clean = false;
            for moves in 1.. {
                for fault in [Fault::Reset, Fault::Close, Fault::Silence] {
                    let mut pair = pair(pipelining);
                    for name in ["b", "no", "c"] {
                        let recipients = [format!("{name}1@b.test"), format!("{name}2@b.test")];
                        let envelope = Envelope::new("a@a.test", recipients).unwrap();
                        pair.client.send(envelope, format!("to {name}\n.\n")).unwrap();
                    }
                    pair.client.quit().unwrap();
                    pair.fail_after(moves, fault);
                    pair.run(&mut Numbers::new(1), most);
                    clean = pair.moves < moves;
                    let context = format!("pipelining {pipelining}, {fault:?} after {moves} moves of {most}");
                    let delivered = pair.delivered();
                    let outcomes = outcomes(&pair);
                    assert_eq!(outcomes.len(), 3, "{context}: every message has its outcome");
                    assert!(pair.client_end.is_some(), "{context}: the client came to an end");
                    for (outcome, name) in outcomes.iter().zip(["b", "no", "c"]) {
                        let arrived =
                            delivered.iter().any(|(_, content)| content.starts_with(format!("to {name}\r").as_bytes()));
                        for recipient in &outcome.recipients {
                            match recipient {
                                RecipientOutcome::Accepted(_) => assert!(arrived, "{context}: a false accepted"),
                                RecipientOutcome::Unknown(_) => assert!(!clean, "{context}"),
                                _ => assert!(!arrived, "{context}: a false failure for {name}: {outcome:?}"),
                            }
                        }
                    }
                    assert!(!clean || outcomes[0].is_delivered() && outcomes[2].is_delivered(), "{context}");
                }
                if clean {
                    assert!(moves > 10);
                    break;
                }
            }
            assert!(clean);
        }
    }
}

#[test]
fn sender_recipients_and_data_leave_in_one_write_and_a_message_costs_two_round_trips() {
    // PIPE-003, PIPE-009: greeting and hello come before, the goodbye behind.
    let trips = |messages: usize, pipelining: bool, keep: bool| {
        let mut pair = pair_without_chunks(pipelining);
        let send = |pair: &mut Pair| {
            let envelope = Envelope::new("a@a.test", (0..50).map(|n| format!("b{n}@b.test"))).unwrap();
            pair.client.send(envelope, "text\r\n").unwrap();
        };
        for _ in 0..messages {
            send(&mut pair);
            if !keep {
                pair.run(&mut Numbers::new(1), usize::MAX);
            }
        }
        pair.run(&mut Numbers::new(1), usize::MAX);
        assert_eq!(pair.delivered().len(), messages);
        pair.round_trips
    };
    // One after the other: a group of MAIL, 50 RCPT and DATA, then the content.
    assert_eq!(trips(11, true, false) - trips(1, true, false), 20);
    // Queued: the end of one message travels with the begin of the next.
    assert_eq!(trips(11, true, true) - trips(1, true, true), 10);
    // Without PIPELINING each command waits for its reply.
    assert_eq!(trips(11, false, true) - trips(1, false, true), 10 * 53);
    // In chunks, whole messages are on their way: with 1.6 KiB of commands each, ten of them.
    let trips = |messages: usize| {
        let mut pair = pair(true);
        for _ in 0..messages {
            let envelope = Envelope::new("a@a.test", (0..50).map(|n| format!("b{n}@b.test"))).unwrap();
            pair.client.send(envelope, "text\r\n").unwrap();
        }
        pair.run(&mut Numbers::new(1), usize::MAX);
        assert_eq!(pair.delivered().len(), messages);
        pair.round_trips
    };
    assert!(trips(101) - trips(1) <= 20, "{} round trips for 100 messages", trips(101) - trips(1));

    let mut client = Client::new(smtp_tests::in_clear("c.test"), Instant::default());
    let recipients: Vec<String> = (0..100).map(|n| format!("b{n}@b.test")).collect();
    client.send(Envelope::new("a@a.test", &recipients).unwrap(), "x").unwrap();
    let mut rx = BytesMut::from("220 mx\r\n");
    let mut writes = Vec::new();
    loop {
        match client.step(Instant::default(), &mut rx).unwrap() {
            Step::Write => {
                let output = client.output();
                writes.push(output.copy_to_bytes(output.remaining()));
                if writes.len() == 1 {
                    rx.extend_from_slice(b"250-mx\r\n250 PIPELINING\r\n");
                }
            }
            Step::Event(_) => {}
            Step::Read if writes.len() == 1 => {}
            step => break assert_eq!(step, Step::Read),
        }
    }
    assert_eq!(writes.len(), 2);
    let group = String::from_utf8(writes[1].to_vec()).unwrap();
    assert!(group.starts_with("MAIL FROM:<a@a.test>\r\nRCPT TO:<b0@b.test>\r\n"));
    assert!(group.ends_with("RCPT TO:<b99@b.test>\r\nDATA\r\n"));
}

#[test]
fn fifty_replies_leave_in_one_write() {
    // PIPE-009, PIPE-010
    let mut server = Server::new(Arc::new(server::Config::new("mx.test").unwrap()), Instant::default());
    let mut rx = BytesMut::from("HELO a\r\nMAIL FROM:<>\r\n");
    for _ in 0..50 {
        rx.extend_from_slice(b"RCPT TO:<b@b.test>\r\n");
    }
    rx.extend_from_slice(b"NOOP\r\nRCPT TO:<b@b.test>\r\n");
    let mut writes = Vec::new();
    loop {
        match server.step(Instant::default(), &mut rx).unwrap() {
            Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
            Step::Event(_) => {}
            Step::Write => {
                let output = server.output();
                let text = output.copy_to_bytes(output.remaining());
                writes.push(text.iter().filter(|octet| **octet == b'\n').count());
            }
            _ => break,
        }
    }
    // The greeting; the reply to the hello; MAIL, 50 RCPT and NOOP; the last RCPT.
    assert_eq!(writes, [1, 1, 52, 1]);
}

#[test]
fn content_is_not_copied_in_either_direction() {
    let message: Bytes = "a line of text that is sent as it is\r\n".repeat(10_000).into();
    let whole = message.as_ptr_range();
    let mut client = Client::new(smtp_tests::in_clear("c.test"), Instant::default());
    client.send(Envelope::new("a@a.test", ["b@b.test"]).unwrap(), message.clone()).unwrap();
    let mut server = Server::new(Arc::new(server::Config::new("mx.test").unwrap()), Instant::default());
    let (mut client_rx, mut server_rx) = (BytesMut::new(), BytesMut::new());
    let (mut by_reference, mut in_buffer) = (0, 0);
    loop {
        let mut moved = false;
        loop {
            match client.step(Instant::default(), &mut client_rx).unwrap() {
                Step::Event(_) => {}
                Step::Write => {
                    let output = client.output();
                    let chunk = output.chunk();
                    if whole.contains(&chunk.as_ptr()) {
                        by_reference += chunk.len();
                    }
                    server_rx.extend_from_slice(chunk);
                    let count = chunk.len();
                    output.advance(count);
                    moved = true;
                    if server_rx.len() > 100_000 {
                        break;
                    }
                }
                _ => break,
            }
        }
        let buffer = server_rx.as_ptr_range();
        loop {
            match server.step(Instant::default(), &mut server_rx).unwrap() {
                Step::Event(server::Event::Body(piece)) => {
                    assert!(buffer.contains(&piece.as_ptr()), "a piece of content lies elsewhere");
                    in_buffer += piece.len();
                }
                Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
                Step::Event(_) => {}
                Step::Write => {
                    let output = server.output();
                    client_rx.extend_from_slice(output.chunk());
                    let count = output.chunk().len();
                    output.advance(count);
                    moved = true;
                }
                _ => break,
            }
        }
        if !moved {
            break;
        }
    }
    assert_eq!((by_reference, in_buffer), (message.len(), message.len()));
}

#[test]
fn what_a_peer_sends_never_piles_up() {
    // LIM-014, P3, H-RS-1: whatever comes, what is kept is bounded by the configuration.
    let mut numbers = Numbers::new(7);
    for round in 0..300 {
        let mut server = Server::new(Arc::new(server::Config::new("mx.test").unwrap()), Instant::default());
        let mut rx = BytesMut::new();
        let lines: [&[u8]; 8] = [
            b"EHLO a\r\n",
            b"MAIL FROM:<>\r\n",
            b"RCPT TO:<b@b.test>\r\n",
            b"DATA\r\n",
            b"x",
            b"\r\n.\r\n",
            b"\r\n..",
            b"NOOP x",
        ];
        'session: for _ in 0..2000 {
            rx.extend_from_slice(lines[numbers.below(lines.len() - round % 2)]);
            loop {
                match server.step(Instant::default(), &mut rx).unwrap() {
                    Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
                    Step::Event(_) => {}
                    Step::Write => {
                        assert!(server.output().remaining() < 80_000);
                        let count = server.output().remaining();
                        server.output().advance(count);
                    }
                    Step::Read => break,
                    Step::Decide => panic!("all questions were answered"),
                    Step::UpgradeTls => panic!("no TLS here"),
                    Step::Close => break 'session,
                }
            }
            assert!(rx.len() <= 2048, "{} octets wait for their successors", rx.len());
        }
    }
    // A peer that does not read gets no further replies made.
    let mut server = Server::new(Arc::new(server::Config::new("mx.test").unwrap()), Instant::default());
    let mut rx = BytesMut::from(&b"HELO a\r\nMAIL FROM:<>\r\n"[..]);
    rx.extend_from_slice(&b"RCPT TO:<b@b.test>\r\n".repeat(50_000));
    for _ in 0..200_000 {
        match server.step(Instant::default(), &mut rx).unwrap() {
            Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
            Step::Write if server.output().remaining() < 60_000 => {
                let count = server.output().remaining();
                server.output().advance(count);
            }
            Step::Write => break,
            _ => {}
        }
    }
    assert!((60_000..70_000).contains(&server.output().remaining()) && rx.len() > 500_000);
}

#[test]
fn an_argument_that_cannot_go_on_the_wire_is_refused_by_name() {
    // WIRE-002, WIRE-008, WIRE-017, ADDR-006
    let long = "a".repeat(3000);
    for bad in ["a\r\nDATA@b.test", "a b@b.test", "a\0@b.test", "<a@b.test>", "a@b.test>", &format!("{long}@b.test")] {
        let error = Envelope::new("x@a.test", ["ok@b.test", bad]).unwrap_err();
        assert_eq!(error.argument(), "recipient");
        assert!(error.to_string().starts_with("recipient 2 "), "{error}");
        assert!(!error.to_string().contains(['\r', '\n', '\0']), "{error}");
        assert_eq!(Envelope::new(bad, ["ok@b.test"]).unwrap_err().argument(), "sender");
    }
    assert_eq!(Envelope::new("a@a.test", [""; 0]).unwrap_err().argument(), "list of recipients");
    for bad in ["", "a b", "a\r\nb", "é.test", "a_b", &long] {
        assert_eq!(client::Config::new(bad).unwrap_err().argument(), "hello name");
        assert_eq!(server::Config::new(bad).unwrap_err().argument(), "host name");
    }
    let mut client = Client::new(smtp_tests::in_clear("c.test"), Instant::default());
    for bad in ["", "NOOP\r\nQUIT", "NOOP\n", "NOOP\0", "NOOP é", &long] {
        let error = client.command(bad).unwrap_err().to_string();
        assert!(error.starts_with("command "), "{error}");
    }
    assert_eq!(client.step(Instant::default(), &mut BytesMut::new()), Ok(Step::Read), "nothing was written");
}

#[test]
fn time_limits_are_those_of_the_standard() {
    // LIM-009, LIM-010, LIM-011
    let client = client::Timeouts::default();
    let seconds = [client.greeting, client.mail, client.rcpt, client.data, client.content, client.end_of_data];
    assert_eq!(seconds.map(|time| time.as_secs()), [300, 300, 300, 120, 180, 600]);
    let server = server::Timeouts::default();
    assert_eq!([server.command, server.content].map(|time| time.as_secs()), [300, 300]);
}

#[test]
fn limits_are_those_that_are_documented() {
    // LIM-014: what is on by default bounds a session.
    let limits = server::Limits::default();
    assert_eq!((limits.command_line, limits.discarded_line, limits.text_line), (2048, 65_536, 998));
    assert_eq!((limits.message_size, limits.discarded_content), (Some(26_214_400), 268_435_456));
    assert_eq!((limits.recipients, limits.transactions, limits.recipient_domains), (1000, None, None));
    assert_eq!((limits.soft_errors, limits.hard_errors), (10, 20));
    assert_eq!((limits.junk_commands, limits.refusals), (100, 100));
    assert_eq!((limits.auth_line, limits.auth_rounds, limits.auth_failures), (12_288, 10, 3));
    let timeouts = server::Timeouts::default();
    assert_eq!(timeouts.minimum_rate, 500);
    let others = [timeouts.early_talkers, timeouts.proxy_header, timeouts.handshake, timeouts.decision];
    assert_eq!(others.map(|time| time.as_secs()), [0, 5, 60, 600]);
    let connections = smtp_tokio::ConnectionLimits::default();
    assert_eq!((connections.total, connections.per_address), (500, 50));
}

/// Lets the server work off what is there, accepting everything.
fn accept_all(server: &mut Server, rx: &mut BytesMut) {
    loop {
        match server.step(Instant::default(), rx).unwrap() {
            Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
            Step::Write => {
                let count = server.output().remaining();
                server.output().advance(count);
            }
            Step::Read => break,
            _ => {}
        }
    }
}

#[test]
fn the_application_has_what_a_trace_field_needs() {
    // DATA-016, DATA-017
    let protocol = |commands: &str| {
        let mut server = Server::new(Arc::new(server::Config::new("mx.test").unwrap()), Instant::default());
        let mut rx = BytesMut::from(commands);
        accept_all(&mut server, &mut rx);
        let session = server.session();
        let recipients = session.transaction().map_or(0, server::Transaction::recipients);
        (session.protocol(), session.hello().map(|hello| hello.name.to_string()), recipients)
    };
    let name = Some("a.test".to_owned());
    assert_eq!(protocol("HELO a.test\r\nMAIL FROM:<>\r\n"), ("SMTP", name.clone(), 0));
    let two = "EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>\r\n";
    assert_eq!(protocol(two), ("ESMTP", name.clone(), 2));
    assert_eq!(protocol("EHLO a.test\r\nMAIL FROM:<> SMTPUTF8\r\n"), ("UTF8SMTP", name, 0));
}

#[test]
fn early_pipelining_is_noticed() {
    // PIPE-012
    let noticed = |pieces: &[&str]| {
        let mut server = Server::new(Arc::new(server::Config::new("mx.test").unwrap()), Instant::default());
        let mut rx = BytesMut::new();
        for piece in pieces {
            rx.extend_from_slice(piece.as_bytes());
            accept_all(&mut server, &mut rx);
        }
        server.session().pipelined_early()
    };
    assert!(!noticed(&["", "EHLO a\r\n", "MAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", ".\r\n"]));
    // Before the greeting, behind EHLO, in a group after HELO, behind DATA.
    assert!(noticed(&["EHLO a\r\n"]));
    assert!(noticed(&["", "EHLO a\r\nMAIL FROM:<>\r\n"]));
    assert!(!noticed(&["", "HELO a\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<b@b.test>\r\n"]));
    assert!(noticed(&["", "HELO a\r\n", "MAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\n"]));
    assert!(noticed(&["", "EHLO a\r\n", "MAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n.\r\n"]));
}

#[test]
fn a_poisoned_client_stays_poisoned() {
    // P18
    let mut client = Client::new(smtp_tests::in_clear("c.test"), Instant::default());
    let mut rx = BytesMut::from("hello\r\n220 mx\r\n");
    let first = client.step(Instant::default(), &mut rx).unwrap_err();
    for _ in 0..3 {
        assert_eq!(client.step(Instant::default(), &mut rx), Err(first.clone()));
    }
    assert!(client.noop().is_err() && client.quit().is_err());
    assert_eq!(client.deadline(), None);
    assert_eq!(client.output().remaining(), 0);
}

#[test]
fn bare_newlines_in_client_policies() {
    // WIRE-002, H-SM-4
    for (policy, expected) in [
        (BareNewline::Fix, Some(&b"a\r\n..\r\n.\r\n"[..])),
        (BareNewline::Strip, Some(b"a.\r\n.\r\n")),
        (BareNewline::Pass, Some(b"a\n..\r\n.\r\n")),
        (BareNewline::Reject, None),
    ] {
        let mut config = smtp_tests::in_clear("c.test");
        config.bare_newline = policy;
        let mut client = Client::new(config, Instant::default());
        client.send(Envelope::new("a@a.test", ["b@b.test"]).unwrap(), "a\n.").unwrap();
        let mut rx = BytesMut::new();
        let mut replies = ["220 x\r\n", "250 x\r\n", "250 x\r\n", "250 x\r\n", "354 x\r\n"].into_iter();
        let mut last = None;
        loop {
            match client.step(Instant::default(), &mut rx).unwrap() {
                Step::Write => {
                    let count = client.output().remaining();
                    last = Some(client.output().copy_to_bytes(count));
                }
                Step::Read => match replies.next() {
                    Some(reply) => rx.extend_from_slice(reply.as_bytes()),
                    None => break,
                },
                Step::Event(_) => {}
                _ => break,
            }
        }
        let content = last.filter(|octets| !octets.starts_with(b"EHLO"));
        assert_eq!(content.as_deref(), expected, "{policy:?}");
    }
}
