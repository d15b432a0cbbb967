//! Whatever octets a server sends: the client does not panic and does not spin, tells exactly one outcome for every
//! message and probe, calls a recipient accepted only when there were enough positive replies for that, writes whole
//! lines without stray CRs and LFs, keeps to its error, and does not care whether a reply comes whole or octet by
//! octet.
//!
//! A reply that comes before its command is a fault, so the server's octets are handed over when the client asks.
//!
//! Input: configuration, four requests (letters: see `Run::act`), the want of content before which a reply comes or
//! the number of lines after which a write fails (one octet each), then what the server sends.
#![no_main]

use bytes::{Buf, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use smtp_fuzz::{policy, write};
use smtp_proto::client::{Client, Config, Content, Envelope, Event, RequestId};
use smtp_proto::wire::BareNewline;
use smtp_proto::{ApiMisuse, Error, Instant, Machine, Step};

const REQUESTS: usize = 4;

struct Setup {
    flags: u8,
    actions: [u8; REQUESTS],
    interrupt: u8,
}

impl Setup {
    /// Whether a write fails.
    fn mutes(&self) -> bool {
        self.flags >> 4 & 3 == 3
    }

    fn config(&self) -> Config {
        let mut config = Config::new("client.example").expect("a valid name");
        // Pass has the client write strays, as it is told to: there is nothing to check.
        config.bare_newline = match policy(self.flags) {
            BareNewline::Pass => BareNewline::Fix,
            policy => policy,
        };
        config.allow_helo = self.flags & 4 == 0;
        if self.flags & 8 != 0 {
            config.in_flight = 40;
        }
        config
    }
}

fn envelope(variant: u8) -> Envelope {
    let recipients: &[&str] = match variant {
        0 => &["b@b.example"],
        1 => &["b@b.example", "\"c d\"@[192.0.2.1]", "Postmaster"],
        2 => &["b@b.example", "\u{fc}@b.example"],
        _ => &["b@b.example"; 20],
    };
    Envelope::new(if variant == 1 { "" } else { "a@a.example" }, recipients).expect("valid addresses")
}

/// Content with a line one octet too long is found out in a stream only when part of it is written.
fn content(variant: u8, streamed: bool) -> &'static [u8] {
    match variant {
        0 => b"Subject: a\r\n\r\nb\r\n",
        1 => b".\n.\r.\r\n\n.\r\n..\r\n.\r",
        2 => "gr\u{fc}n".as_bytes(),
        _ if streamed => &[b'.'; 999],
        _ => &[b'.'; 998],
    }
}

/// What the application sees of one run.
#[derive(Debug, PartialEq)]
struct Seen {
    written: String,
    events: Vec<Event>,
    end: Result<(), Error>,
}

/// The server's octets, a line or an octet at a time.
struct Feed<'a> {
    rest: &'a [u8],
    by_octet: bool,
    given: Vec<u8>,
}

impl Feed<'_> {
    /// Appends some to `rx`; `None` when there is nothing left, otherwise whether a line ended.
    fn next(&mut self, rx: &mut BytesMut) -> Option<bool> {
        let line = self.rest.windows(2).position(|pair| pair == b"\r\n").map_or(self.rest.len(), |at| at + 2);
        let length = if self.by_octet { line.min(1) } else { line };
        let piece = self.rest.split_off(..length).filter(|piece| !piece.is_empty())?;
        rx.extend_from_slice(piece);
        self.given.extend_from_slice(piece);
        Some(self.given.ends_with(b"\r\n"))
    }

    fn lines(&self) -> u8 {
        u8::try_from(self.given.iter().filter(|octet| **octet == b'\n').count()).unwrap_or(u8::MAX)
    }

    /// How many replies in what was consumed are positive.
    fn positive(&self, unread: usize) -> usize {
        let consumed = &self.given[..self.given.len() - unread];
        let last = |line: &&[u8]| matches!(line, [b'2', _, _] | [b'2', _, _, b' ' | b'\t', ..]);
        consumed
            .split(|octet| *octet == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(last)
            .count()
    }
}

