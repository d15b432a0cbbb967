//! A machine in a run: what it is fed, and what it is compared with.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use smtp_proto::client::{Client, Content, Envelope, RequestId};
use smtp_proto::server::{self, Decision, Server};
use smtp_proto::wire::Escaped;
use smtp_proto::{ApiMisuse, Error, Instant, Step};

use super::Outcome;
use super::names::{asserted, client_event, recipient_event, server_event};
use super::role::{Happened, Role};
use super::script::{Act, Answer, Handshake, Script, quoted};

/// How the application decides about several recipients. It must not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// All at once.
    Together,
    /// The first only; it is asked again about the others.
    FirstOnly,
    /// Each by itself, the last first.
    Backwards,
}

/// A machine in a run.
pub(super) struct Side<'a> {
    script: &'a Script,
    order: Order,
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

impl<'a> Side<'a> {
    /// Runs a dialogue once; `cut` says whether the input is cut before the octet at this place.
    pub(super) fn play(script: &'a Script, order: Order, cut: &dyn Fn(usize) -> bool) -> Outcome {
        let now = Instant::default();
        let machine = if script.server {
            Role::Server(Box::new(Server::new(Arc::new(script.settings.server()?), now)))
        } else {
            Role::Client(Box::new(Client::new(script.settings.client()?, now)))
        };
        let mut side = Self::begin(script, order, machine)?;
        let (mut fed, mut expected_events) = (0, Vec::new());
        for (number, act) in &script.acts {
            let at = |error: String| format!("line {number}: {error}");
            match act {
                Act::Expect(octets) => side.expect(octets).map_err(at)?,
                Act::Event(event) => expected_events.push(event.clone()),
                Act::Feed(octets) => {
                    if !script.joined {
                        side.nothing_more().map_err(at)?;
                    }
                    let mut rest = &octets[..];
                    while !rest.is_empty() {
                        let end = (1..rest.len()).find(|length| cut(fed + length)).unwrap_or(rest.len());
                        let (piece, behind) = rest.split_at(end);
                        side.rx.extend_from_slice(piece);
                        side.run()?;
                        (rest, fed) = (behind, fed + end);
                    }
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
                Act::ApplicationFails => {
                    side.machine.application_failed();
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

    fn begin(script: &'a Script, order: Order, machine: Role) -> Outcome<Self> {
        let mut side = Self {
            script,
            order,
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
                match self.decision("content")? {
                    Some(refusal) => self.decide(refusal),
                    None => Ok(()),
                }
            }
            Happened::Server(server::Event::Recipients(recipients)) => {
                let mut decisions = Vec::new();
                for recipient in recipients.iter() {
                    decisions.push(self.recipient(recipient)?);
                    if self.order == Order::FirstOnly {
                        break;
                    }
                }
                if self.order != Order::Backwards {
                    return self.decide(Decision::Each(decisions));
                }
                for (recipient, decision) in recipients.iter().zip(decisions).rev() {
                    let server = self.machine.server()?;
                    server.decide_recipient(recipient.index, decision).map_err(|error| error.to_string())?;
                }
                Ok(())
            }
            Happened::Server(event) => {
                let session = self.machine.server()?.session();
                let name = server_event(&event) + &asserted(&event, session);
                let decision = self.decision(&name)?.or_else(|| self.verdict(&event));
                self.push_event(name);
                if event.is_question() { self.decide(decision.unwrap_or(Decision::Accept)) } else { Ok(()) }
            }
            Happened::Client(event) => {
                self.push_event(client_event(&event));
                Ok(())
            }
        }
    }

    fn decide(&mut self, decision: Decision) -> Outcome {
        self.machine.server()?.decide(decision).map_err(|error| error.to_string())
    }

    fn recipient(&mut self, recipient: &server::Recipient) -> Outcome<Decision> {
        let name = recipient_event(recipient);
        let decision = self.decision(&name)?;
        self.push_event(name);
        Ok(decision.unwrap_or(Decision::Accept))
    }

    /// Whether the credentials are those of `config: user=NAME:PASSWORD`.
    fn verdict(&self, event: &server::Event) -> Option<Decision> {
        let server::Event::Authenticate(credentials) = event else { return None };
        let user = self.script.settings.value("user").and_then(|user| user.split_once(':'));
        Some(match user {
            Some((name, password)) if credentials.username() == Some(name) => {
                credentials.verify_password(&password.into()).into()
            }
            _ => credentials.unknown_user(&"salt".into()).into(),
        })
    }

    /// What the application answers to an event.
    fn decision(&self, event: &str) -> Outcome<Option<Decision>> {
        match self.script.decisions.iter().find(|(name, _)| event.starts_with(name.as_str())) {
            None => Ok(None),
            Some((_, Answer::Decision(decision))) => Ok(Some(decision.clone())),
            Some((_, Answer::Configure(settings))) => {
                let config = self.script.settings.with(settings).server()?;
                Ok(Some(Decision::Configure(Arc::new(config))))
            }
        }
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
        let misuse = |error: ApiMisuse| error.to_string();
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

fn lines(octets: &[u8]) -> String {
    let mut text = String::new();
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\n  ", Escaped(line));
    }
    text
}
