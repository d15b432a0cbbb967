//! One thing goes wrong, at every step of a session with several messages: the client tells the truth about each
//! recipient, compared with what the server took.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::collections::BTreeSet;

use bytes::Bytes;
use smtp_proto::client::{Content, Envelope, Outcome, RecipientOutcome, Transfer};
use smtp_proto::server;
use smtp_proto::wire::Capability;
use smtp_proto::{Error, Phase};
use smtp_tests::link::{Fault, Link, Place};

const WORDS: [&str; 3] = ["421 4.3.2 going down", "451 4.3.0 not now", "550 5.7.1 no"];

/// A message of a session.
struct Message {
    sender: &'static str,
    recipients: &'static [&'static str],
    content: Vec<u8>,
    streamed: bool,
}

fn message(sender: &'static str, recipients: &'static [&'static str]) -> Message {
    let content = format!("text of {sender}\r\n.\r\nend of {sender}\r\n").into();
    Message { sender, recipients, content, streamed: false }
}

/// A session of some thirty steps: messages that are taken for all, for some and for nobody.
fn several() -> Vec<Message> {
    vec![
        message("first@a.test", &["a@b.test", "no@b.test", "c@c.test"]),
        message("refused@a.test", &["a@b.test"]),
        message("third@a.test", &["full@b.test", "b@b.test"]),
        message("fourth@a.test", &["no@b.test", "later@b.test"]),
        message("bad@a.test", &["a@b.test", "later@b.test"]),
        Message { streamed: true, ..message("sixth@a.test", &["a@b.test"]) },
    ]
}

/// A message in three chunks, and one behind it. The many line ends to put right fill a chunk early.
fn large() -> Vec<Message> {
    let mut messages = vec![message("first@a.test", &["a@b.test", "no@b.test"]), message("next@a.test", &["a@b.test"])];
    messages[0].content.splice(0..0, [b'\n'; 68_000]);
    messages
}

/// A way to speak with the server.
#[derive(Debug, Clone, Copy)]
struct Way {
    pipelining: bool,
    chunking: bool,
    lmtp: bool,
    /// Two recipients at a time.
    divided: bool,
}

const WAYS: [Way; 8] = [
    Way { pipelining: false, chunking: false, lmtp: false, divided: false },
    Way { pipelining: true, chunking: false, lmtp: false, divided: false },
    Way { pipelining: false, chunking: true, lmtp: false, divided: false },
    Way { pipelining: true, chunking: true, lmtp: false, divided: false },
    Way { pipelining: true, chunking: true, lmtp: false, divided: true },
    Way { pipelining: false, chunking: true, lmtp: true, divided: false },
    Way { pipelining: true, chunking: false, lmtp: true, divided: false },
    Way { pipelining: true, chunking: true, lmtp: true, divided: true },
];

impl Way {
    fn link(self, messages: &[Message], fault: (Fault, Place), most: usize) -> Link {
        let mut client = smtp_tests::in_clear("c.test");
        client.lmtp = self.lmtp;
        let mut server = server::Config::new("mx.test").unwrap();
        (server.lmtp, server.pipelining, server.chunking) = (self.lmtp, self.pipelining, self.chunking);
        client.transfer = Transfer::Auto;
        if self.divided {
            server.announce_limits = false;
            server.capabilities.push(Capability::new("LIMITS", "RCPTMAX=2").unwrap());
        }
        let mut link = Link::new(client, server, fault, most);
        for message in messages {
            let envelope = Envelope::new(message.sender, message.recipients).unwrap();
            let content = Bytes::copy_from_slice(&message.content);
            if message.streamed {
                let id = link.client.send(envelope, Content::Streamed { size: None }).unwrap();
                link.streams.push((id, content));
            } else {
                link.client.send(envelope, content).unwrap();
            }
        }
        link.client.quit().unwrap();
        link.run();
        link
    }
}

/// Whether one text stands in another.
fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}

