//! Content in chunks: where it is cut means nothing, and nothing in it means anything.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use smtp_proto::server::{Config, Decision, Event, ResetReason, Server};
use smtp_proto::wire::{BareNewline, ContentDecoder, ContentFault, Decoded, Reply};
use smtp_proto::{Instant, Machine, Step};
use smtp_tests::pair::Numbers;

const POLICIES: [BareNewline; 4] = [BareNewline::Reject, BareNewline::Fix, BareNewline::Strip, BareNewline::Pass];

/// What a policy makes of content, by its definition; `None` when it is refused.
pub(crate) fn made(content: &[u8], policy: BareNewline) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    let mut rest = content;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'\r', [b'\n', behind @ ..]) => {
                made.extend_from_slice(b"\r\n");
                rest = behind;
            }
            (b'\r' | b'\n', _) => match policy {
                BareNewline::Reject => return None,
                BareNewline::Fix => made.extend_from_slice(b"\r\n"),
                BareNewline::Strip => {}
                BareNewline::Pass => made.push(*first),
            },
            _ => made.push(*first),
        }
    }
    Some(made)
}

/// What a decoder makes of content in two chunks, of which so many octets arrive at a time.
fn decoded(content: &[u8], cut: usize, policy: BareNewline, at_a_time: usize) -> Option<Vec<u8>> {
    let mut decoder = ContentDecoder::chunked(policy, false, 998);
    let (mut made, mut fault) = (Vec::new(), None);
    let (first, second) = content.split_at(cut);
    for (chunk, last) in [(first, false), (second, true)] {
        let (mut rx, mut left, mut pieces) = (BytesMut::new(), chunk.len() as u64, chunk.chunks(at_a_time));
        loop {
            match decoder.decode_chunk(&mut rx, &mut left, last) {
                Decoded::Content(piece) if fault.is_none() => made.extend_from_slice(&piece),
                Decoded::Content(_) => {}
                Decoded::Fault(found) => assert_eq!(fault.replace(found), None, "a second fault"),
                Decoded::Partial => rx.extend_from_slice(pieces.next().expect("it waits for what does not come")),
                Decoded::End => break,
            }
        }
        assert!(rx.is_empty() && left == 0 && pieces.next().is_none(), "the end of a chunk is where it is said to be");
    }
    assert!(fault.is_none() || fault == Some(ContentFault::BareNewline));
    fault.is_none().then_some(made)
}

#[test]
fn every_short_content_is_the_same_wherever_it_is_cut() {
    // P1, P10, BDAT-009, H-SM-2: all there are of up to six octets
    let letters = b"\r\n.a";
    for length in 0..=6u32 {
        for number in 0..letters.len().pow(length) {
            let content: Vec<u8> = (0..length).map(|place| letters[number / 4usize.pow(place) % 4]).collect();
            for policy in POLICIES {
                let expected = made(&content, policy);
                for cut in 0..=content.len() {
                    for at_a_time in [1, usize::MAX] {
                        let found = decoded(&content, cut, policy, at_a_time);
                        assert_eq!(found, expected, "{}, {policy:?}, cut at {cut}", content.escape_ascii());
                    }
                }
            }
        }
    }
}

const HOSTILE: [&[u8]; 9] = [
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<evil@x.test>\r\nDATA\r\n",
    b"BDAT 3 LAST\r\nabc",
    b"QUIT\r\n",
    b"\0\r",
];

