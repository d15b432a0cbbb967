//! Whatever octets a server sends: the client does not panic, spin, or wait for nobody, tells exactly one outcome for
//! every message and probe, calls a recipient accepted only when there were enough positive replies for that, writes whole
//! lines without stray CRs and LFs, keeps to its error, and does not care whether a reply comes whole or octet by
//! octet. It says nothing in clear that has to wait for TLS, nothing of a message before the authentication it is to
//! make, sends the secret nowhere it must not, and shows it to nobody.
//!
//! A reply that comes before its command is a fault, so the server's octets are handed over when the client asks:
//! what it has not taken when TLS begins is protected, but for the octets in clear that one kind of handshake has.
//!
//! Input: configuration, four requests (letters: see `Run::act`), the want of content before which a reply comes or
//! the number of lines after which a write fails and whether LMTP is spoken, TLS, authentication (one octet each), then
//! what the server sends.
#![no_main]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use libfuzzer_sys::{Corpus, fuzz_target};
use smtp_fuzz::{PASSWORD, TOKEN, USER, mechanisms, nonce, policy, shows_secret, tls, write};
use smtp_proto::client::{Authentication, Client, Config, Content, Envelope, Event, RequestId, TlsPolicy};
use smtp_proto::sasl::{self, Login, Mechanism};
use smtp_proto::wire::{BareNewline, Command};
use smtp_proto::{ApiMisuse, Error, Instant, Machine, PeerFault, Step, TlsError, TlsInfo};

const REQUESTS: usize = 4;

struct Setup {
    flags: u8,
    actions: [u8; REQUESTS],
    interrupt: u8,
    secure: u8,
    auth: u8,
}

impl Setup {
    fn tls(&self) -> TlsPolicy {
        match self.secure & 3 {
            0 => TlsPolicy::None,
            1 => TlsPolicy::Opportunistic,
            2 => TlsPolicy::Required,
            _ => TlsPolicy::Implicit,
        }
    }

    /// The handshake shows who the server is.
    fn verifies(&self) -> bool {
        self.secure & 16 == 0
    }

    /// SCRAM takes thousands of hashes.
    fn scrams(&self) -> bool {
        self.auth & 32 != 0
    }

    fn authentication(&self) -> Authentication {
        let allowed = |mechanism: &&dyn Mechanism| self.scrams() || !mechanism.name().starts_with("SCRAM");
        let all: Vec<_> = mechanisms().into_iter().filter(allowed).collect();
        let login = match self.auth & 7 {
            0 => return Authentication::Never,
            1 => Login::password(USER, PASSWORD).map(|login| login.mechanisms(all)),
            2 => Login::token(USER, TOKEN),
            3 => Login::anonymous("trace"),
            4 => Ok(Login::external()),
            5 => Login::password(USER, PASSWORD).and_then(|login| login.mechanisms(all).authorization_identity("boss")),
            6 => Login::password(USER, PASSWORD).map(|login| login.mechanisms([sasl::CRAM_MD5, sasl::LOGIN])),
            _ => Login::token(USER, format!("{TOKEN}{}", "0".repeat(400))),
        };
        let login = login.expect("a good login");
        match self.auth & 8 {
            0 => Authentication::Required(login),
            _ => Authentication::IfAvailable(login),
        }
    }

    fn lmtp(&self) -> bool {
        self.interrupt & 32 != 0
    }

    /// Whether some content is no text.
    fn binary(&self) -> bool {
        self.actions.iter().any(|action| action & 7 == 7 && action >> 3 & 3 > 1)
    }

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
            (config.in_flight, config.messages_in_flight, config.chunks_in_flight) = (40, 2, 1);
        }
        config.lmtp = self.lmtp();
        config.tls = self.tls();
        config.authentication = self.authentication();
        config.allow_clear_text_auth = self.auth & 16 != 0;
        config.nonces = Some(nonce);
        config.server_name = "mail.example.org".to_string();
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

