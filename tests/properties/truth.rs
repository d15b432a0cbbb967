//! Random sessions of a client with a server, in every way there is, some of which go wrong: what the client writes is in
//! the grammar and within the bounds, what arrives is what was sent, and what it tells is true.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use smtp_proto::client::{self, Client, Content, Envelope, RecipientOutcome, RequestId, Transfer};
use smtp_proto::server;
use smtp_proto::wire::{BareNewline, Capability, Command};
use smtp_tests::link::{Act, Fault, Link, Place};
use smtp_tests::pair::Numbers;

use super::chunks::made;
use super::grammar::{Bounds, Reader};

const PIECES: [&[u8]; 11] = [
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    b".\r\n",
    b"text",
    b"\xc3\xa9",
    b"\r\n.\r\nMAIL FROM:<x@x.test>\r\n",
    b"\n.\n",
    b"\r.\r",
    b"BDAT 3 LAST\r\n",
];

const RECIPIENTS: [&str; 8] = [
    "a@b.test",
    "c@c.test",
    "no@b.test",
    "later@d.test",
    "full@b.test",
    "\"x> y\\\"\"@b.test",
    "Postmaster",
    "\u{e9}@b.test",
];

/// A message as the application sees it.
struct Message {
    id: RequestId,
    sender: String,
    recipients: Vec<&'static str>,
    content: Vec<u8>,
    probe: bool,
}

type Messages = Rc<RefCell<Vec<Message>>>;

fn content(numbers: &mut Numbers) -> Vec<u8> {
    let mut content: Vec<u8> =
        (0..numbers.below(12)).flat_map(|_| PIECES[numbers.below(PIECES.len())].iter().copied()).collect();
    if numbers.below(40) == 0 {
        // Many line ends to put right fill a chunk early.
        content.extend([b'\n'; 70_000]);
    }
    content
}

