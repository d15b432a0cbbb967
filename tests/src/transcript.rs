//! Transcripts as tests: dialogues in text files, run on the bare core in every segmentation.
//!
//! ```text
//! # DATA-004: comments cite rules.
//! role: server                          or client
//! config: bare_newline=fix              settings of the machine
//! decide: rcpt no@b.test = 550 5.1.1 Unknown   answers of the application (server); `= close 421 ...` closes too
//! I: send a@a.test to b@b.test content "Hi\r\n"   intents of the application (client)
//! S: 220 mx.test ESMTP                  a line of the server, CRLF added
//! C: EHLO a.test                        a line of the client, CRLF added
//! c: raw\n octets {x*600}               octets as they are, with escapes and repetitions
//! E: mail <a@a.test>                    an event; where one is given, all must be
//! T: 300                                so many seconds pass
//! X: eof | lost | mute | shutdown | shutdown now      what happens to the session; mute: writing fails
//! X: tls | tls bound | tls unverified | tls failed     the handshake that the machine asks for; bound, unverified: with
//!                                       channel binding; unverified: nobody knows who the server is
//! X: closed | error TEXT                how it ends
//! ```
//!
//! A file may hold many: each begins with `== TITLE`, and what stands before the first belongs to all.
//!
//! Each dialogue runs with its input whole, one octet at a time, at every cut into two, and at random cuts; the
//! server also gets all input at once, where nothing but input happens.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use smtp_proto::client::{self, Client, Content, Envelope, RecipientOutcome, RequestId};
use smtp_proto::sasl::{self, ChannelBinding, Login, Mechanism};
use smtp_proto::server::{self, Decision, ResetReason, Server, Shutdown};
use smtp_proto::wire::{Escaped, Reply};
use smtp_proto::{Error, Instant, Machine, Step, TlsInfo};

/// The nonce of every exchange.
const NONCE: [u8; 24] = *b"0123456789abcdef01234567";

/// The dialogues of a file with their titles.
pub fn dialogues(file: &str) -> Vec<(&str, String)> {
    let mut parts = file.split("\n== ");
    let preamble = parts.next().unwrap_or_default();
    let title = |part: &str| part.lines().next().unwrap_or_default().len();
    // As many empty lines as came before, so that the numbers of lines are those of the file.
    let mut before = preamble.lines().count();
    parts
        .map(|part| {
            let (title, body) = part.split_at(title(part));
            let padding = "\n".repeat(before.saturating_sub(preamble.lines().count()));
            before += part.split('\n').count();
            (title, format!("{preamble}{padding}\n{body}"))
        })
        .collect()
}

/// A dialogue out of a file.
#[derive(Debug)]
pub struct Script {
    server: bool,
    settings: Vec<(String, String)>,
    decisions: Vec<(String, Decision)>,
    acts: Vec<(usize, Act)>,
    /// All input comes before any output is looked at.
    joined: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Feed(Vec<u8>),
    Expect(Vec<u8>),
    Event(String),
    Pass(Duration),
    Intent(String),
    EndOfFile,
    Lost,
    Mute,
    /// The handshake that is due.
    Tls(Handshake),
    ShutDown(Shutdown),
    Closed,
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    Done,
    /// With channel binding.
    Bound,
    /// The same, and nobody knows who the server is.
    Unverified,
    Failed,
}

type Outcome<T = ()> = Result<T, String>;