fn fixed(content: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(content).replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// Whether the client was given a verdict on the message for this recipient.
fn is_judged(link: &Link, sender: &str, recipient: &str) -> bool {
    let verdict = format!("verdict on {sender} for ");
    link.given.split(|octet| *octet == b'\n').any(|line| contains(line, &verdict) && contains(line, recipient))
}

/// Compares what the client tells with what the server took.
fn check(link: &Link, messages: &[Message], context: &str) {
    assert_eq!(link.outcomes.len(), messages.len(), "{context}: an outcome for each");
    let mut outcomes: Vec<_> = link.outcomes.iter().collect();
    outcomes.sort_by_key(|(id, _)| *id);
    for ((_, outcome), message) in outcomes.into_iter().zip(messages) {
        check_message(link, message, outcome, context);
    }
    for (sender, _, content) in &link.taken {
        let message = messages.iter().find(|message| message.sender == sender).unwrap();
        assert!(*content == fixed(&message.content), "{context}: {sender} is not what was sent");
    }
    let distinct: BTreeSet<_> = link.taken.iter().map(|(sender, recipient, _)| (sender, recipient)).collect();
    assert_eq!(distinct.len(), link.taken.len(), "{context}: taken twice");
}

fn check_message(link: &Link, message: &Message, outcome: &Outcome, context: &str) {
    assert_eq!(outcome.recipients.len(), message.recipients.len());
    for (recipient, told) in message.recipients.iter().zip(&outcome.recipients) {
        let taken = link.taken.iter().any(|(sender, to, _)| sender == message.sender && to == recipient);
        let context = || format!("{context}: {} to {recipient}: {told:?}, {:?}", message.sender, link.end);
        match told {
            RecipientOutcome::Accepted(_) => assert!(taken, "accepted, {}", context()),
            RecipientOutcome::Unknown(_) => {
                assert!(contains(&link.written, &format!("end of {}\r\n", message.sender)), "too early, {}", context());
                // In chunks, the reply behind it is part of the verdict: nobody knows what is wrong where it is missing.
                // Nor what a reply is worth behind one that cannot be.
                let unconfirmed =
                    matches!(outcome.error, Some(Error::Timeout { phase: Phase::Reset } | Error::Peer(_)));
                assert!(unconfirmed || !is_judged(link, message.sender, recipient), "known, {}", context());
            }
            RecipientOutcome::Refused { .. } | RecipientOutcome::Failed(_) => assert!(!taken, "{}", context()),
            other => panic!("{other:?}"),
        }
    }
}

/// Faults that break off a session, or that the server means.
fn honest() -> Vec<Fault> {
    let mut faults = vec![Fault::EndOfFile, Fault::Reset, Fault::TimeOut, Fault::FailedWrite];
    faults.extend(WORDS.map(Fault::Decision));
    faults
}

fn session_with(messages: &[Message], way: Way, most: usize, most_places: usize) {
    let clean = way.link(messages, (Fault::Reset, Place::Nowhere), most);
    check(&clean, messages, &format!("{way:?}"));
    assert_eq!(clean.end, Some(Ok(())), "{way:?}");
    let unknown = |outcome: &Outcome| outcome.recipients.iter().any(|one| matches!(one, RecipientOutcome::Unknown(_)));
    assert!(!clean.outcomes.iter().any(|(_, outcome)| unknown(outcome)), "{way:?}");
    for fault in honest() {
        let places: Vec<Place> = match fault {
            Fault::Decision(_) => (0..clean.decisions).map(Place::Decision).collect(),
            Fault::FailedWrite => octets(&clean).into_iter().map(Place::Octet).collect(),
            _ => octets(&clean).into_iter().map(Place::Octet).chain((0..clean.replies).map(Place::Reply)).collect(),
        };
        let stride = places.len() / most_places + 1;
        for place in places.into_iter().step_by(stride) {
            let link = way.link(messages, (fault, place), most);
            check(&link, messages, &format!("{way:?}, {fault:?} at {place:?}, {most} at a time"));
        }
    }
}

/// Where the client's octets are cut: around each line end, but for those of a large content.
fn octets(clean: &Link) -> Vec<usize> {
    let ends = clean.written.iter().enumerate().filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at);
    let ends = ends.filter(|at| !clean.written[..*at].ends_with(b"\r\n\r") || at % 5000 < 2);
    ends.flat_map(|at| [at, at + 1, at + 2]).collect()
}

