//! Whatever octets a client sends, in whatever pieces they arrive: the server does not panic and does not spin, says
//! the same and tells the same events as if all had come at once, writes nothing but well-formed replies, ends a
//! message at its final dot and nowhere else, ends every transaction once, and closes once, as the last event.
//!
//! Input: a line with configuration, pieces, end (one octet each, `@` for the defaults) and one octet for each
//! decision, then what the client sends.
#![no_main]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use smtp_fuzz::{Cuts, applied, policy, write};
use smtp_proto::server::{Config, Decision, Event, ResetReason, Server, Shutdown};
use smtp_proto::wire::{BareNewline, MAX_TEXT_LINE};
use smtp_proto::{Instant, Machine, Step};

/// The high-water mark of the output, and a reply of several lines on top.
const MOST_OUTPUT: usize = 64 * 1024 + 4096;

struct Setup<'a> {
    config: Arc<Config>,
    decisions: &'a [u8],
    /// 0: the client closes, 1: the connection breaks, 2: time runs out.
    end: u8,
    /// Whether the first piece of every message is answered with a refusal.
    refuse_body: bool,
    /// How long the application takes to decide. Longer than a second, and replies are written in the meantime.
    pause: Duration,
}

impl<'a> Setup<'a> {
    fn new(flags: u8, end: u8, decisions: &'a [u8]) -> Self {
        let mut config = Config::new("mail.example.org").expect("a valid name");
        config.bare_newline = policy(flags);
        config.allow_nul = flags & 4 != 0;
        if flags & 8 != 0 {
            (config.pipelining, config.eight_bit_mime, config.smtputf8) = (false, false, false);
            (config.enhanced_status_codes, config.help) = (false, false);
        }
        if flags & 16 != 0 {
            config.expand = true;
            config.parameters = vec!["RET".into(), "NOTIFY".into()];
        }
        let refuse_body = end & 4 != 0;
        if flags & 32 != 0 {
            config.limits.command_line = 0;
            config.limits.discarded_line = 600;
            (config.limits.soft_errors, config.limits.hard_errors) = (2, 4);
            (config.limits.junk_commands, config.limits.refusals) = (3, 1);
            // How much comes behind a refusal of the application's own depends on the pieces.
            config.limits.discarded_content = if refuse_body { u64::MAX } else { 100 };
        }
        let pause = Duration::from_secs(u64::from(end >> 2 & 2));
        Self { config: Arc::new(config), decisions, end: end & 3, refuse_body, pause }
    }

    /// Whether the connection breaks at a question.
    fn breaks(&self) -> bool {
        self.decisions.iter().any(|choice| choice >> 4 & 3 == 3)
    }

    /// Decides by the number of the question alone, so that two runs decide alike. What else can happen meanwhile
    /// happens first.
    fn decide(&self, question: usize, server: &mut Server) -> Decision {
        let choice = self.decisions.get(question).copied().unwrap_or_default();
        match choice >> 4 & 3 {
            1 => server.shut_down(Shutdown::AfterTransaction),
            2 => server.shut_down(Shutdown::Now),
            3 => server.connection_lost(),
            _ => {}
        }
        let reply = |text: &str| text.parse().expect("a valid reply");
        let decision = match choice & 15 {
            1 => Decision::Reply(reply("250 2.0.0 As you like")),
            2 => Decision::Reply(reply("252 two\r\nlines")),
            3 => Decision::Reply(reply("550 5.7.1 not\n\nhere\n")),
            4 => Decision::Reply(reply("451 \0\u{7}\rlater\u{202e}")),
            5 => Decision::Reply(reply(&format!("554 5.999.999 x{}", "\u{e9}".repeat(700)))),
            6 => Decision::Reply(reply(&format!("220 {}", "y".repeat(506)))),
            7 => Decision::Reply(reply("421 4.3.2 closing")),
            8 => Decision::Reply(reply("521 5.3.2 closing")),
            9 => Decision::Close(reply("221 2.0.0 enough")),
            10 => Decision::Close(reply("554 5.7.1 enough")),
            _ => Decision::Accept,
        };
        server.decide(decision.clone()).expect("the decision is valid");
        decision
    }
}