fn envelope(numbers: &mut Numbers, sender: &str, recipients: &[&'static str]) -> Envelope {
    let mut envelope = Envelope::new(sender, recipients).unwrap();
    let mut on = || numbers.below(3) == 0;
    let line = b"MAIL FROM:<> RET=HDRS ENVID=a+2Bb BY=100;N MT-PRIORITY=-3 AUTH=a+3Db@a.test";
    if let Ok(Command::Mail { parameters, .. }) = Command::parse(line) {
        envelope.ret = parameters.ret.filter(|_| on());
        envelope.envelope_id = parameters.envelope_id.filter(|_| on());
        envelope.deliver_by = parameters.deliver_by.filter(|_| on());
        envelope.priority = parameters.priority.filter(|_| on());
        envelope.auth = parameters.auth.filter(|_| on());
    }
    if let (Ok(Command::Rcpt { parameters, .. }), true) =
        (Command::parse(b"RCPT TO:<a@a> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2B@a.test"), on())
    {
        envelope.recipients.iter_mut().for_each(|recipient| recipient.parameters = parameters.clone());
    }
    envelope.smtputf8 = on() && on();
    envelope.binary = on();
    envelope
}

/// Something that an application does: mostly, it sends a message.
fn act(numbers: &mut Numbers, number: usize, messages: &Messages) -> Act {
    let messages = Rc::clone(messages);
    if numbers.below(8) == 0 {
        return Box::new(|client: &mut Client| {
            // The session may be over.
            let _ = client.noop();
            Vec::new()
        });
    }
    if numbers.below(8) == 0 {
        let which = numbers.below(8);
        return Box::new(move |client: &mut Client| {
            if let Some(message) = messages.borrow().iter().rev().nth(which) {
                client.cancel(message.id);
            }
            Vec::new()
        });
    }
    let sender = format!("{}{number}@a.test", ["refused", "bad", "m", "m", "m", "m", "m"][numbers.below(7)]);
    let mut pool = RECIPIENTS[..if numbers.below(4) == 0 { 8 } else { 7 }].to_vec();
    let recipients: Vec<_> = (0..1 + numbers.below(5)).map(|_| pool.swap_remove(numbers.below(pool.len()))).collect();
    let envelope = envelope(numbers, &sender, &recipients);
    let content = content(numbers);
    let way = numbers.below(8);
    Box::new(move |client: &mut Client| {
        let whole = Bytes::from(content.clone());
        let (sent, streams) = match way {
            0 => (client.probe(envelope), false),
            1 | 2 => (client.send(envelope, Content::Streamed { size: None }), true),
            _ => (client.send(envelope, whole.clone()), false),
        };
        let Ok(id) = sent else { return Vec::new() };
        messages.borrow_mut().push(Message { id, sender, recipients, content, probe: way == 0 });
        if streams { vec![(id, whole)] } else { Vec::new() }
    })
}

fn configs(numbers: &mut Numbers) -> (client::Config, server::Config) {
    let mut server = server::Config::new("mx.test").unwrap();
    let mut on = || numbers.below(4) != 0;
    server.lmtp = !on() || !on();
    (server.pipelining, server.chunking, server.binary_mime) = (on(), on(), on());
    (server.eight_bit_mime, server.dsn, server.priority, server.smtputf8) = (on(), on(), on(), on());
    server.deliver_by = on().then_some(5);
    server.announce_limits = false;
    let limits = [
        (numbers.below(2) == 0, "RCPTMAX", 1 + numbers.below(4)),
        (numbers.below(4) == 0, "MAILMAX", 1 + numbers.below(9)),
        (numbers.below(6) == 0, "RCPTDOMAINMAX", 1 + numbers.below(3)),
    ];
    let limits: Vec<String> =
        limits.iter().filter(|(stated, ..)| *stated).map(|(_, name, limit)| format!("{name}={limit}")).collect();
    server.capabilities.push(Capability::new("LIMITS", &limits.join(" ")).unwrap());
    server.limits.text_line = 1_000_000;
    server.allow_nul = true;
    let mut client = smtp_tests::in_clear("c.test");
    client.lmtp = server.lmtp;
    client.transfer =
        [Transfer::Auto, Transfer::Auto, Transfer::Auto, Transfer::Data, Transfer::Bdat][numbers.below(5)];
    client.bare_newline = [BareNewline::Fix, BareNewline::Strip, BareNewline::Reject][numbers.below(3)];
    client.text_line = usize::MAX;
    client.in_flight = [1, 60, 300, 16_384][numbers.below(4)];
    client.messages_in_flight = [1, 2, 3, 32][numbers.below(4)];
    client.chunks_in_flight = 1 + numbers.below(3);
    (client, server)
}

fn fault(numbers: &mut Numbers) -> (Fault, Place) {
    let faults = [
        Fault::EndOfFile,
        Fault::Reset,
        Fault::TimeOut,
        Fault::FailedWrite,
        Fault::Decision("421 4.3.2 going down"),
        Fault::Decision("451 4.3.0 not now"),
        Fault::Decision("550 5.7.1 no"),
    ];
    let fault = faults[numbers.below(faults.len())];
    let place = match (fault, numbers.below(2)) {
        _ if numbers.below(2) == 0 => Place::Nowhere,
        (Fault::Decision(_), _) => Place::Decision(numbers.below(40)),
        (Fault::FailedWrite, _) | (_, 0) => Place::Octet(numbers.below(1500)),
        _ => Place::Reply(numbers.below(40)),
    };
    (fault, place)
}

/// What happened in all sessions: sessions without a fault, messages taken, messages taken in part, and those of which
/// nobody knows.
type Counts = [usize; 4];

fn session(seed: u64, counts: &mut Counts) -> usize {
    let mut numbers = Numbers::new(seed);
    let (client, server) = configs(&mut numbers);
    let context = format!("session {seed}");
    let bounds =
        Bounds { octets: client.in_flight, messages: client.messages_in_flight, chunks: client.chunks_in_flight };
    let (lmtp, policy) = (client.lmtp, client.bare_newline);
    let most = [1, 7, 100, usize::MAX][numbers.below(4)];
    let fault = fault(&mut numbers);
    let mut link = Link::new(client, server, fault, most);
    let messages = Messages::default();
    let mut when = 0;
    let (most_acts, spread) = if numbers.below(10) == 0 { (40, 1) } else { (9, 4) };
    for number in 0..1 + numbers.below(most_acts) {
        when += [0, 0, 100, 100_000][numbers.below(spread)];
        link.acts.push_back((when, act(&mut numbers, number, &messages)));
    }
    link.acts.push_back((
        when,
        Box::new(|client: &mut Client| {
            let _ = client.quit();
            Vec::new()
        }),
    ));
    link.run();

    let mut reader = Reader::new(lmtp, bounds);
    reader.read(&link.moved);
    let messages = messages.borrow();
    for message in messages.iter() {
        let mut outcomes = link.outcomes.iter().filter(|(id, _)| *id == message.id).map(|(_, outcome)| outcome);
        let (Some(outcome), None) = (outcomes.next(), outcomes.next()) else {
            panic!("{context}: not one outcome for {}", message.sender);
        };
        assert_eq!(outcome.recipients.len(), message.recipients.len(), "{context}");
        for (told, recipient) in outcome.recipients.iter().zip(&message.recipients) {
            let taken = link.taken.iter().any(|(sender, to, _)| *sender == message.sender && to == recipient);
            let right = match told {
                RecipientOutcome::Accepted(_) => taken || message.probe,
                RecipientOutcome::Unknown(_) => fault.1 != Place::Nowhere && !message.probe,
                _ => !taken,
            };
            assert!(right, "{context}: {} to {recipient}: {told:?}", message.sender);
            counts[3] += usize::from(matches!(told, RecipientOutcome::Unknown(_)));
        }
        let accepted = outcome.recipients.iter().filter(|told| told.is_accepted()).count();
        counts[if accepted < outcome.recipients.len() { 2 } else { 1 }] += usize::from(accepted > 0);
    }
    for (index, (sender, recipient, content)) in link.taken.iter().enumerate() {
        let sent = messages.iter().find(|message| message.sender == *sender).unwrap();
        // P8, P9: as the client meant it, as anybody reads it, and as the server took it.
        let read = reader.messages.iter().find(|(name, _)| name == sender);
        assert_eq!(read.map(|(_, content)| content), Some(content), "{context}: {sender}");
        let binary = *content == sent.content;
        let mut text = made(&sent.content, policy).unwrap_or_default();
        if !text.is_empty() && !text.ends_with(b"\r\n") {
            text.extend_from_slice(b"\r\n");
        }
        assert!(binary || *content == text, "{context}: {sender} is not what was sent");
        let twice = link.taken[..index].iter().any(|(other, to, _)| other == sender && to == recipient);
        assert!(!twice, "{context}: {sender} was taken twice for {recipient}");
    }
    if fault.1 == Place::Nowhere {
        counts[0] += usize::from(link.end == Some(Ok(())));
    }
    reader.most_awaited
}

#[test]
fn random_sessions_are_in_the_grammar_and_tell_the_truth() {
    // P7, P8, P9, P17, PIPE-001, PIPE-002, PIPE-006, BDAT-016, BDAT-017, BDAT-018, BDAT-019, BDAT-020, DSN-004, DSN-007
    let (mut counts, mut most_awaited) = (Counts::default(), 0);
    for seed in 1..=4000 {
        most_awaited = most_awaited.max(session(seed, &mut counts));
    }
    // They are worth something only if they get somewhere.
    assert!(counts.iter().zip([1000, 1000, 1000, 100]).all(|(count, least)| *count > least), "{counts:?}");
    assert!(most_awaited > 30, "at most {most_awaited} replies were awaited");
}