/// A request that has an outcome.
struct Pending {
    id: RequestId,
    probe: bool,
    outcomes: usize,
}

struct Run {
    client: Client,
    pending: Vec<Pending>,
    /// The message that wants content, and what there is of it.
    wanted: Option<(RequestId, &'static [u8])>,
    streams: Vec<(RequestId, &'static [u8])>,
    /// Positive replies without which the outcomes told so far would be lies: greeting and hello to begin with.
    needed: usize,
}

impl Run {
    fn act(&mut self, action: u8) {
        let variant = action >> 3 & 3;
        let sent = match action & 7 {
            // `@`
            0 => self.client.quit().map(|_| ()),
            // `A`, `I`, `Q`, `Y`
            1 => self
                .client
                .send(envelope(variant), Bytes::from_static(content(variant, false)))
                .map(|id| self.expect(id, false)),
            // `B`, `J`, `R`, `Z`
            2 => {
                let size = (variant == 0).then_some(17);
                self.client.send(envelope(variant), Content::Streamed { size }).map(|id| {
                    self.expect(id, false);
                    self.streams.push((id, content(variant, true)));
                })
            }
            // `C`, `K`, `S`
            3 => self.client.probe(envelope(variant)).map(|id| self.expect(id, true)),
            4 if variant == 0 => self.client.command("VRFY b").map(|_| ()),
            4 => {
                // What would have another reply, or several.
                let line = ["NOOP\r\nDATA", "data", "EHLO x.example"][usize::from(variant) - 1];
                let refused = self.client.command(line);
                assert!(matches!(refused, Err(ApiMisuse::Argument(_))), "{refused:?}");
                Ok(())
            }
            5 => self.client.noop().map(|_| ()),
            // `F`
            6 => {
                if let Some(last) = self.pending.last() {
                    self.client.cancel(last.id);
                }
                Ok(())
            }
            _ => Ok(()),
        };
        assert!(matches!(sent, Ok(()) | Err(ApiMisuse::Closed)), "{sent:?}");
    }

    fn expect(&mut self, id: RequestId, probe: bool) {
        self.pending.push(Pending { id, probe, outcomes: 0 });
    }

    fn told(&mut self, event: &Event, positive: impl Fn() -> usize) {
        match event {
            Event::WantContent(id) => {
                let (_, rest) = self.streams.iter().find(|(stream, _)| stream == id).expect("a streamed message");
                self.wanted = Some((*id, *rest));
            }
            Event::Outcome { id, outcome } => {
                let pending = self.pending.iter_mut().find(|pending| pending.id == *id).expect("a known message");
                pending.outcomes += 1;
                let accepted = outcome.recipients.iter().filter(|recipient| recipient.is_accepted()).count();
                if accepted > 0 {
                    let judged = outcome.reply.as_ref().is_some_and(|reply| reply.is_positive());
                    assert!(judged || pending.probe, "accepted without a word: {outcome:?}");
                    // MAIL, each RCPT, and the verdict.
                    self.needed += 1 + accepted + usize::from(judged);
                    assert!(positive() >= self.needed, "{} are too few: {outcome:?}", positive());
                }
                self.wanted.take_if(|(wanted, _)| wanted == id);
            }
            _ => {}
        }
    }

    /// Gives the message that wants it some content, or says that there is no more.
    fn supply(&mut self) -> bool {
        let Some((id, mut rest)) = self.wanted.take() else {
            return false;
        };
        let piece = rest.split_off(..rest.len().min(5)).unwrap_or_default();
        let taken = match piece {
            [] => self.client.end_content(id),
            piece => self.client.content(id, Bytes::from_static(piece)),
        };
        assert_eq!(taken, Ok(()), "content was wanted");
        self.streams.iter_mut().filter(|(stream, _)| *stream == id).for_each(|(_, left)| *left = rest);
        true
    }
}

fn run(setup: &Setup, octets: &[u8], by_octet: bool) -> Seen {
    let mut now = Instant::default();
    let mut run = Run {
        client: Client::new(setup.config(), now),
        pending: Vec::new(),
        wanted: None,
        streams: Vec::new(),
        needed: 2,
    };
    run.client.set_transcript(Box::new(|entry| {
        assert!(!entry.to_string().contains(char::is_control), "a control character in the transcript");
    }));
    // Small letters, and what follows them, wait until the client has nothing to do.
    let mut late = setup.actions.iter().copied().peekable();
    while let Some(action) = late.next_if(|action| action & 32 == 0) {
        run.act(action);
    }

    let mut feed = Feed { rest: octets, by_octet, given: Vec::new() };
    let mut rx = BytesMut::new();
    let (mut written, mut events) = (Vec::new(), Vec::new());
    let (mut steps, mut wants, mut interrupting, mut muted, mut ended) = (0, 0, false, false, false);
    let end = loop {
        steps += 1;
        assert!(steps <= 8192 + 4 * feed.given.len() + written.len(), "the client spins");
        match run.client.step(now, &mut rx) {
            Ok(Step::Event(event)) => {
                run.told(&event, || feed.positive(rx.len()));
                if matches!(event, Event::WantContent(_)) {
                    wants += 1;
                    interrupting = !setup.mutes() && wants == setup.interrupt & 15;
                }
                events.push(event);
                continue;
            }
            Ok(Step::Write) if setup.mutes() && feed.lines() == setup.interrupt & 15 => {
                assert!(!muted, "a write where none can succeed");
                muted = true;
                run.client.write_failed();
                continue;
            }
            Ok(Step::Write) => {
                assert!(!muted, "a write where none can succeed");
                write(run.client.output(), if by_octet { 7 } else { usize::MAX }, &mut written);
                continue;
            }
            Ok(Step::Close) => break Ok(()),
            Err(error) => break Err(error),
            Ok(Step::Decide) if muted => panic!("nothing is left to decide"),
            Ok(Step::Decide) if interrupting => match feed.next(&mut rx) {
                Some(line) => {
                    interrupting = !line;
                    continue;
                }
                None => interrupting = false,
            },
            Ok(Step::Decide) => {
                if run.supply() {
                    continue;
                }
                if let Some(action) = late.next() {
                    run.act(action);
                    continue;
                }
            }
            Ok(Step::Read) => {}
        }
        assert!(!ended && !run.client.output().has_remaining(), "no reason to wait");
        if feed.next(&mut rx).is_some() {
            continue;
        }
        ended = true;
        match (setup.flags >> 4 & 3, run.client.deadline()) {
            (1, _) => run.client.connection_lost(),
            (2, Some(deadline)) => now = deadline,
            _ => run.client.peer_closed(),
        }
    };

    let last = rx.clone();
    rx.extend_from_slice(b"250 2.0.0 more\r\n");
    for _ in 0..2 {
        assert_eq!(run.client.step(now, &mut rx), end.clone().map(|()| Step::Close), "the end is final ({last:?})");
    }
    assert!(!run.client.output().has_remaining(), "something is left to write");
    assert!(run.pending.iter().all(|pending| pending.outcomes == 1), "not one outcome for each: {events:?}");
    check_lines(&written, end.is_err());
    Seen { written: written.escape_ascii().to_string(), events, end }
}

/// When the session failed, a streamed message may have been given up in the middle of a line.
fn check_lines(written: &[u8], failed: bool) {
    let mut before = b'\n';
    for octet in written {
        assert_eq!(before == b'\r', *octet == b'\n', "a stray CR or LF in {}", written.escape_ascii());
        before = *octet;
    }
    assert!(before == b'\n' || failed && before != b'\r', "no line end in {}", written.escape_ascii());
}

fuzz_target!(|data: &[u8]| {
    let Some(([flags, actions @ .., interrupt], octets)) = data.split_first_chunk::<{ REQUESTS + 2 }>() else {
        return;
    };
    let setup = Setup { flags: *flags, actions: *actions, interrupt: *interrupt };
    assert_eq!(run(&setup, octets, false), run(&setup, octets, true));
});