/// Runs a dialogue in every segmentation.
///
/// # Errors
/// With the segmentation, the line, and what was expected and found.
pub fn check(text: &str) -> Outcome {
    let script = Script::parse(text)?;
    let length: usize = script.feeds().map(<[u8]>::len).sum();
    let run = |name: String, cuts: &dyn Fn(usize) -> bool| script.run(cuts).map_err(|error| format!("{name}: {error}"));
    run("whole".to_owned(), &|_| false)?;
    run("octet by octet".to_owned(), &|_| true)?;
    // Long inputs are long because of repetitions: not every place in them is of interest.
    let stride = 1 + length / 1500;
    for cut in (1..length).filter(|cut| cut % stride == 0 || length - cut < 50) {
        run(format!("cut in two at {cut}"), &|at| at == cut)?;
    }
    for seed in 0..20u64 {
        // A cheap hash is random enough, and the same every time.
        let random = move |at: usize| {
            (at as u64 + 1).wrapping_mul(seed * 2 + 0x9E37_79B9_7F4A_7C15).rotate_left(23).is_multiple_of(7)
        };
        run(format!("random cuts {seed}"), &random)?;
    }
    match script.joined() {
        Some(joined) => joined.run(&|_| false).map_err(|error| format!("all at once: {error}")),
        None => Ok(()),
    }
}