/// Checks events against the octets sent: a transaction ends once, nothing of it happens outside, and a message ends
/// at its CRLF dot CRLF and nowhere else.
struct Order<'a> {
    octets: &'a [u8],
    policy: BareNewline,
    open: bool,
    content: Vec<u8>,
    /// Where the content of the last message begins, and where the octets behind its final dot do.
    message: Range<usize>,
    closed: bool,
}

impl<'a> Order<'a> {
    fn new(octets: &'a [u8], policy: BareNewline) -> Self {
        Self { octets, policy, open: false, content: Vec::new(), message: 0..0, closed: false }
    }

    /// `at` is how many octets the server had taken when it told of the event.
    fn check(&mut self, event: &Event, decision: Option<&Decision>, at: usize) {
        assert!(!self.closed, "{event:?} behind the closing");
        assert!(decision.is_none() || at >= self.message.end, "{event:?} out of the content of a message");
        let accepted = match decision {
            Some(Decision::Reply(reply)) => reply.is_positive(),
            decision => matches!(decision, Some(Decision::Accept)),
        };
        match event {
            Event::Mail(_) => {
                assert!(!self.open, "MAIL in a transaction");
                self.open = accepted;
                self.content.clear();
            }
            Event::Recipient(_) => assert!(self.open, "{event:?} outside a transaction"),
            Event::Data => {
                assert!(self.open, "{event:?} outside a transaction");
                if accepted {
                    self.message = at..end_of_data(self.octets, at);
                }
            }
            Event::Body(piece) => {
                assert!(self.open && !piece.is_empty(), "content outside a transaction, or none");
                self.content.extend_from_slice(piece);
            }
            Event::MessageEnd { size } => {
                assert!(self.open && at == self.message.end, "{event:?} too early or too late");
                assert_eq!(*size, self.content.len() as u64);
                let raw = &self.octets[self.message.start..self.message.end - 3];
                assert_eq!(applied(&unstuffed(raw), self.policy).as_deref(), Some(&self.content[..]));
                assert!(longest_line(&self.content) <= MAX_TEXT_LINE, "a line that is too long");
                self.open = false;
            }
            Event::Reset(reason) => {
                assert!(self.open || *reason == ResetReason::Command, "{event:?} outside a transaction");
                self.open = false;
            }
            Event::Closing(_) => {
                assert!(!self.open, "the transaction has no end");
                self.closed = true;
            }
            _ => {}
        }
    }
}

/// The end of the message that begins at `start`, by the definition and nothing else.
fn end_of_data(octets: &[u8], start: usize) -> usize {
    let raw = &octets[start..];
    match raw.starts_with(b".\r\n") {
        true => start + 3,
        false => raw.windows(5).position(|window| window == b"\r\n.\r\n").map_or(usize::MAX, |at| start + at + 5),
    }
}

fn unstuffed(raw: &[u8]) -> Vec<u8> {
    let stuffed = |at: usize| raw[at] == b'.' && (at == 0 || raw[..at].ends_with(b"\r\n"));
    (0..raw.len()).filter(|at| !stuffed(*at)).map(|at| raw[at]).collect()
}

fn longest_line(content: &[u8]) -> usize {
    let ends = content.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").map(|(at, _)| at);
    ends.scan(0, |start, end| Some(end - std::mem::replace(start, end + 2))).max().unwrap_or(0)
}

/// What the application was told, with the pieces of content joined.
fn record(event: Event, told: &mut Vec<Event>, content: &mut Vec<u8>) {
    match event {
        Event::Body(piece) => content.extend_from_slice(&piece),
        event => {
            if !content.is_empty() {
                told.push(Event::Body(std::mem::take(content).into()));
            }
            told.push(event);
        }
    }
}

