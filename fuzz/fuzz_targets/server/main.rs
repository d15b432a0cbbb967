//! Whatever octets a client sends, in whatever pieces they arrive: the server does not panic and does not spin, says
//! the same and tells the same events as if all had come at once, writes nothing but well-formed replies, ends a
//! message at its final dot and nowhere else, ends every transaction once, and closes once, as the last event. It takes
//! nothing that came in clear for what TLS protects, serves nothing before the TLS or the authentication it requires,
//! lets in whom the application lets in, and shows nobody's secret.
//!
//! Input: a line with configuration, pieces, end, TLS, authentication (one octet each, `@` for the defaults) and one
//! octet for each decision, then what the client sends. The octet that TLS begins with (SYN, 16 hexadecimal) divides
//! that, the first time: what stands behind it is sent when the server has taken all before it, and is protected when
//! it asked for TLS meanwhile. Behind a STARTTLS that does not stand at the end of a part there are octets in clear:
//! then the session is over, whether they come with the command or later.
#![no_main]

use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use smtp_fuzz::{Cuts, applied, mechanisms, nonce, policy, shows_secret, tls, verdict, write};
use smtp_proto::sasl::{self, Verdict};
use smtp_proto::server::{
    Abuse, CloseReason, Config, Decision, Event, ResetReason, Server, Session, Shutdown, TlsPolicy,
};
use smtp_proto::wire::{BareNewline, Command, MAX_TEXT_LINE};
use smtp_proto::{ApiMisuse, Instant, Machine, Step, TlsInfo};

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
    /// 0: the handshake is made, 1: it fails, 2: the connection ends as in `end`, 3: octets in clear come before it.
    handshake: u8,
    facts: TlsInfo,
}

impl<'a> Setup<'a> {
    fn new(flags: u8, end: u8, secure: u8, auth: u8, decisions: &'a [u8]) -> Self {
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
        config.tls = match secure & 3 {
            0 => TlsPolicy::None,
            1 => TlsPolicy::Offered,
            2 => TlsPolicy::Required,
            _ => TlsPolicy::Implicit,
        };
        config.requiretls = secure & 4 != 0;
        config.nonces = (auth & 16 == 0).then_some(nonce);
        if auth & 1 != 0 {
            config.mechanisms = mechanisms();
        }
        config.require_auth = auth & 2 != 0;
        config.allow_clear_text_auth = auth & 4 != 0;
        if auth & 8 != 0 {
            (config.limits.auth_failures, config.limits.auth_rounds) = (1, 1);
        }
        let pause = Duration::from_secs(u64::from(end >> 2 & 2));
        let (handshake, facts) = (secure >> 3 & 3, tls(secure & 32 != 0, secure & 32 != 0));
        Self { config: Arc::new(config), decisions, end: end & 3, refuse_body, pause, handshake, facts }
    }

    /// Whether the connection breaks at a question.
    fn breaks(&self) -> bool {
        self.decisions.iter().any(|choice| choice >> 4 & 3 == 3)
    }

    /// Decides by the number of the question alone, so that two runs decide alike. What else can happen meanwhile
    /// happens first.
    fn decide(&self, question: usize, event: &Event, server: &mut Server) -> Decision {
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
            11 => Decision::Verdict(Verdict::Accepted),
            12 => Decision::Verdict(Verdict::Refused),
            _ => match event {
                Event::Authenticate(credentials) => Decision::Verdict(verdict(credentials)),
                _ => Decision::Accept,
            },
        };
        let taken = server.decide(decision.clone());
        if decision == Decision::Verdict(Verdict::Refused) && !matches!(event, Event::Authenticate(_)) {
            assert_eq!(taken, Err(ApiMisuse::UnfitDecision));
            return Decision::Reply(reply("451 4.3.0 what is replied to that"));
        }
        assert_eq!(taken, Ok(()), "the decision is valid");
        decision
    }
}

/// What is still to come from the client.
struct Feed<'a> {
    /// Of the part that is being sent.
    rest: &'a [u8],
    later: &'a [u8],
    cuts: Option<Cuts>,
}

impl<'a> Feed<'a> {
    fn new((clear, later): (&'a [u8], &'a [u8]), cuts: Option<Cuts>) -> Self {
        Self { rest: clear, later, cuts }
    }

    fn left(&self) -> usize {
        self.rest.len() + self.later.len()
    }