impl Script {
    /// Reads a dialogue.
    ///
    /// # Errors
    /// When a line is not understood.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut script =
            Self { server: true, settings: Vec::new(), decisions: Vec::new(), acts: Vec::new(), joined: false };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(format!("line {number}: no key"))?;
            let value = value.strip_prefix(' ').unwrap_or(value);
            let bad = |what: String| format!("line {number}: {what}");
            let act = match key {
                "role" => {
                    script.server = value == "server";
                    continue;
                }
                "config" => {
                    let setting =
                        |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
                    script.settings.extend(value.split_whitespace().filter_map(setting));
                    continue;
                }
                "decide" => {
                    let (event, reply) = value.split_once(" = ").ok_or(bad("no decision".to_owned()))?;
                    script.decisions.push((event.to_owned(), decision(reply).map_err(bad)?));
                    continue;
                }
                "C" | "S" | "c" | "s" => {
                    let mut octets = unescape(value).map_err(bad)?;
                    if key.starts_with(char::is_uppercase) {
                        octets.extend_from_slice(b"\r\n");
                    }
                    let feed = script.server == key.eq_ignore_ascii_case("c");
                    if feed { Act::Feed(octets) } else { Act::Expect(octets) }
                }
                "E" => Act::Event(value.to_owned()),
                "T" => Act::Pass(Duration::from_secs_f64(value.parse().map_err(|_| bad("no number".to_owned()))?)),
                "I" => Act::Intent(value.to_owned()),
                "X" => match value {
                    "eof" => Act::EndOfFile,
                    "lost" => Act::Lost,
                    "mute" => Act::Mute,
                    "tls" => Act::Tls(Handshake::Done),
                    "tls unverified" => Act::Tls(Handshake::Unverified),
                    "tls bound" => Act::Tls(Handshake::Bound),
                    "tls failed" => Act::Tls(Handshake::Failed),
                    "shutdown" => Act::ShutDown(Shutdown::AfterTransaction),
                    "shutdown now" => Act::ShutDown(Shutdown::Now),
                    "closed" => Act::Closed,
                    _ => match value.strip_prefix("error ") {
                        Some(error) => Act::Failed(error.to_owned()),
                        None => return Err(bad(format!("unknown: {value}"))),
                    },
                },
                _ => return Err(bad(format!("unknown key {key}"))),
            };
            match (script.acts.last_mut(), act) {
                (Some((_, Act::Feed(last))), Act::Feed(more)) | (Some((_, Act::Expect(last))), Act::Expect(more)) => {
                    last.extend(more);
                }
                (_, act) => script.acts.push((number, act)),
            }
        }
        Ok(script)
    }

    fn feeds(&self) -> impl Iterator<Item = &[u8]> {
        self.acts.iter().filter_map(|(_, act)| match act {
            Act::Feed(octets) => Some(&octets[..]),
            _ => None,
        })
    }

    /// The same with all input in front of all output, where nothing but input happens.
    fn joined(&self) -> Option<Self> {
        let plain = |(_, act): &(usize, Act)| {
            !matches!(act, Act::Pass(_) | Act::Lost | Act::Mute | Act::Tls(_) | Act::ShutDown(_) | Act::Intent(_))
        };
        if !self.server || !self.acts.iter().all(plain) {
            return None;
        }
        let (mut input, mut output, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for (number, act) in &self.acts {
            match act {
                Act::Feed(octets) => input.extend_from_slice(octets),
                Act::Expect(octets) => output.extend_from_slice(octets),
                act => rest.push((*number, act.clone())),
            }
        }
        let (events, ends): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, act)| matches!(act, Act::Event(_)));
        let mut acts = events;
        acts.push((0, Act::Feed(input)));
        acts.extend(ends);
        acts.push((0, Act::Expect(output)));
        let (settings, decisions) = (self.settings.clone(), self.decisions.clone());
        Some(Self { server: true, settings, decisions, acts, joined: true })
    }

    /// Runs it once; `cut` says whether the input is cut before the octet at this place.
    fn run(&self, cut: &dyn Fn(usize) -> bool) -> Outcome {
        let mut side = if self.server { Side::server(self)? } else { Side::client(self)? };
        let (mut fed, mut expected_events) = (0, Vec::new());
        for (number, act) in &self.acts {
            let at = |error: String| format!("line {number}: {error}");
            match act {
                Act::Expect(octets) => side.expect(octets).map_err(at)?,
                Act::Event(event) => expected_events.push(event.clone()),
                Act::Feed(octets) => {
                    if !self.joined {
                        side.nothing_more().map_err(at)?;
                    }
                    for octet in octets {
                        if fed > 0 && cut(fed) {
                            side.run()?;
                        }
                        side.rx.extend_from_slice(&[*octet]);
                        fed += 1;
                    }
                    side.run()?;
                }
                Act::Intent(intent) => side.intent(intent).map_err(at)?,
                Act::Pass(time) => {
                    side.now = side.now.after(*time);
                    side.run()?;
                }
                Act::EndOfFile => {
                    side.machine.peer_closed();
                    side.run()?;
                }
                Act::Lost => {
                    side.machine.connection_lost();
                    side.run()?;
                }
                Act::Tls(handshake) => side.tls(*handshake)?,
                Act::Mute => {
                    side.machine.write_failed();
                    side.run()?;
                }
                Act::ShutDown(shutdown) => {
                    side.machine.shut_down(*shutdown);
                    side.run()?;
                }
                Act::Closed if side.end == Some(Ok(())) => {}
                Act::Closed => return Err(at(format!("not closed but {:?}", side.end))),
                Act::Failed(error) => match &side.end {
                    Some(Err(found)) if found.to_string() == *error => {}
                    end => return Err(at(format!("expected the error {error:?}, found {end:?}"))),
                },
            }
        }
        side.nothing_more()?;
        let found = side.events();
        if !expected_events.is_empty() && found != expected_events {
            return Err(format!(
                "events: expected\n  {}\nfound\n  {}",
                expected_events.join("\n  "),
                found.join("\n  ")
            ));
        }
        Ok(())
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find_map(|(key, value)| (key == name).then_some(&**value))
    }

    /// `mechanisms=PLAIN,LOGIN`
    fn mechanisms(&self) -> Outcome<Vec<&'static dyn Mechanism>> {
        let names = self.setting("mechanisms").into_iter().flat_map(|names| names.split(','));
        names.map(|name| sasl::find(name).ok_or(format!("config: no mechanism {name}"))).collect()
    }

    /// `USER:PASSWORD`, `USER:token:TOKEN`, `external` or `anonymous:TRACE`
    fn login(&self, name: &str) -> Outcome<Option<Login>> {
        let Some(text) = self.setting(name) else { return Ok(None) };
        let (first, rest) = text.split_once(':').unwrap_or((text, ""));
        let login = match (first, rest.strip_prefix("token:")) {
            ("external", _) => Ok(Login::external()),
            ("anonymous", _) => Login::anonymous(rest),
            (username, Some(token)) => Login::token(username, token),
            (username, None) => Login::password(username, rest),
        };
        let login = login.map_err(|error| error.to_string())?;
        let mechanisms = self.mechanisms()?;
        Ok(Some(if mechanisms.is_empty() { login } else { login.mechanisms(mechanisms) }))
    }

    fn number<T: std::str::FromStr>(&self, name: &str, slot: &mut T) -> Outcome {
        match self.setting(name).map(str::parse) {
            None => Ok(()),
            Some(Ok(number)) => {
                *slot = number;
                Ok(())
            }
            Some(Err(_)) => Err(format!("config: {name} is no number")),
        }
    }
}