/// Runs one session on `octets`, in pieces if there are `cuts`, with writes of at most `most` octets.
fn run(setup: &Setup, octets: &[u8], mut cuts: Option<Cuts>, most: usize) -> (Vec<u8>, Vec<Event>) {
    let mut now = Instant::default();
    let mut server = Server::new(setup.config.clone(), now);
    server.set_transcript(Box::new(|entry| {
        assert!(!entry.to_string().contains(char::is_control), "a control character in the transcript");
    }));
    let mut rx = BytesMut::new();
    let (mut written, mut told, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut order) = (octets, Order::new(octets, setup.config.bare_newline));
    let (mut questions, mut steps, mut ended) = (0, 0, false);
    loop {
        let received = octets.len() - rest.len();
        steps += 1;
        assert!(steps <= 64 + 4 * received + written.len(), "the server spins");
        assert!(server.output().remaining() <= MOST_OUTPUT, "output without bound");
        match server.step(now, &mut rx).expect("a server never fails") {
            Step::Event(event) => {
                let decision = event.is_question().then(|| setup.decide(questions, &mut server));
                if decision.is_some() {
                    questions += 1;
                    now = now.after(setup.pause);
                }
                order.check(&event, decision.as_ref(), received - rx.len());
                if setup.refuse_body && matches!(event, Event::Body(_)) {
                    let refusal = "554 5.7.1 not this".parse().expect("a valid reply");
                    server.decide(Decision::Reply(refusal)).expect("content can be refused");
                    // How much of it was told before depends on the pieces.
                    continue;
                }
                record(event, &mut told, &mut content);
            }
            Step::Write => write(server.output(), most, &mut written),
            Step::Read => {
                assert!(!ended && !order.closed && !server.output().has_remaining(), "no reason to read");
                let piece = match &mut cuts {
                    Some(cuts) => cuts.piece(&mut rest).unwrap_or_default(),
                    None => std::mem::take(&mut rest),
                };
                if !piece.is_empty() {
                    rx.extend_from_slice(piece);
                    continue;
                }
                ended = true;
                match setup.end {
                    1 => server.connection_lost(),
                    2 => now = server.deadline().expect("a server that reads has a deadline"),
                    _ => server.peer_closed(),
                }
            }
            Step::Decide => panic!("nothing is left to decide"),
            Step::Close => break,
        }
    }
    assert!(order.closed && !server.output().has_remaining(), "closed too early");
    assert_eq!(server.step(now, &mut rx), Ok(Step::Close));
    (written, told)
}

fn check_replies(mut written: &[u8], told: &[Event]) {
    // RFC 6531 section 3.7.4: only the client of these has asked for it.
    let utf8 = told.iter().any(|event| matches!(event, Event::Verify(query) | Event::Expand(query) if query.smtputf8));
    let mut first: Option<&[u8]> = None;
    while !written.is_empty() {
        let end = written.windows(2).position(|pair| pair == b"\r\n").expect("every line ends in CRLF");
        let line = written.split_off(..end + 2).expect("the line is there");
        assert!(line.len() <= 512, "a line of {} octets", line.len());
        let [code @ .., separator] = &line[..4] else { unreachable!("four octets") };
        assert!(code.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&code[0]), "{}", line.escape_ascii());
        assert!(matches!(separator, b' ' | b'-'), "{}", line.escape_ascii());
        let text = str::from_utf8(&line[4..end]).expect("the text is UTF-8");
        let printable = |c: char| matches!(c, '\t' | ' '..='~') || utf8 && !c.is_ascii() && !c.is_control();
        assert!(text.chars().all(printable), "{}", line.escape_ascii());
        assert!(first.is_none_or(|first| first == code), "one reply with two codes");
        first = (*separator == b'-').then_some(code);
    }
    assert!(first.is_none(), "the last reply has no end");
}

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|octet| *octet == b'\n') else {
        return;
    };
    let ([flags, cuts, end, decisions @ ..], [_, octets @ ..]) = data.split_at(at) else {
        return;
    };
    let setup = Setup::new(*flags, *end, decisions);
    let whole = run(&setup, octets, None, usize::MAX);
    check_replies(&whole.0, &whole.1);
    let pieces = run(&setup, octets, Some(Cuts::new(*cuts)), Cuts::new(*cuts).length());
    // Replies are held back while more commands are there, for a second: a connection that breaks takes them along.
    let part = whole.0.starts_with(&pieces.0) || pieces.0.starts_with(&whole.0);
    if !setup.breaks() || !part {
        assert_eq!(whole.0.escape_ascii().to_string(), pieces.0.escape_ascii().to_string());
    }
    assert_eq!(whole.1, pieces.1);
});
