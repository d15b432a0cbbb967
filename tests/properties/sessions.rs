//! Random sessions of a server: nothing depends on how the input is cut or in which order recipients are decided, and
//! nothing but well-formed replies comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use smtp_proto::server::{Abuse, CloseReason, Config, Decision, Event, Server};
use smtp_proto::wire::{BareNewline, FutureReleaseInterval, FutureReleaseMaxima, Reply};
use smtp_proto::{Instant, Machine, Step};
use smtp_tests::pair::Numbers;

const HEADERS: [&[u8]; 6] = [
    b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n",
    b"PROXY UNKNOWN what is this\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x00\x19\x04\x00\x04\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 04711 25\r\n",
];

const COMMANDS: [&str; 40] = [
    "EHLO a.test",
    "EHLO b.test",
    "LHLO a.test",
    "LHLO b.test",
    "HELO a.test",
    "EHLO",
    "MAIL FROM:<>",
    "MAIL FROM:<a@a.test>",
    "MAIL FROM:<b@a.test> SIZE=100 BODY=8BITMIME",
    "MAIL FROM:<c@a.test> BODY=BINARYMIME",
    "MAIL FROM:<d@a.test> RET=HDRS ENVID=a+20b",
    "MAIL FROM:<e@a.test> BY=10;R MT-PRIORITY=3",
    "MAIL FROM:<f@a.test> HOLDFOR=60",
    "MAIL FROM:<\u{e9}@a.test> SMTPUTF8",
    "MAIL FROM:<g@a.test> FOO=1",
    "MAIL FROM:<",
    "RCPT TO:<a@b.test>",
    "RCPT TO:<b@b.test> NOTIFY=NEVER ORCPT=rfc822;b@b.test",
    "RCPT TO:<c@c.test> RRVS=2014-04-03T23:01:00Z",
    "RCPT TO:<d@d.test>",
    "RCPT TO:<Postmaster>",
    "RCPT TO:<e@b.test> FOO",
    "RCPT TO:<f",
    "RSET",
    "NOOP",
    "HELP",
    "VRFY a",
    "EXPN a",
    "ETRN @a.test",
    "BURL imap://a.test/1",
    "BURL imap://a.test/1 LAST",
    "XCLIENT NAME=c.test ADDR=192.0.2.1",
    "XCLIENT LOGIN=+00",
    "XFORWARD NAME=d.test SOURCE=LOCAL",
    "XFOO bar",
    "DATA",
    "QUIT",
    "BDAT 0",
    "BDAT 0 LAST",
    "BDAT x",
];

const PIECES: [&[u8]; 10] =
    [b"\r\n", b"\r", b"\n", b".", b".\r\n", b"\0", b"\xff", b"text", b"\r\n.\r\nMAIL FROM:<x@x.test>\r\n", b"NOOP\r\n"];

fn content(numbers: &mut Numbers) -> Vec<u8> {
    (0..numbers.below(8)).flat_map(|_| PIECES[numbers.below(PIECES.len())].iter().copied()).collect()
}

fn say(input: &mut Vec<u8>, line: &str) {
    input.extend_from_slice(line.as_bytes());
    input.extend_from_slice(b"\r\n");
}

/// What a client may send that knows the rules, most of the time.
fn input(numbers: &mut Numbers, lmtp: bool) -> Vec<u8> {
    let mut input = Vec::new();
    say(&mut input, if lmtp { "LHLO a.test" } else { "EHLO a.test" });
    for _ in 0..1 + numbers.below(6) {
        match numbers.below(4) {
            0 => (0..numbers.below(4)).for_each(|_| say(&mut input, COMMANDS[numbers.below(COMMANDS.len())])),
            1 => {
                say(&mut input, COMMANDS[6 + numbers.below(8)]);
                (0..1 + numbers.below(5)).for_each(|_| say(&mut input, COMMANDS[16 + numbers.below(6)]));
            }
            _ => ["MAIL FROM:<a@a.test>", "RCPT TO:<a@b.test>", "RCPT TO:<b@b.test>"]
                .iter()
                .for_each(|line| say(&mut input, line)),
        }
        for _ in 0..numbers.below(4) {
            let chunk = content(numbers);
            let last = if numbers.below(2) == 0 { " LAST" } else { "" };
            let size = chunk.len() + if numbers.below(60) == 0 { 5 } else { 0 };
            say(&mut input, &format!("BDAT {size}{last}"));
            input.extend_from_slice(&chunk);
        }
        if numbers.below(4) == 0 {
            say(&mut input, "DATA");
            input.extend_from_slice(&content(numbers));
            input.extend_from_slice(b"\r\n.\r\n");
        }
        if numbers.below(12) == 0 {
            say(&mut input, &"x".repeat(500 + numbers.below(200)));
        }
    }
    input
}