fn decision(text: &str) -> Outcome<Decision> {
    let parse =
        |text: &str| text.replace("\\r", "\r").replace("\\n", "\n").parse::<Reply>().map_err(|error| error.to_string());
    Ok(match text.strip_prefix("close ") {
        Some(reply) => Decision::Close(parse(reply)?),
        None if text == "accept" => Decision::Accept,
        // `each 250 ok | 452 full`
        None if text.starts_with("each ") => {
            Decision::Each(text["each ".len()..].split(" | ").map(decision).collect::<Outcome<_>>()?)
        }
        None => Decision::Reply(parse(text)?),
    })
}

/// Escapes `\r \n \t \0 \\ \xHH`, and `{text*N}` for repetitions.
fn unescape(text: &str) -> Outcome<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '{']) {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(repetition) = rest.strip_prefix('{') {
            let parsed = repetition.split_once('}').and_then(|(inside, behind)| {
                let (what, count) = inside.rsplit_once('*')?;
                Some((unescape(what), count.parse::<usize>().ok()?, behind))
            });
            let Some((what, count, behind)) = parsed else {
                octets.push(b'{');
                rest = repetition;
                continue;
            };
            octets.extend(what?.repeat(count));
            rest = behind;
            continue;
        }
        let mut letters = rest[1..].chars();
        let letter = letters.next().ok_or("a backslash at the end")?;
        rest = letters.as_str();
        octets.push(match letter {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            '{' => b'{',
            '"' => b'"',
            'x' => {
                let digits = rest.get(..2).ok_or("\\x without digits")?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?
            }
            other => return Err(format!("unknown escape {other}")),
        });
    }
    octets.extend_from_slice(rest.as_bytes());
    Ok(octets)
}

/// A machine in a run.
struct Side<'a> {
    script: &'a Script,
    machine: Role,
    rx: BytesMut,
    now: Instant,
    /// Written and not yet compared.
    written: Vec<u8>,
    events: Vec<String>,
    /// Content of adjacent events, which is one to a test.
    content: Vec<u8>,
    end: Option<Result<(), Error>>,
    /// The machine asks for a handshake.
    upgrading: bool,
    /// What `content`, `end` and `cancel` are about.
    streamed: Option<RequestId>,
}

enum Role {
    Server(Box<Server>),
    Client(Box<Client>),
}

enum Happened {
    Server(server::Event),
    Client(client::Event),
}

impl Role {
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Step<Happened>, Error> {
        fn wrap<E>(step: Step<E>, event: impl FnOnce(E) -> Happened) -> Step<Happened> {
            match step {
                Step::Event(happened) => Step::Event(event(happened)),
                Step::Write => Step::Write,
                Step::Read => Step::Read,
                Step::Decide => Step::Decide,
                Step::UpgradeTls => Step::UpgradeTls,
                Step::Close => Step::Close,
            }
        }
        match self {
            Self::Server(server) => server.step(now, rx).map(|step| wrap(step, Happened::Server)),
            Self::Client(client) => client.step(now, rx).map(|step| wrap(step, Happened::Client)),
        }
    }

    fn output(&mut self) -> &mut smtp_proto::Output {
        match self {
            Self::Server(server) => server.output(),
            Self::Client(client) => client.output(),
        }
    }