    /// The next piece of this part; none when all of it was sent.
    fn piece_of_part(&mut self) -> Option<&'a [u8]> {
        match &mut self.cuts {
            Some(cuts) => cuts.piece(&mut self.rest),
            None => Some(std::mem::take(&mut self.rest)).filter(|piece| !piece.is_empty()),
        }
    }

    fn piece(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            self.rest = std::mem::take(&mut self.later);
        }
        self.piece_of_part()
    }
}

/// All that is shown, and which of the client's lines may be among it.
struct Watch<'a> {
    octets: &'a [u8],
    /// How many of them have been looked at.
    seen: usize,
    /// How many of them have been searched for a line end.
    searched: usize,
    /// Whether a line that is no command may belong to an authentication.
    auth: bool,
    open: Vec<u8>,
    shown: Arc<Mutex<String>>,
    longest: usize,
    /// Where nobody authenticates, there is nothing to see but the transcript.
    on: bool,
}

impl<'a> Watch<'a> {
    fn new(octets: &'a [u8], server: &mut Server, longest: usize) -> Self {
        let on = octets.windows(4).any(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
        let shown = Arc::new(Mutex::new(String::new()));
        let tap = Arc::clone(&shown);
        server.set_transcript(Box::new(move |entry| {
            let line = entry.to_string();
            assert!(!line.contains(char::is_control), "a control character in the transcript");
            if on {
                tap.lock().expect("one thread").push_str(&format!("{line}\n{entry:?}\n"));
            }
        }));
        Self { octets, seen: 0, searched: 0, auth: false, open: Vec::new(), shown, longest, on }
    }

    fn show(&self, thing: &dyn Debug) {
        if self.on {
            self.shown.lock().expect("one thread").push_str(&format!("{thing:?}\n"));
        }
    }

    /// Looks at the lines up to `taken`. Content is never shown.
    fn lines(&mut self, taken: usize, content: &Range<usize>, exchange: bool) {
        while self.seen < taken {
            if content.contains(&self.seen) {
                self.seen = content.end.min(taken);
                continue;
            }
            // A line that is not whole has been looked at already, but for its end.
            let rest = &self.octets[self.seen..taken];
            let from = self.searched.saturating_sub(self.seen + 1);
            let Some(end) = rest[from..].windows(2).position(|pair| pair == b"\r\n") else {
                self.searched = taken;
                break;
            };
            let end = from + end;
            self.seen += end + 2;
            let line = &rest[..end];
            let starts =
                |line: &[u8], with: &[u8]| line.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
            // Longer ones are shown nowhere.
            if !exchange && (line.len() + 2 <= self.longest || starts(line, b"AUTH ")) {
                let known = !matches!(Command::parse(line), Err(_) | Ok(Command::Other { .. }));
                self.auth = starts(line.trim_ascii_start(), b"AUTH") || self.auth && !known;
                if !self.auth {
                    self.open.extend_from_slice(line);
                }
            }
        }
    }

    fn check(&self) {
        let shown = self.shown.lock().expect("one thread");
        assert!(!shows_secret(shown.as_bytes()) || shows_secret(&self.open), "a secret is shown: {shown}");
    }
}

/// What may be served, given what the client proved.
struct Guard<'a> {
    config: &'a Config,
    secured: bool,
    /// The application took the credentials.
    trusted: bool,
    authenticated: bool,
    failures: u32,
}

impl<'a> Guard<'a> {
    fn new(config: &'a Config) -> Self {
        Self { config, secured: false, trusted: false, authenticated: false, failures: 0 }
    }

    fn secured(&mut self, session: &Session) {
        *self = Self { secured: true, ..Self::new(self.config) };
        assert!(session.hello().is_none() && session.transaction().is_none() && session.identity().is_none());
        assert!(session.tls().is_some() && session.auth_failures() == 0);
    }