#[test]
fn whatever_breaks_wherever_no_outcome_is_false() {
    // P17, STATE-014, STATE-017, STATE-018, LMTP-008
    for way in WAYS {
        for most in [usize::MAX, 1, 30] {
            session_with(&several(), way, most, usize::MAX - 1);
        }
    }
}

#[test]
fn nor_where_a_message_has_many_chunks() {
    // P17, BDAT-018, BDAT-020
    for way in WAYS.into_iter().filter(|way| way.chunking && way.pipelining) {
        let clean = way.link(&large(), (Fault::Reset, Place::Nowhere), usize::MAX);
        let chunks = clean.written.windows(5).filter(|window| window == b"BDAT ").count();
        assert_eq!(chunks, 4, "three and one");
        session_with(&large(), way, usize::MAX, 6);
    }
}

/// Whether the reply with this number is a verdict.
fn is_verdict(clean: &Link, number: usize) -> bool {
    let mut replies = clean.given.split_inclusive(|octet| *octet == b'\n').filter(|line| line.get(3) != Some(&b'-'));
    replies.nth(number).is_some_and(|reply| contains(reply, "verdict on"))
}

#[test]
fn a_server_that_counts_wrongly_is_found_out() {
    // P17, P18, REPLY-012, LMTP-007
    let messages = several();
    let mut told = 0;
    for way in WAYS {
        let clean = way.link(&messages, (Fault::Reset, Place::Nowhere), usize::MAX);
        let in_flight = way.pipelining && way.chunking && !way.lmtp;
        for fault in [Fault::WrongReply, Fault::ReplyTooMany, Fault::ReplyMissing] {
            for number in 0..clean.replies {
                let link = way.link(&messages, (fault, Place::Reply(number)), usize::MAX);
                let context = format!("{way:?}, {fault:?} at reply {number}");
                match fault {
                    // DATA that was refused gets an empty message when it is said not to have been.
                    Fault::WrongReply => check(&link, &messages, &context),
                    // What comes in the place of the verdict is taken for it, unless something stands behind it.
                    Fault::ReplyTooMany if in_flight || !is_verdict(&clean, number) => {
                        told += check_refused(&link, &messages, &context);
                    }
                    // Where nothing is on its way, nothing can be taken for something else.
                    Fault::ReplyMissing if !(way.pipelining || way.lmtp && is_verdict(&clean, number)) => {
                        check(&link, &messages, &context);
                    }
                    _ => assert_eq!(link.outcomes.len(), messages.len(), "{context}: an outcome for each"),
                }
                // Behind the goodbye nothing matters any more.
                let late = contains(&link.written, "QUIT\r\n");
                let refused_data = fault == Fault::WrongReply && contains(&link.written, "\r\n.\r\n");
                assert!(
                    late || refused_data || link.end.as_ref().is_some_and(Result::is_err),
                    "{context}: not found out"
                );
            }
        }
    }
    assert!(told > 300, "only {told}");
}

/// Messages that the server refused as a whole are not told to be accepted. How many there were.
fn check_refused(link: &Link, messages: &[Message], context: &str) -> usize {
    let mut outcomes: Vec<_> = link.outcomes.iter().collect();
    outcomes.sort_by_key(|(id, _)| *id);
    assert_eq!(outcomes.len(), messages.len(), "{context}: an outcome for each");
    let taken = |message: &Message| link.taken.iter().any(|(sender, ..)| sender == message.sender);
    let refused = messages.iter().zip(outcomes).filter(|(message, _)| !taken(message));
    let accepted = |outcome: &Outcome| outcome.recipients.iter().any(RecipientOutcome::is_accepted);
    refused
        .inspect(|(message, (_, outcome))| {
            assert!(!accepted(outcome), "{context}: {} is told to be accepted: {outcome:?}", message.sender);
        })
        .count()
}