    fn peer_closed(&mut self) {
        match self {
            Self::Server(server) => server.peer_closed(),
            Self::Client(client) => client.peer_closed(),
        }
    }

    fn connection_lost(&mut self) {
        match self {
            Self::Server(server) => server.connection_lost(),
            Self::Client(client) => client.connection_lost(),
        }
    }

    fn write_failed(&mut self) {
        match self {
            Self::Server(server) => server.write_failed(),
            Self::Client(client) => client.write_failed(),
        }
    }

    fn tls(&mut self, rx: &mut BytesMut, handshake: Handshake) -> Result<(), smtp_proto::ApiMisuse> {
        let mut facts = TlsInfo::new("TLSv1.3", "TLS_AES_256_GCM_SHA384");
        facts.verified = matches!(self, Self::Client(_)) && handshake != Handshake::Unverified;
        if matches!(handshake, Handshake::Bound | Handshake::Unverified) {
            facts.channel_bindings.push(ChannelBinding::tls_exporter([7; 32]));
        }
        match self {
            Self::Server(server) if handshake == Handshake::Failed => server.tls_failed(),
            Self::Client(client) if handshake == Handshake::Failed => client.tls_failed(),
            Self::Server(server) => server.tls_established(rx, facts)?,
            Self::Client(client) => client.tls_established(rx, facts)?,
        }
        Ok(())
    }

    fn shut_down(&mut self, shutdown: Shutdown) {
        if let Self::Server(server) = self {
            server.shut_down(shutdown);
        }
    }
}

impl<'a> Side<'a> {
    fn server(script: &'a Script) -> Outcome<Self> {
        let mut config =
            server::Config::new(script.setting("hostname").unwrap_or("mx.test")).map_err(|error| error.to_string())?;
        if let Some(policy) = script.setting("bare_newline") {
            config.bare_newline = crate::bare_newline(policy)?;
        }
        let on = |name: &str, slot: &mut bool| *slot = script.setting(name).map_or(*slot, |value| value == "on");
        on("allow_nul", &mut config.allow_nul);
        on("pipelining", &mut config.pipelining);
        on("eight_bit_mime", &mut config.eight_bit_mime);
        on("smtputf8", &mut config.smtputf8);
        on("enhanced_status_codes", &mut config.enhanced_status_codes);
        on("expand", &mut config.expand);
        on("help", &mut config.help);
        on("lmtp", &mut config.lmtp);
        on("chunking", &mut config.chunking);
        on("binary_mime", &mut config.binary_mime);
        on("requiretls", &mut config.requiretls);
        on("require_auth", &mut config.require_auth);
        on("allow_clear_text_auth", &mut config.allow_clear_text_auth);
        config.mechanisms = script.mechanisms()?;
        config.nonces = Some(|| Some(NONCE));
        config.tls = match script.setting("tls") {
            None | Some("none") => server::TlsPolicy::None,
            Some("offered") => server::TlsPolicy::Offered,
            Some("required") => server::TlsPolicy::Required,
            Some("implicit") => server::TlsPolicy::Implicit,
            Some(_) => return Err("config: tls".to_owned()),
        };
        if let Some(keywords) = script.setting("parameters") {
            config.parameters = keywords.split(',').map(ToOwned::to_owned).collect();
        }
        let limits = &mut config.limits;
        script.number("command_line", &mut limits.command_line)?;
        script.number("discarded_line", &mut limits.discarded_line)?;
        script.number("text_line", &mut limits.text_line)?;
        script.number("discarded_content", &mut limits.discarded_content)?;
        script.number("recipients", &mut limits.recipients)?;
        script.number("soft_errors", &mut limits.soft_errors)?;
        script.number("hard_errors", &mut limits.hard_errors)?;
        script.number("junk_commands", &mut limits.junk_commands)?;
        script.number("refusals", &mut limits.refusals)?;
        script.number("auth_line", &mut limits.auth_line)?;
        script.number("auth_rounds", &mut limits.auth_rounds)?;
        script.number("auth_failures", &mut limits.auth_failures)?;
        script.number("minimum_rate", &mut config.timeouts.minimum_rate)?;
        match script.setting("message_size") {
            Some("none") => limits.message_size = None,
            Some(size) => limits.message_size = Some(size.parse().map_err(|_| "config: message_size")?),
            None => {}
        }
        let machine = Role::Server(Box::new(Server::new(Arc::new(config), Instant::default())));
        Self::begin(script, machine)
    }