/// An envelope that asks for all there is, to two domains.
fn demanding(variant: u8) -> Envelope {
    let mut envelope = Envelope::new("a@a.example", ["b@b.example", "c@c.example", "d@b.example"]).expect("addresses");
    let line = b"MAIL FROM:<> RET=HDRS ENVID=a+2Bb BY=100;N MT-PRIORITY=-3 AUTH=a+3Db@a.example";
    let Ok(Command::Mail { parameters, .. }) = Command::parse(line) else { panic!("good parameters") };
    envelope.ret = parameters.ret;
    envelope.envelope_id = parameters.envelope_id;
    envelope.deliver_by = parameters.deliver_by;
    envelope.priority = parameters.priority;
    envelope.auth = parameters.auth;
    let line = b"RCPT TO:<a@a> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2B@a.example";
    let Ok(Command::Rcpt { parameters, .. }) = Command::parse(line) else { panic!("good parameters") };
    envelope.recipients.iter_mut().for_each(|recipient| recipient.parameters = parameters.clone());
    envelope.binary = variant > 1;
    envelope
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
    /// Each recipient has its own verdict.
    lmtp: bool,
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
            // `O`, `W`, `_`: with parameters, binary, and binary in pieces
            7 if variant == 3 => {
                let streamed = Content::Streamed { size: None };
                self.client.send(demanding(variant), streamed).map(|id| {
                    self.expect(id, false);
                    self.streams.push((id, content(1, true)));
                })
            }
            7 if variant > 0 => {
                let whole = Bytes::from_static(content(variant, false));
                self.client.send(demanding(variant), whole).map(|id| self.expect(id, false))
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
                    let verdicts = if self.lmtp && judged { accepted } else { usize::from(judged) };
                    self.needed += 1 + accepted + verdicts;
                    let needed = self.needed + usize::from(self.client.mechanism().is_some());
                    assert!(positive() >= needed, "{} are too few: {outcome:?}", positive());
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
        lmtp: setup.lmtp(),
    };
    let watched = !by_octet && setup.auth & 7 != 0;
    let shown = Arc::new(Mutex::new(String::new()));
    let tap = Arc::clone(&shown);
    run.client.set_transcript(Box::new(move |entry| {
        let line = entry.to_string();
        assert!(!line.contains(char::is_control), "a control character in the transcript");
        if watched {
            tap.lock().expect("one thread").push_str(&format!("{line}\n{entry:?}\n"));
        }
    }));
    let show = |thing: &dyn Debug| {
        if watched {
            shown.lock().expect("one thread").push_str(&format!("{thing:?}\n"));
        }
    };
    // What was written before TLS, and before TLS with the right server.
    let (mut clear, mut exposed) = (None, None);
    // Small letters, and what follows them, wait until the client has nothing to do.
    let mut late = setup.actions.iter().copied().peekable();
    while let Some(action) = late.next_if(|action| action & 32 == 0) {
        run.act(action);
    }

    let mut feed = Feed { rest: octets, by_octet, given: Vec::new() };
    let mut rx = BytesMut::new();
    let (mut written, mut events) = (Vec::new(), Vec::new());
    let mut failure = None;
    let (mut steps, mut wants, mut interrupting, mut muted, mut ended) = (0, 0, false, false, false);
    let end = loop {
        steps += 1;
        assert!(steps <= 8192 + 4 * feed.given.len() + written.len(), "the client spins");
        match run.client.step(now, &mut rx) {
            Ok(Step::Event(event)) => {
                show(&event);
                show(&run.client);
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
            Ok(Step::UpgradeTls) => {
                assert!(clear.is_none() && !muted && rx.is_empty(), "no time for TLS");
                assert!(!run.client.output().has_remaining(), "something is left to write in clear");
                show(&run.client);
                match setup.secure >> 2 & 3 {
                    0 | 1 => {
                        let facts = tls(setup.verifies(), setup.secure & 32 != 0);
                        assert_eq!(run.client.tls_established(&mut rx, facts), Ok(()));
                        clear = Some(written.len());
                        exposed = setup.verifies().then_some(written.len());
                        // STARTTLS and another hello.
                        run.needed += if setup.tls() == TlsPolicy::Implicit { 0 } else { 2 };
                        continue;
                    }
                    2 => {
                        run.client.tls_failed();
                        failure = Some(Error::Tls(TlsError::Handshake));
                        continue;
                    }
                    _ if feed.next(&mut rx).is_some() => {
                        if setup.interrupt & 16 != 0 {
                            let taken = run.client.tls_established(&mut rx, TlsInfo::default());
                            assert_eq!(taken, Err(ApiMisuse::OctetsInClear));
                        }
                        failure = Some(PeerFault::BehindStartTls.into());
                        continue;
                    }
                    _ => {}
                }
            }
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
                assert!(run.pending.iter().all(|pending| pending.outcomes == 1), "waits for nobody");
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

    if let Some(failure) = failure {
        assert_eq!(end, Err(failure), "what went wrong where TLS begins is fatal");
    }
    check_secrecy(setup, &written, clear, exposed);
    let mail = contains(&written, b"MAIL FROM:");
    let authenticates = matches!(setup.authentication(), Authentication::Required(_));
    assert!(!mail || !authenticates || run.client.mechanism().is_some(), "mail from nobody");
    let last = rx.clone();
    rx.extend_from_slice(b"250 2.0.0 more\r\n");
    for _ in 0..2 {
        assert_eq!(run.client.step(now, &mut rx), end.clone().map(|()| Step::Close), "the end is final ({last:?})");
    }
    let late = run.client.tls_established(&mut BytesMut::new(), TlsInfo::default());
    assert_eq!(late, Err(ApiMisuse::NoHandshake));
    if watched {
        show(&run.client);
        let mut shown = shown.lock().expect("one thread");
        if let Err(error) = &end {
            shown.push_str(&format!("{error}\n{error:?}\n"));
        }
        // The server may say whatever it likes.
        assert!(!shows_secret(shown.as_bytes()) || shows_secret(octets), "a secret is shown: {shown}");
    }
    assert!(!run.client.output().has_remaining(), "something is left to write");
    assert!(run.pending.iter().all(|pending| pending.outcomes == 1), "not one outcome for each: {events:?}");
    if !setup.binary() {
        check_lines(&written, end.is_err());
    }
    Seen { written: written.escape_ascii().to_string(), events, end }
}

fn contains(octets: &[u8], what: &[u8]) -> bool {
    octets.windows(what.len()).any(|window| window == what)
}

/// `clear` and `exposed` are how much was written before TLS and before TLS with the right server, if that came.
fn check_secrecy(setup: &Setup, written: &[u8], clear: Option<usize>, exposed: Option<usize>) {
    let clear = &written[..clear.unwrap_or(written.len())];
    let harmless = |line: &[u8]| {
        matches!(line, b"EHLO client.example\r\n" | b"LHLO client.example\r\n" | b"STARTTLS\r\n" | b"QUIT\r\n")
    };
    match setup.tls() {
        TlsPolicy::None | TlsPolicy::Opportunistic => {}
        TlsPolicy::Required => {
            let mut lines = clear.split_inclusive(|octet| *octet == b'\n');
            assert!(lines.all(harmless), "{} in clear", clear.escape_ascii());
        }
        TlsPolicy::Implicit => assert!(clear.is_empty(), "{} in clear", clear.escape_ascii()),
    }
    let exposed = &written[..exposed.unwrap_or(written.len())];
    if setup.auth & 16 == 0 {
        assert!(!shows_secret(exposed), "a secret in {}", exposed.escape_ascii());
    }
}

/// Whether one of the server's lines asks for more than the fewest iterations of SCRAM.
fn asks_for_much(octets: &[u8]) -> bool {
    let words = octets.split(|octet| matches!(octet, b' ' | b'-' | b'\t' | b'\r' | b'\n'));
    words.filter_map(|word| STANDARD.decode(word).ok()).any(|message| smtp_fuzz::is_costly(&message))
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

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(([flags, actions @ .., interrupt, secure, auth], octets)) = data.split_first_chunk::<{ REQUESTS + 4 }>()
    else {
        return Corpus::Reject;
    };
    let setup = Setup { flags: *flags, actions: *actions, interrupt: *interrupt, secure: *secure, auth: *auth };
    if setup.scrams() && asks_for_much(octets) {
        return Corpus::Reject;
    }
    assert_eq!(run(&setup, octets, false), run(&setup, octets, true));
    Corpus::Keep
});
