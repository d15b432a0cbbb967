//! Whatever octets a client sends, in whatever pieces they arrive: the server does not panic and does not spin, says
//! the same and tells the same events as if all had come at once, writes nothing but well-formed replies, ends a
//! message at its final dot and nowhere else, ends every transaction once, and closes once, as the last event. It takes
//! nothing that came in clear for what TLS protects, serves nothing before the TLS or the authentication it requires,
//! lets in whom the application lets in, and shows nobody's secret.
//!
//! Input: a line with configuration, pieces, end, TLS, authentication, extensions and what stands between (PROXY headers,
//! XCLIENT, XFORWARD, early talkers), one octet each and `@` for the defaults, and one octet for each decision; then what
//! the client sends. The octet that TLS begins with (SYN, 16 hexadecimal) divides that, the first time: what stands
//! behind it is sent when the server has taken all before it, and is protected when it asked for TLS meanwhile. Behind a
//! STARTTLS that does not stand at the end of a part there are octets in clear: then the session is over, whether they
//! come with the command or later. Where TLS begins with the connection, the first part is what it is made of.
//!
//! Several recipients may be asked about at once, and are decided at once, the first alone, or in another order: each by
//! the decision that it would have had by itself.
#![no_main]

mod frames;
mod order;
mod setup;
mod watch;

use bytes::{Buf, BytesMut};
use libfuzzer_sys::fuzz_target;
use smtp_fuzz::{Cuts, write};
use smtp_proto::server::{Abuse, Asserted, CloseReason, Decision, Event, Recipient, Server, TlsPolicy};
use smtp_proto::{ApiMisuse, Instant, Machine, Step, TlsInfo};

use frames::Frames;
use order::{Guard, Order};
use setup::Setup;
use watch::Watch;

/// The high-water mark of the output, and a reply of several lines on top.
const MOST_OUTPUT: usize = 64 * 1024 + 4096;

/// What the application was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Event(Event),
    Recipient(Recipient),
    /// With a sender: what others said about the client.
    Asserted(Asserted),
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

/// What the application was told, with the pieces of content joined.
fn record(event: Event, told: &mut Vec<Told>, content: &mut Vec<u8>) {
    match event {
        Event::Body(piece) => content.extend_from_slice(&piece),
        event => {
            if !content.is_empty() {
                told.push(Told::Event(Event::Body(std::mem::take(content).into())));
            }
            told.push(Told::Event(event));
        }
    }
}