    fn client(script: &'a Script) -> Outcome<Self> {
        let mut config =
            client::Config::new(script.setting("hello").unwrap_or("c.test")).map_err(|error| error.to_string())?;
        if let Some(policy) = script.setting("bare_newline") {
            config.bare_newline = crate::bare_newline(policy)?;
        }
        config.allow_helo = script.setting("allow_helo") != Some("off");
        config.allow_clear_text_auth = script.setting("allow_clear_text_auth") == Some("on");
        config.nonces = Some(|| Some(NONCE));
        config.tls = match script.setting("tls") {
            None | Some("none") => client::TlsPolicy::None,
            Some("opportunistic") => client::TlsPolicy::Opportunistic,
            Some("required") => client::TlsPolicy::Required,
            Some("implicit") => client::TlsPolicy::Implicit,
            Some(_) => return Err("config: tls".to_owned()),
        };
        config.authentication = match (script.login("auth")?, script.login("auth_if_available")?) {
            (Some(login), _) => client::Authentication::Required(login),
            (None, Some(login)) => client::Authentication::IfAvailable(login),
            (None, None) => client::Authentication::Never,
        };
        script.number("in_flight", &mut config.in_flight)?;
        script.number("text_line", &mut config.text_line)?;
        Self::begin(script, Role::Client(Box::new(Client::new(config, Instant::default()))))
    }

    fn begin(script: &'a Script, machine: Role) -> Outcome<Self> {
        let mut side = Self {
            script,
            machine,
            rx: BytesMut::new(),
            now: Instant::default(),
            written: Vec::new(),
            events: Vec::new(),
            content: Vec::new(),
            end: None,
            upgrading: false,
            streamed: None,
        };
        side.run()?;
        Ok(side)
    }

    /// Lets the machine run until it needs something from outside.
    fn run(&mut self) -> Outcome {
        // Linear work: a machine that asks for ever is caught.
        let budget = 1000 + 20 * self.rx.len() + self.machine.output().remaining();
        for _ in 0..budget {
            match self.machine.step(self.now, &mut self.rx) {
                Ok(Step::Event(event)) => self.happened(event)?,
                Ok(Step::Write) => {
                    let output = self.machine.output();
                    if !output.has_remaining() {
                        return Err("Write with nothing to write".to_owned());
                    }
                    // As a connection may take it: a segment at a time.
                    let chunk = output.chunk().to_vec();
                    output.advance(chunk.len());
                    self.written.extend(chunk);
                }
                Ok(Step::Read | Step::Decide) => return Ok(()),
                Ok(Step::UpgradeTls) => {
                    self.upgrading = true;
                    return Ok(());
                }
                Ok(Step::Close) => {
                    self.end = Some(Ok(()));
                    return Ok(());
                }
                Err(error) => {
                    self.end = Some(Err(error));
                    return Ok(());
                }
            }
        }
        Err("the machine does not come to rest".to_owned())
    }

    fn tls(&mut self, handshake: Handshake) -> Outcome {
        if !std::mem::take(&mut self.upgrading) {
            return Err("the machine does not ask for TLS".to_owned());
        }
        self.machine.tls(&mut self.rx, handshake).map_err(|misuse| misuse.to_string())?;
        self.run()
    }