/// A message whose content does its worst, in chunks or, at times, behind DATA.
fn message(numbers: &mut Numbers, data: bool) -> Vec<u8> {
    let mut content: Vec<u8> = Vec::new();
    for _ in 0..1 + numbers.below(6) {
        content.extend_from_slice(HOSTILE[numbers.below(HOSTILE.len())]);
    }
    let mut message = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>\r\n".to_vec();
    if data && numbers.below(3) == 0 {
        message.extend_from_slice(b"DATA\r\n");
        for line in content.split_inclusive(|octet| *octet == b'\n') {
            let stuffed = if line.starts_with(b".") { &b"."[..] } else { b"" };
            message.extend_from_slice(&[stuffed, line].concat());
        }
        message.extend_from_slice(b"\r\n.\r\n");
        return message;
    }
    while !content.is_empty() {
        let rest = content.split_off(numbers.below(content.len() + 1).max(1));
        let last = if rest.is_empty() { " LAST" } else { "" };
        message.extend_from_slice(format!("BDAT {}{last}\r\n", content.len()).as_bytes());
        message.extend_from_slice(&content);
        content = rest;
    }
    message
}

#[test]
fn messages_are_as_many_as_were_sent_whatever_is_done_about_them() {
    // P10, H-SM-1, H-SM-2, H-SM-3, BDAT-005, BDAT-009
    let mut endings = [0; 2];
    for round in 0..1000 {
        let mut numbers = Numbers::new(round + 1);
        let sent = 1 + numbers.below(4);
        let lmtp = numbers.below(3) == 0;
        let hello: &[u8] = if lmtp { b"LHLO c.test\r\n" } else { b"EHLO c.test\r\n" };
        // Who sends content behind a DATA that was refused sends commands.
        let (data, refusable) = if round % 2 == 0 { (true, 3) } else { (false, 4) };
        let messages: Vec<u8> = (0..sent).flat_map(|_| message(&mut numbers, data)).collect();
        let input = [hello, &messages, b"QUIT\r\n"].concat();
        for policy in POLICIES {
            // Nothing, the message, its first piece, or its start is refused.
            for refused in &["", "MessageEnd", "Body", "Data"][..refusable] {
                let mut config = Config::new("mx.test").unwrap();
                config.bare_newline = policy;
                config.lmtp = lmtp;
                // The chunks behind a refused one are errors.
                config.limits.hard_errors = u32::MAX;
                let mut server = Server::new(Arc::new(config), Instant::default());
                let refusal = Decision::Reply(Reply::from_static("550 5.7.1 No"));
                let (mut rx, mut rest) = (BytesMut::new(), &input[..]);
                let (mut begun, mut accepted, mut refusals) = (0, 0, 0);
                let last = loop {
                    match server.step(Instant::default(), &mut rx).unwrap() {
                        Step::Event(event) => {
                            let refuse = !refused.is_empty() && format!("{event:?}").starts_with(*refused);
                            match &event {
                                Event::Mail(mail) => {
                                    assert_eq!(mail.reverse_path.to_string(), "a@a.test");
                                    begun += 1;
                                }
                                Event::MessageEnd { .. } if !refuse => accepted += 1,
                                Event::MessageEnd { .. } | Event::Reset(ResetReason::Refused(_)) => refusals += 1,
                                _ => {}
                            }
                            match event {
                                Event::Closing(reason) => break reason,
                                _ if refuse => server.decide(refusal.clone()).unwrap(),
                                event if event.is_question() => server.decide(Decision::Accept).unwrap(),
                                _ => {}
                            }
                        }
                        Step::Write => {
                            let count = server.output().remaining();
                            server.output().advance(count);
                        }
                        Step::Read => {
                            assert!(!rest.is_empty(), "it waits for what does not come");
                            let (piece, behind) = rest.split_at(rest.len().min(1 + numbers.below(40)));
                            rx.extend_from_slice(piece);
                            rest = behind;
                        }
                        step => panic!("{step:?}"),
                    }
                };
                let context = format!("{policy:?}, refused: {refused:?}, {}", input.escape_ascii());
                assert_eq!(format!("{last:?}"), "Quit", "{context}");
                assert_eq!((begun, accepted + refusals), (sent, sent), "{context}");
                endings[0] += accepted;
                endings[1] += refusals;
            }
        }
    }
    assert!(endings.iter().all(|count| *count > 1000), "{endings:?}");
}