fn config(numbers: &mut Numbers, lmtp: bool, proxied: bool) -> Config {
    let mut config = Config::new("mx.test").unwrap();
    let policies = [BareNewline::Reject, BareNewline::Fix, BareNewline::Strip, BareNewline::Pass];
    config.bare_newline = policies[numbers.below(4)];
    (config.lmtp, config.proxy_protocol) = (lmtp, proxied);
    let mut on = || numbers.below(4) != 0;
    (config.chunking, config.binary_mime, config.dsn, config.priority) = (on() || on(), on(), on(), on());
    (config.rrvs, config.etrn, config.xclient, config.xforward) = (on(), on(), on(), on());
    (config.announce_limits, config.expand, config.allow_nul) = (on(), on(), !on());
    (config.pipelining, config.enhanced_status_codes, config.eight_bit_mime) = (on(), on(), on());
    config.deliver_by = on().then_some(5);
    config.require_auth = !on() && !on();
    config.burl = on().then(|| "imap".to_owned());
    let date_time = "2030-01-01T00:00:00Z".parse().unwrap();
    config.future_release =
        Some(FutureReleaseMaxima { interval: FutureReleaseInterval::new(3600).unwrap(), date_time });
    config.limits.command_line = 512;
    config.limits.discarded_line = if on() { 4096 } else { 600 };
    config.limits.discarded_content = if on() || on() { 1000 } else { 20 };
    config.limits.transactions = (!on()).then_some(3);
    config.limits.recipient_domains = (!on()).then_some(2);
    (config.limits.soft_errors, config.limits.hard_errors) = if on() || on() { (20, 60) } else { (2, 5) };
    config.limits.junk_commands = if on() || on() { 50 } else { 3 };
    config.timeouts.early_talkers = Duration::from_secs(if on() { 0 } else { 6 });
    config
}

/// A number that depends on the text and on nothing else.
fn hash(text: &str) -> usize {
    let fold = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3);
    (text.bytes().fold(0xcbf2_9ce4_8422_2325, fold) >> 20) as usize
}

fn reply(text: &str, seed: usize) -> Decision {
    match hash(text).wrapping_add(seed) % 9 {
        0 => Reply::from_static("550 5.7.1 No\n").into(),
        1 => Reply::from_static("451 4.3.0 Later").into(),
        2 => Reply::from_static("250 2.0.0 As you like").into(),
        _ => Decision::Accept,
    }
}

/// What the application decides: the same about the same, whenever it is asked.
fn decision(event: &Event, seed: usize) -> Decision {
    let text = format!("{event:?}");
    match (event, hash(&text).wrapping_mul(31).wrapping_add(seed) % 40) {
        (_, 0) => Decision::Close(Reply::from_static("421 4.3.2 Enough")),
        (Event::MessageEnd { size }, 1..20) => {
            Decision::Each((0..size % 4).map(|index| reply(&format!("{index}"), seed)).collect())
        }
        _ => reply(&text, seed),
    }
}

/// How input is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cuts {
    None,
    Everywhere,
    Random,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    written: String,
    events: Vec<String>,
}

fn run(config: &Arc<Config>, seed: usize, input: &[u8], cuts: Cuts, numbers: &mut Numbers) -> Outcome {
    let now = Instant::default();
    let mut server = Server::new(Arc::clone(config), now);
    let (mut rx, mut rest, mut ended) = (BytesMut::new(), input, false);
    let (mut written, mut events, mut content): (Vec<u8>, Vec<String>, Vec<u8>) = Default::default();
    for steps in 0.. {
        let moved = input.len() - rest.len() + written.len();
        assert!(steps <= 50 + 4 * moved, "{steps} steps for {moved} octets");
        let event = match server.step(now, &mut rx).expect("a server never fails") {
            Step::Event(Event::Body(piece)) => {
                content.extend_from_slice(&piece);
                continue;
            }
            Step::Event(event) => event,
            Step::Write => {
                let most = if cuts == Cuts::None { usize::MAX } else { 1 + numbers.below(9) };
                let count = server.output().chunk().len().min(most);
                assert!(count > 0, "a write of nothing");
                written.extend_from_slice(&server.output().chunk()[..count]);
                server.output().advance(count);
                continue;
            }
            Step::Read if rest.is_empty() => {
                assert!(!std::mem::replace(&mut ended, true), "nothing comes any more");
                server.peer_closed();
                continue;
            }
            Step::Read => {
                let length = match cuts {
                    Cuts::None => rest.len(),
                    Cuts::Everywhere => 1,
                    Cuts::Random => 1 + numbers.below(30),
                };
                let (piece, behind) = rest.split_at(length.min(rest.len()));
                rx.extend_from_slice(piece);
                rest = behind;
                continue;
            }
            Step::Close => break,
            step => panic!("{step:?}"),
        };
        if !content.is_empty() {
            events.push(format!("content {}", std::mem::take(&mut content).escape_ascii()));
        }
        if let Event::Recipients(recipients) = &event {
            events.extend(recipients.iter().map(|recipient| format!("{recipient:?}")));
            let decided = recipients.iter().map(|recipient| (recipient.index, reply(&format!("{recipient:?}"), seed)));
            if cuts == Cuts::None {
                server.decide(Decision::Each(decided.map(|(_, decision)| decision).collect())).unwrap();
            } else {
                let mut decided: Vec<_> = decided.collect();
                while !decided.is_empty() {
                    let (index, decision) = decided.swap_remove(numbers.below(decided.len()));
                    server.decide_recipient(index, decision).unwrap();
                }
            }
            continue;
        }
        events.push(format!("{event:?} {:?}", server.session().asserted()));
        if event.is_question() {
            // One that does not fit is answered with 451, every time.
            let _ = server.decide(decision(&event, seed));
        }
    }
    // H-RS-5
    rx.extend_from_slice(b"NOOP\r\n");
    let left = rx.len();
    assert_eq!(server.step(now, &mut rx), Ok(Step::Close));
    assert_eq!(rx.len(), left, "input is eaten behind the end");
    Outcome { written: String::from_utf8(written).expect("replies are UTF-8"), events }
}