    fn happened(&mut self, event: Happened) -> Outcome {
        match event {
            Happened::Server(server::Event::Body(content)) => {
                self.content.extend_from_slice(&content);
                let refused = self.decision("content");
                if let (Some(refusal), Role::Server(server)) = (refused, &mut self.machine) {
                    server.decide(refusal).map_err(|error| error.to_string())?;
                }
            }
            Happened::Server(server::Event::Recipients(recipients)) => {
                let decisions = recipients.iter().map(|recipient| {
                    let name = recipient_event(recipient);
                    let decision = self.decision(&name);
                    self.push_event(name);
                    decision.unwrap_or(Decision::Accept)
                });
                let decisions = Decision::Each(decisions.collect());
                if let Role::Server(server) = &mut self.machine {
                    server.decide(decisions).map_err(|error| error.to_string())?;
                }
            }
            Happened::Server(event) => {
                let name = server_event(&event);
                let decision = self.decision(&name).or_else(|| self.verdict(&event));
                self.push_event(name);
                if let (true, Role::Server(server)) = (event.is_question(), &mut self.machine) {
                    server.decide(decision.unwrap_or(Decision::Accept)).map_err(|error| error.to_string())?;
                }
            }
            Happened::Client(event) => self.push_event(client_event(&event)),
        }
        Ok(())
    }

    /// Whether the credentials are those of `config: user=NAME:PASSWORD`.
    fn verdict(&self, event: &server::Event) -> Option<Decision> {
        let server::Event::Authenticate(credentials) = event else { return None };
        let user = self.script.setting("user").and_then(|user| user.split_once(':'));
        Some(match user {
            Some((name, password)) if credentials.username() == Some(name) => {
                credentials.verify_password(&password.into()).into()
            }
            _ => credentials.unknown_user(&"salt".into()).into(),
        })
    }

    fn decision(&self, event: &str) -> Option<Decision> {
        let decisions = self.script.decisions.iter();
        decisions.filter(|(name, _)| event.starts_with(name.as_str())).map(|(_, decision)| decision.clone()).next()
    }

    fn push_event(&mut self, event: String) {
        if !self.content.is_empty() {
            self.events.push(format!("content \"{}\"", Escaped(&self.content)));
            self.content.clear();
        }
        self.events.push(event);
    }

    fn events(&mut self) -> Vec<String> {
        let mut events = std::mem::take(&mut self.events);
        if !self.content.is_empty() {
            events.push(format!("content \"{}\"", Escaped(&self.content)));
        }
        events
    }

    fn expect(&mut self, octets: &[u8]) -> Outcome {
        let written = std::mem::take(&mut self.written);
        if written == octets {
            return Ok(());
        }
        Err(format!("expected\n  {}\nfound\n  {}", lines(octets), lines(&written)))
    }

    fn nothing_more(&mut self) -> Outcome {
        self.expect(b"")
    }

    fn intent(&mut self, intent: &str) -> Outcome {
        let Role::Client(client) = &mut self.machine else { return Err("only clients have intents".to_owned()) };
        let (verb, rest) = intent.split_once(' ').unwrap_or((intent, ""));
        let misuse = |error: smtp_proto::ApiMisuse| error.to_string();
        match verb {
            "send" | "stream" | "probe" => {
                let (rest, content) = rest.split_once(" content ").unwrap_or((rest, "\"\""));
                let (rest, requiretls) = rest.strip_suffix(" requiretls").map_or((rest, false), |rest| (rest, true));
                let (from, to) = rest.split_once(" to ").ok_or("no recipients")?;
                let (to, utf8) = to.strip_suffix(" smtputf8").map_or((to, false), |to| (to, true));
                let mut envelope =
                    Envelope::new(from.trim_matches('-'), to.split(' ')).map_err(|error| error.to_string())?;
                envelope.smtputf8 = utf8;
                envelope.requiretls = requiretls;
                match verb {
                    "send" => drop(client.send(envelope, quoted(content)?).map_err(misuse)?),
                    "probe" => drop(client.probe(envelope).map_err(misuse)?),
                    _ => {
                        let content = Content::Streamed { size: None };
                        self.streamed = Some(client.send(envelope, content).map_err(misuse)?);
                    }
                }
            }
            "content" | "end" | "cancel" => {
                let id = self.streamed.ok_or("nothing is streamed")?;
                match verb {
                    "content" => client.content(id, Bytes::from(quoted(rest)?)).map_err(misuse)?,
                    "end" => client.end_content(id).map_err(misuse)?,
                    _ => client.cancel(id),
                }
            }
            "noop" => drop(client.noop().map_err(misuse)?),
            "quit" => drop(client.quit().map_err(misuse)?),
            "command" => drop(client.command(rest).map_err(misuse)?),
            _ => return Err(format!("unknown intent {verb}")),
        }
        self.run()
    }
}