/// Runs one session on the parts that the client sends, in pieces if there are `cuts`, with writes of at most `most`
/// octets. What is shown is looked at when they are cut.
fn run(setup: &Setup, octets: &[u8], clear: usize, cuts: Option<Cuts>, most: usize) -> (Vec<u8>, Vec<Told>) {
    let mut now = Instant::default();
    let config = &setup.config;
    let mut server = Server::new(config.clone(), now);
    let longest = config.limits.command_line.max(if config.dsn { 1048 } else { 512 });
    let mut watch = cuts.is_some().then(|| Watch::new(octets, &mut server, longest));
    let mut rx = BytesMut::new();
    let (mut written, mut told, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let (mut order, mut guard) = (Order::new(config.bare_newline), Guard::new(config));
    let (mut feed, mut frames) = (Feed::new(octets.split_at(clear), cuts), Frames::new(octets, longest));
    let (mut questions, mut steps, mut ends) = (0, 0, 0);
    loop {
        let received = octets.len() - feed.left();
        steps += 1;
        assert!(steps <= 64 + 4 * received + written.len(), "the server spins");
        assert!(server.output().remaining() <= MOST_OUTPUT, "output without bound");
        let exchange = frames.exchange;
        let step = server.step(now, &mut rx).expect("a server never fails");
        let taken = received - rx.len();
        let lines = frames.advance(taken);
        if let Some(watch) = &mut watch {
            lines.iter().for_each(|line| watch.line(line));
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
            Step::Event(Event::Recipients(recipients)) => {
                order.check(&Event::Recipients(recipients.clone()), None, taken, &mut frames);
                let count = setup.decide_recipients(questions, &recipients, &mut server);
                for recipient in recipients.iter().take(count) {
                    order.recipient(recipient);
                    told.push(Told::Recipient(recipient.clone()));
                    now = now.after(setup.pause);
                }
                questions += count;
            }
            Step::Event(event) => {
                let decision = event.is_question().then(|| setup.decide(questions, &event, &mut server));
                if decision.is_some() {
                    questions += 1;
                    now = now.after(setup.pause);
                }
                guard.check(&event, decision.as_ref(), server.session());
                if let (Event::Authenticated(_), Some(watch)) = (&event, &mut watch) {
                    watch.auth = false;
                }
                order.check(&event, decision.as_ref(), taken, &mut frames);
                if setup.refuse_body && matches!(event, Event::Body(_)) {
                    let refusal = "554 5.7.1 not this".parse().expect("a valid reply");
                    server.decide(Decision::Reply(refusal)).expect("content can be refused");
                    // How much of it was told before depends on the pieces.
                    continue;
                }
                if matches!(event, Event::Mail(_)) {
                    told.push(Told::Asserted(server.session().asserted().clone()));
                }
                record(event, &mut told, &mut content);
            }
            Step::Write => {
                write(server.output(), most, &mut written);
                frames.exchange = last_line(&written).starts_with(b"334 ");
            }
            Step::Read => {
                assert!(!order.closed && !server.output().has_remaining(), "no reason to read");
                if let Some(piece) = feed.piece() {
                    rx.extend_from_slice(piece);
                    continue;
                }
                // Time that runs out may be that in which a client does not talk early.
                ends += 1;
                assert!(ends == 1 || ends == 2 && setup.end == 2, "no reason to read");
                end(setup, &mut server, &mut now);
            }
            Step::UpgradeTls => {
                assert!(!guard.secured && !server.output().has_remaining(), "no time for TLS");
                if config.tls == TlsPolicy::Implicit {
                    // These are none of the machine's octets.
                    feed.rest = &[];
                    rx.clear();
                }
                assert!(rx.is_empty(), "octets in clear where TLS begins");
                if let Some(piece) = feed.piece_of_part() {
                    rx.extend_from_slice(piece);
                    continue;
                }
                match setup.handshake {
                    0 => {
                        assert_eq!(server.tls_established(&mut rx, setup.facts.clone()), Ok(()));
                        guard.secured(server.session());
                        if config.tls != TlsPolicy::Implicit {
                            frames.begin(octets.len() - feed.left());
                        }
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
    let left = rx.len();
    assert_eq!(server.step(now, &mut rx), Ok(Step::Close));
    assert_eq!(rx.len(), left, "input is eaten behind the end");
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

fn ended_for_octets_in_clear(told: &[Told]) -> bool {
    told.last() == Some(&Told::Event(Event::Closing(CloseReason::Abuse(Abuse::BehindStartTls))))
}

/// Octets behind STARTTLS that come with it keep the server from saying that it is ready.
fn without_last_words<'a>(written: &'a [u8], told: &[Told]) -> &'a [u8] {
    let words = LAST_WORDS.iter().flatten().filter(|_| ended_for_octets_in_clear(told));
    words.into_iter().find_map(|words| written.strip_suffix(*words)).unwrap_or(written)
}

fn check_replies(mut written: &[u8], told: &[Told]) {
    // RFC 6531 section 3.7.4: only the client of these has asked for it.
    let utf8 = told
        .iter()
        .any(|told| matches!(told, Told::Event(Event::Verify(query) | Event::Expand(query)) if query.smtputf8));
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
    let ([flags, cuts, end, secure, auth, extensions, edge, decisions @ ..], [_, sent @ ..]) = data.split_at(at) else {
        return;
    };
    let setup = Setup::new([*flags, *end, *secure, *auth, *extensions, *edge], decisions);
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