/// The replies are of the form that RFC 5321 section 4.2 gives them.
fn check_replies(written: &str) {
    let mut open: Option<&str> = None;
    for line in written.split_inclusive('\n') {
        let text = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("{line:?} has no line end"));
        assert!(line.len() <= 512, "{} octets", line.len());
        let (code, text) = text.split_at(3);
        assert!(code.bytes().all(|digit| digit.is_ascii_digit()) && ("200".."560").contains(&code), "{line:?}");
        assert!(text.starts_with([' ', '-']), "{line:?}");
        assert!(text.chars().all(|character| matches!(character, '\t' | ' '..='~')), "{line:?}");
        assert!(open.is_none_or(|open| open == code), "{line:?} in a reply with {open:?}");
        open = text.starts_with('-').then_some(code);
    }
    assert_eq!(open, None, "the last reply has no end");
}

#[test]
fn sessions_are_the_same_however_they_are_cut() {
    // P1, P4, P6, H-RS-5, PROXY-013
    let (mut ends, mut messages) = ([0; 4], 0);
    for round in 0..4000 {
        let mut numbers = Numbers::new(round + 1);
        let (lmtp, proxied) = (numbers.below(3) == 0, numbers.below(2) == 0);
        let config = Arc::new(config(&mut numbers, lmtp, proxied));
        let header: &[u8] = if proxied { HEADERS[numbers.below(HEADERS.len())] } else { b"" };
        let input = [header, &input(&mut numbers, lmtp)].concat();
        let seed = numbers.below(1000);
        let whole = run(&config, seed, &input, Cuts::None, &mut numbers);
        check_replies(&whole.written);
        for cuts in [Cuts::Everywhere, Cuts::Random] {
            let other = run(&config, seed, &input, cuts, &mut numbers);
            assert_eq!(other, whole, "round {round}, cut {cuts:?}: {}", input.escape_ascii());
        }
        let last = whole.events.last().map(String::as_str).unwrap_or_default();
        let reasons = ["Closing(Quit)", "Closing(Disconnected)", "Closing(Decision)", "Closing(Abuse("];
        let end = reasons.iter().position(|reason| last.starts_with(reason)).unwrap_or_else(|| panic!("{last}"));
        ends[end] += 1;
        messages += whole.events.iter().filter(|event| event.starts_with("MessageEnd")).count();
    }
    // They are worth something only if they get somewhere.
    assert!(ends.iter().all(|count| *count > 50) && messages > 500, "{ends:?}, {messages} messages");
}

#[test]
fn the_reason_to_close_is_told_before_the_closing() {
    // H-RS-5
    for (said, reason) in [("GET / HTTP/1.1\r\n", Abuse::Http), ("BDAT -1\r\nNOOP\r\n", Abuse::Chunk)] {
        let mut server = Server::new(Arc::new(Config::new("mx.test").unwrap()), Instant::default());
        let mut rx = BytesMut::new();
        let mut told = Vec::new();
        loop {
            match server.step(Instant::default(), &mut rx).unwrap() {
                Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
                Step::Event(event) => told.push(event),
                Step::Read => rx.extend_from_slice(said.as_bytes()),
                Step::Write => {
                    let count = server.output().remaining();
                    server.output().advance(count);
                }
                _ => break,
            }
        }
        assert_eq!(told, [Event::Abuse(reason), Event::Closing(CloseReason::Abuse(reason))]);
        // What stood behind it stays where it is.
        assert_eq!(rx.len(), said.split_once("\r\n").unwrap().1.len());
    }
}