fn quoted(text: &str) -> Outcome<Vec<u8>> {
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("content without quotes")?;
    unescape(inside)
}

fn lines(octets: &[u8]) -> String {
    let mut text = String::new();
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\n  ", Escaped(line));
    }
    text
}

fn server_event(event: &server::Event) -> String {
    use server::Event;
    match event {
        Event::Connected => "connected".to_owned(),
        Event::Hello(hello) => format!("{} {}", if hello.extended { "ehlo" } else { "helo" }, hello.name),
        Event::Mail(mail) => format!("mail <{}>{}", mail.reverse_path, mail.parameters),
        Event::Data => "data".to_owned(),
        Event::MessageEnd { size } => format!("message {size}"),
        Event::Verify(query) => format!("verify {query}"),
        Event::Expand(query) => format!("expand {query}"),
        Event::Help(topic) => format!("help {topic}").trim_end().to_owned(),
        Event::Other { verb, argument } => format!("other {verb} {argument}").trim_end().to_owned(),
        Event::StartTls => "starttls".to_owned(),
        Event::Authenticate(credentials) => {
            format!("auth {} {}", credentials.mechanism(), credentials.username().unwrap_or("-"))
        }
        Event::AuthenticationFailed(failure) => {
            format!(
                "auth failed {} {} {}",
                failure.failures,
                failure.mechanism,
                failure.username.as_deref().unwrap_or("-")
            )
        }
        Event::Authenticated(identity) => {
            format!("authenticated {} {}", identity.mechanism, identity.username.as_deref().unwrap_or("-"))
        }
        Event::Reset(ResetReason::Refused(reply)) => format!("reset refused {}", reply.code()),
        Event::Reset(reason) => format!("reset {reason:?}").to_lowercase(),
        Event::Abuse(abuse) => format!("abuse {abuse:?}"),
        Event::Closing(reason) => format!("closing {reason:?}"),
        event => format!("{event:?}"),
    }
}

fn recipient_event(recipient: &server::Recipient) -> String {
    format!("rcpt {}{}", recipient.forward_path, recipient.parameters)
}

fn client_event(event: &client::Event) -> String {
    use client::Event;
    match event {
        Event::Greeting(reply) => format!("greeting {reply}"),
        Event::Ready => "ready".to_owned(),
        Event::Recipient { index, reply, .. } => format!("recipient {index} {reply}"),
        Event::WantContent(_) => "want content".to_owned(),
        Event::Reply { reply, .. } => format!("reply {reply}"),
        Event::Outcome { outcome, .. } => {
            let mut text = format!("outcome {:?}:", outcome.verdict()).to_lowercase();
            for one in &outcome.recipients {
                let _ = match one {
                    RecipientOutcome::Accepted(_) => write!(text, " accepted"),
                    RecipientOutcome::Refused { phase, reply } => write!(text, " refused[{phase:?} {reply}]"),
                    RecipientOutcome::Failed(error) => write!(text, " failed[{error}]"),
                    RecipientOutcome::Unknown(error) => write!(text, " unknown[{error}]"),
                    other => write!(text, " {other:?}"),
                };
            }
            if let Some(reply) = &outcome.reply {
                let _ = write!(text, " reply[{reply}]");
            }
            text
        }
        event => format!("{event:?}"),
    }
}