    fn check(&mut self, event: &Event, decision: Option<&Decision>) {
        let Config { tls, require_auth, .. } = *self.config;
        let served = match event {
            Event::StartTls => !self.secured && matches!(tls, TlsPolicy::Offered | TlsPolicy::Required),
            Event::Connected => self.secured == (tls == TlsPolicy::Implicit),
            Event::Hello(_) | Event::Reset(_) => tls != TlsPolicy::Implicit || self.secured,
            Event::Abuse(_) | Event::Closing(_) => true,
            Event::Mail(_) | Event::Verify(_) | Event::Expand(_) if require_auth && !self.authenticated => false,
            _ => self.secured || matches!(tls, TlsPolicy::None | TlsPolicy::Offered),
        };
        assert!(served, "{event:?} before its time");
        match event {
            Event::Mail(mail) => {
                assert!(!mail.parameters.requiretls || self.secured && self.config.requiretls, "{event:?}");
                assert!(mail.parameters.auth.is_none() || !self.config.mechanisms.is_empty(), "{event:?}");
            }
            Event::Authenticate(credentials) => {
                let mechanism = sasl::find(credentials.mechanism()).expect("a known mechanism");
                assert!(self.config.mechanisms.contains(&mechanism) && !self.authenticated, "{event:?}");
                let safe = self.secured || self.config.allow_clear_text_auth || !mechanism.reveals_secret();
                assert!(safe, "{event:?} in clear");
                self.trusted = match decision {
                    Some(Decision::Accept | Decision::Verdict(Verdict::Accepted | Verdict::Keys(_))) => true,
                    Some(Decision::Reply(reply)) => reply.is_positive(),
                    _ => false,
                };
            }
            Event::Authenticated(_) => {
                assert!(std::mem::take(&mut self.trusted), "{event:?} and nobody said so");
                self.authenticated = true;
            }
            Event::AuthenticationFailed(failure) => {
                self.failures += 1;
                assert_eq!(failure.failures, self.failures);
                assert!(self.failures <= self.config.limits.auth_failures && !self.authenticated);
            }
            _ => {}
        }
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
            decision => matches!(decision, Some(Decision::Accept | Decision::Verdict(Verdict::Accepted))),
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

/// Runs one session on the parts that the client sends, in pieces if there are `cuts`, with writes of at most `most`
/// octets. What is shown is looked at when they are cut.
fn run(setup: &Setup, octets: &[u8], clear: usize, cuts: Option<Cuts>, most: usize) -> (Vec<u8>, Vec<Event>) {
    let mut now = Instant::default();
    let mut server = Server::new(setup.config.clone(), now);
    let mut watch = cuts.is_some().then(|| Watch::new(octets, &mut server, setup.config.limits.command_line.max(512)));
    let mut rx = BytesMut::new();
    let (mut written, mut told, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let (mut order, mut guard) = (Order::new(octets, setup.config.bare_newline), Guard::new(&setup.config));
    let mut feed = Feed::new(octets.split_at(clear), cuts);
    let (mut questions, mut steps, mut ended) = (0, 0, false);
    loop {
        let received = octets.len() - feed.left();
        steps += 1;
        assert!(steps <= 64 + 4 * received + written.len(), "the server spins");
        assert!(server.output().remaining() <= MOST_OUTPUT, "output without bound");
        let exchange = watch.is_some() && last_line(&written).starts_with(b"334 ");
        let step = server.step(now, &mut rx).expect("a server never fails");
        if let Some(watch) = &mut watch {
            watch.lines(received - rx.len(), &order.message, exchange);
            if !matches!(step, Step::Event(Event::Body(_)) | Step::Read | Step::Write) {
                watch.show(&step);
            }
            let telling = matches!(
                step,
                Step::Event(Event::Authenticate(_) | Event::AuthenticationFailed(_)) | Step::UpgradeTls | Step::Close
            );
            if telling || exchange {
                watch.show(&server);
            }
        }
        match step {
            Step::Event(event) => {
                let decision = event.is_question().then(|| setup.decide(questions, &event, &mut server));
                if decision.is_some() {
                    questions += 1;
                    now = now.after(setup.pause);
                }
                guard.check(&event, decision.as_ref());
                if let (Event::Authenticated(_), Some(watch)) = (&event, &mut watch) {
                    watch.auth = false;
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
                if let Some(piece) = feed.piece() {
                    rx.extend_from_slice(piece);
                    continue;
                }
                ended = true;
                end(setup, &mut server, &mut now);
            }
            Step::UpgradeTls => {
                assert!(!guard.secured && rx.is_empty() && !server.output().has_remaining(), "no time for TLS");
                if let Some(piece) = feed.piece_of_part() {
                    rx.extend_from_slice(piece);
                    continue;
                }
                match setup.handshake {
                    0 => {
                        assert_eq!(server.tls_established(&mut rx, setup.facts.clone()), Ok(()));
                        guard.secured(server.session());
                        if let Some(watch) = &mut watch {
                            watch.auth = false;
                        }
                    }
                    1 => server.tls_failed(),
                    2 => end(setup, &mut server, &mut now),
                    _ => {
                        let taken = server.tls_established(&mut BytesMut::from("NOOP\r\n"), setup.facts.clone());
                        assert_eq!(taken, Err(ApiMisuse::OctetsInClear));
                    }
                }
            }
            Step::Decide => panic!("nothing is left to decide"),
            Step::Close => break,
        }
    }
    let late = server.tls_established(&mut BytesMut::new(), TlsInfo::default());
    assert_eq!(late, Err(ApiMisuse::NoHandshake));
    assert!(order.closed && !server.output().has_remaining(), "closed too early");
    assert_eq!(server.step(now, &mut rx), Ok(Step::Close));
    if let Some(watch) = watch {
        watch.check();
    }
    (written, told)
}

/// The client says no more.
fn end(setup: &Setup, server: &mut Server, now: &mut Instant) {
    match setup.end {
        1 => server.connection_lost(),
        2 => *now = server.deadline().expect("a server that waits for the client has a deadline"),
        _ => server.peer_closed(),
    }
}

fn last_line(written: &[u8]) -> &[u8] {
    let lines = written.strip_suffix(b"\r\n").unwrap_or(written);
    lines.rsplit(|octet| *octet == b'\n').next().unwrap_or_default()
}

/// What is said when the application agreed to TLS: with octets behind STARTTLS, and without.
const LAST_WORDS: [[&[u8]; 2]; 2] = [
    [b"554 5.5.1 Nothing may follow STARTTLS before TLS\r\n", b"554 Nothing may follow STARTTLS before TLS\r\n"],
    [b"220 2.0.0 Ready to start TLS\r\n", b"220 Ready to start TLS\r\n"],
];

fn ended_for_octets_in_clear(told: &[Event]) -> bool {
    told.last() == Some(&Event::Closing(CloseReason::Abuse(Abuse::BehindStartTls)))
}

/// Octets behind STARTTLS that come with it keep the server from saying that it is ready.
fn without_last_words<'a>(written: &'a [u8], told: &[Event]) -> &'a [u8] {
    let words = LAST_WORDS.iter().flatten().filter(|_| ended_for_octets_in_clear(told));
    words.into_iter().find_map(|words| written.strip_suffix(*words)).unwrap_or(written)
}

fn check_replies(mut written: &[u8], told: &[Event]) {
    // RFC 6531 section 3.7.4: only the client of these has asked for it.
    let utf8 = told.iter().any(|event| matches!(event, Event::Verify(query) | Event::Expand(query) if query.smtputf8));
    let mut first: Option<&[u8]> = None;
    while !written.is_empty() {
        let end = written.windows(2).position(|pair| pair == b"\r\n").expect("every line ends in CRLF");
        let line = written.split_off(..end + 2).expect("the line is there");
        // RFC 4954 section 4: challenges may be longer.
        assert!(line.len() <= if line.starts_with(b"334 ") { 12288 } else { 512 }, "a line of {} octets", line.len());
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
    let ([flags, cuts, end, secure, auth, decisions @ ..], [_, sent @ ..]) = data.split_at(at) else {
        return;
    };
    let setup = Setup::new(*flags, *end, *secure, *auth, decisions);
    let clear = sent.iter().position(|octet| *octet == 0x16).unwrap_or(sent.len());
    let octets = [&sent[..clear], sent.get(clear + 1..).unwrap_or_default()].concat();
    let whole = run(&setup, &octets, clear, None, usize::MAX);
    check_replies(&whole.0, &whole.1);
    if ended_for_octets_in_clear(&whole.1) && setup.handshake != 3 && setup.config.tls != TlsPolicy::Implicit {
        let refused = LAST_WORDS[0].iter().any(|words| whole.0.ends_with(words));
        assert!(refused || setup.breaks(), "ready for TLS in spite of octets in clear");
    }
    let pieces = run(&setup, &octets, clear, Some(Cuts::new(*cuts)), Cuts::new(*cuts).length());
    check_replies(&pieces.0, &pieces.1);
    let said = [&whole, &pieces].map(|(written, told)| without_last_words(written, told));
    // Replies are held back while more commands are there, for a second: a connection that breaks takes them along.
    let part = said[0].starts_with(said[1]) || said[1].starts_with(said[0]);
    if !setup.breaks() || !part {
        assert_eq!(said[0].escape_ascii().to_string(), said[1].escape_ascii().to_string());
    }
    assert_eq!(whole.1, pieces.1);
});
