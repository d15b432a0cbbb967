//! STARTTLS (RFC 3207) and AUTH (RFC 4954): the hand-over to TLS, and exchanges of challenges and responses.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use bytes::BytesMut;
use zeroize::Zeroize;

use super::command::Question;
use super::config::{MIN_AUTH_LINE, TlsPolicy};
use super::event::{Abuse, AuthenticationFailure, CloseReason, Decision, Event, ResetReason};
use super::session::Identity;
use super::{Server, State, replies};
use crate::error::ApiMisuse;
use crate::machine::Step;
use crate::sasl::{Context, Failure, Mechanism, ServerExchange, ServerStep, Verdict, base64};
use crate::secret::Secret;
use crate::tls::TlsInfo;
use crate::transcript::Speaker;
use crate::wire::{Command, InitialResponse, Line, Reply};

/// An authentication that is going on.
pub(super) struct Exchange {
    mechanism: &'static dyn Mechanism,
    side: Box<dyn ServerExchange>,
    /// Challenges sent.
    rounds: u32,
    /// Who the client says it is.
    identity: Identity,
    /// The application's own reply, once it has accepted.
    reply: Option<Reply>,
    /// What the application thinks of the credentials, once it has been asked.
    judged: Option<Judgement>,
}

/// What the application thinks of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Judgement {
    Good,
    /// They are wrong; this is the reply when the exchange has come to its end, whichever.
    Bad(Reply),
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn starttls(&mut self) {
        match self.config.tls {
            _ if self.session.tls.is_some() => self.wrong(&replies::TLS_IS_ON),
            TlsPolicy::Offered | TlsPolicy::Required
                if self.tls_unavailable || !self.session.asserted.client.is_empty() =>
            {
                self.junk(&replies::TLS_NOT_AVAILABLE);
            }
            TlsPolicy::None | TlsPolicy::Implicit => self.wrong(&replies::NOT_IMPLEMENTED),
            TlsPolicy::Offered | TlsPolicy::Required => self.ask(Question::StartTls, Event::StartTls),
        }
    }

    /// The application agreed: the last reply in clear, unless the client did not wait for it (TLS-003).
    pub(super) fn hand_over(&mut self, rx: &BytesMut) {
        if rx.is_empty() {
            self.reply(&replies::READY_FOR_TLS);
            self.flush = true;
            self.state = State::Handshake;
        } else {
            self.end(CloseReason::Abuse(Abuse::BehindStartTls), Some(&replies::BEHIND_STARTTLS));
        }
    }

    /// Nothing but the handshake may come now.
    pub(super) fn handshake(&mut self, rx: &BytesMut) -> Option<Step<Event>> {
        if self.output_waits() {
            return Some(Step::Write);
        }
        match () {
            // Behind a PROXY header, the client's first octets of TLS may be there already.
            () if !rx.is_empty() && self.config.tls != TlsPolicy::Implicit => {
                self.end(CloseReason::Abuse(Abuse::BehindStartTls), None);
            }
            () if self.input_ended() => self.end(CloseReason::Disconnected, None),
            () => return Some(Step::UpgradeTls),
        }
        None
    }

    pub(super) fn secured(&mut self, rx: &BytesMut, tls: TlsInfo) -> Result<(), ApiMisuse> {
        if !matches!(self.state, State::Handshake) || self.output_waits() {
            return Err(ApiMisuse::NoHandshake);
        }
        if !rx.is_empty() {
            self.end(CloseReason::Abuse(Abuse::BehindStartTls), None);
            return Err(ApiMisuse::OctetsInClear);
        }
        self.reset(ResetReason::StartTls);
        self.transcript.tls(self.now, &tls);
        self.session.secured(tls);
        self.config = Arc::clone(&self.first_config);
        self.lines = crate::wire::LineReader::new();
        self.redact = false;
        self.state = if self.config.tls == TlsPolicy::Implicit { State::Start } else { State::Command };
        self.restart = true;
        Ok(())
    }

    /// Whether the command has to wait for TLS (TLS-007).
    pub(super) fn wants_tls_first(&self, command: &Command) -> bool {
        let early = matches!(
            command,
            Command::Ehlo(_) | Command::Lhlo(_) | Command::Helo(_) | Command::Noop | Command::Rset | Command::StartTls
        );
        self.config.tls == TlsPolicy::Required && self.session.tls.is_none() && !early
    }

    /// Whether the client has to prove who it is first.
    pub(super) fn wants_auth(&self) -> bool {
        self.config.require_auth && self.session.identity.is_none() && self.session.asserted.login().is_none()
    }

    fn may_serve(&self, mechanism: &dyn Mechanism) -> bool {
        self.session.tls.is_some() || self.config.allow_clear_text_auth || !mechanism.reveals_secret()
    }

    fn mechanism_context(&self) -> Context<'_> {
        let tls = self.session.tls.as_ref();
        let channel_bindings = tls.map_or(&[][..], |tls| &tls.channel_bindings);
        Context {
            host: self.config.hostname(),
            nonce: self.config.nonces.and_then(|nonces| nonces()),
            channel_bindings,
            plus_offered: !channel_bindings.is_empty()
                && self.config.mechanisms.iter().any(|mechanism| mechanism.name().ends_with("-PLUS")),
            external: tls.is_some_and(|tls| tls.verified && !tls.peer_certificates.is_empty()),
        }
    }

    /// The mechanisms of the AUTH capability.
    pub(super) fn offered_mechanisms(&self) -> String {
        let mut names = String::new();
        if self.config.mechanisms.is_empty() || self.config.tls == TlsPolicy::Required && self.session.tls.is_none() {
            return names;
        }
        let context = self.mechanism_context();
        for mechanism in &self.config.mechanisms {
            if self.may_serve(*mechanism) && mechanism.server(&context).is_some() {
                names.push_str(if names.is_empty() { "" } else { " " });
                names.push_str(mechanism.name());
            }
        }
        names
    }

    pub(super) fn auth(&mut self, name: &str, initial_response: Option<&InitialResponse>) {
        let refusal = match () {
            () if self.config.mechanisms.is_empty() => Some(replies::NOT_IMPLEMENTED),
            () if self.session.hello.as_ref().is_none_or(|hello| !hello.extended) => Some(replies::HELLO_FIRST),
            () if self.session.identity.is_some() => Some(replies::AUTHENTICATED_ALREADY),
            () if self.session.transaction.is_some() => Some(replies::AUTH_IN_TRANSACTION),
            () => None,
        };
        if let Some(refusal) = refusal {
            return self.auth_over(&refusal);
        }
        let found = self.config.mechanisms.iter().copied().find(|mechanism| mechanism.name() == name);
        let Some(mechanism) = found else {
            return self.auth_over(&replies::UNKNOWN_MECHANISM);
        };
        if !self.may_serve(mechanism) {
            return self.auth_over(&replies::NEEDS_ENCRYPTION);
        }
        let Some(mut side) = mechanism.server(&self.mechanism_context()) else {
            return self.auth_over(&replies::UNKNOWN_MECHANISM);
        };
        let initial_response = match initial_response.map(InitialResponse::decode) {
            Some(None) => return self.auth_over(&replies::AUTH_MALFORMED),
            Some(decoded) => decoded,
            None => None,
        };
        let step = side.start(initial_response.as_ref().map(Secret::reveal));
        let identity =
            Identity { username: None, authorization_identity: None, mechanism: mechanism.name().to_string() };
        self.go_on(Exchange { mechanism, side, rounds: 0, identity, reply: None, judged: None }, step);
    }

    /// Takes the answer to a challenge off `rx`.
    pub(super) fn next_response(&mut self, rx: &mut BytesMut) -> Option<Step<Event>> {
        let limits = &self.config.limits;
        let mut line = match self.lines.read(rx, limits.auth_line.max(MIN_AUTH_LINE), limits.discarded_line) {
            Line::Partial => return self.starved(),
            Line::Endless => {
                self.end(CloseReason::Abuse(Abuse::EndlessLine), Some(&replies::ENDLESS));
                return None;
            }
            Line::TooLong => {
                self.since = self.now;
                if let State::Exchange(exchange) = core::mem::replace(&mut self.state, State::Command) {
                    self.exchange_over(&exchange, &replies::AUTH_LINE_TOO_LONG);
                }
                return None;
            }
            Line::Whole(line) => line,
        };
        self.since = self.now;
        self.transcript.line(self.now, Speaker::Client, if &line[..] == b"*" { b"*" } else { b"***" });
        let cancelled = &line[..] == b"*";
        let response = base64::decode(&line);
        line.zeroize();
        let State::Exchange(mut exchange) = core::mem::replace(&mut self.state, State::Command) else {
            return None;
        };
        match response {
            _ if cancelled => self.exchange_over(&exchange, &replies::AUTH_CANCELLED),
            None => self.exchange_over(&exchange, &replies::AUTH_MALFORMED),
            Some(response) => {
                let step = exchange.side.respond(response.reveal());
                self.go_on(exchange, step);
            }
        }
        None
    }

    fn go_on(&mut self, mut exchange: Exchange, step: ServerStep) {
        match step {
            ServerStep::Challenge(challenge) => {
                exchange.rounds = exchange.rounds.saturating_add(1);
                if exchange.rounds > self.config.limits.auth_rounds {
                    return self.exchange_over(&exchange, &replies::AUTH_ENDLESS);
                }
                self.challenge(&challenge);
                self.state = State::Exchange(exchange);
            }
            ServerStep::Credentials(credentials) => {
                exchange.identity.username = credentials.username().map(ToString::to_string);
                exchange.identity.authorization_identity =
                    credentials.authorization_identity().map(ToString::to_string);
                self.ask(Question::Authenticate(exchange), Event::Authenticate(credentials));
            }
            ServerStep::Accepted if exchange.judged == Some(Judgement::Good) => {
                let Exchange { identity, reply, .. } = exchange;
                self.state = State::Command;
                self.session.identity = Some(identity.clone());
                self.events.push_back(Event::Authenticated(identity));
                self.redact = false;
                self.flush = true;
                self.reply(&reply.unwrap_or(replies::AUTHENTICATED));
            }
            ServerStep::Failed(Failure::Malformed) => self.exchange_over(&exchange, &replies::AUTH_MALFORMED),
            // A mechanism that lets a client in without having asked does not.
            ServerStep::Failed(Failure::Refused) | ServerStep::Accepted => match exchange.judged {
                Some(Judgement::Bad(reply)) => self.finish_failure(&reply),
                _ => self.auth_failed(exchange, replies::BAD_CREDENTIALS),
            },
        }
    }

    /// The reply 334: base64 of any length, so no text that a [`Reply`] holds.
    fn challenge(&mut self, challenge: &[u8]) {
        self.transcript.line(self.now, Speaker::Server, b"334 ***");
        let encoded = base64::encode(challenge);
        self.output.gather(|out| {
            out.extend_from_slice(b"334 ");
            out.extend_from_slice(encoded.as_bytes());
            out.extend_from_slice(b"\r\n");
        });
        self.flush = true;
    }

    /// What the application says about credentials.
    pub(super) fn judged(&mut self, mut exchange: Exchange, decision: Decision) {
        self.state = State::Command;
        let verdict = match decision {
            Decision::Verdict(verdict) => verdict,
            // Does not get here.
            Decision::Accept | Decision::Each(_) | Decision::Configure(_) => Verdict::Refused,
            Decision::Close(reply) => return self.end(CloseReason::Decision, Some(&reply)),
            Decision::Reply(reply) if reply.is_positive() => {
                exchange.reply = Some(reply.with_code_of(&replies::AUTHENTICATED));
                Verdict::Accepted
            }
            Decision::Reply(reply) if reply.closes_connection() => {
                return self.end(CloseReason::Decision, Some(&reply));
            }
            Decision::Reply(reply) if reply.severity() == crate::wire::Severity::Transient => {
                // Nobody knows whether they are wrong.
                self.flush = true;
                return self.junk(&reply);
            }
            Decision::Reply(reply) => return self.auth_failed(exchange, reply),
        };
        let verdict = match verdict {
            Verdict::Refused => return self.auth_failed(exchange, replies::BAD_CREDENTIALS),
            Verdict::AcceptedAs(name) => {
                exchange.identity.username = Some(name);
                Verdict::Accepted
            }
            verdict => verdict,
        };
        exchange.judged = Some(Judgement::Good);
        let step = exchange.side.decided(verdict);
        self.go_on(exchange, step);
    }

    /// Counts a failure and tells it, before the client hears anything that it could learn from.
    fn auth_failed(&mut self, mut exchange: Exchange, reply: Reply) {
        let failures = self.session.auth_failures.saturating_add(1);
        self.session.auth_failures = failures;
        let Identity { mechanism, username, .. } = exchange.identity.clone();
        let failure = AuthenticationFailure { mechanism, username, failures };
        exchange.judged = Some(Judgement::Bad(reply));
        self.ask(Question::AuthenticationFailed(exchange), Event::AuthenticationFailed(failure));
    }

    /// The application has taken its time. Some mechanisms say more before the reply.
    pub(super) fn tell_auth_failure(&mut self, mut exchange: Exchange, own: Option<Reply>) {
        if let Some(reply) = own {
            exchange.judged = Some(Judgement::Bad(reply));
        }
        let step = exchange.side.decided(Verdict::Refused);
        match step {
            ServerStep::Challenge(_) => self.go_on(exchange, step),
            _ => self.go_on(exchange, ServerStep::Failed(Failure::Refused)),
        }
    }

    /// The reply to a failure that has been counted and told.
    fn finish_failure(&mut self, reply: &Reply) {
        self.flush = true;
        self.reply(reply);
        if self.session.auth_failures >= self.config.limits.auth_failures {
            let reason = CloseReason::Abuse(Abuse::AuthenticationFailures);
            self.end(reason, Some(&replies::TOO_MANY_AUTH_FAILURES));
        }
    }

    /// An exchange ends before its end.
    fn exchange_over(&mut self, exchange: &Exchange, reply: &Reply) {
        match &exchange.judged {
            Some(Judgement::Bad(_)) => self.finish_failure(reply),
            _ => self.auth_over(reply),
        }
    }

    /// An exchange ends without anybody's credentials having been looked at.
    fn auth_over(&mut self, reply: &Reply) {
        self.flush = true;
        self.state = State::Command;
        self.wrong(reply);
    }

    /// Records a command line, without what is secret in it: the initial response of AUTH, whatever its form; and
    /// what a client sends that has not noticed the end of an exchange.
    pub(super) fn record(&mut self, line: &[u8], command: Option<&Command>) {
        let known = command.is_some_and(|command| !matches!(command, Command::Other { .. }));
        let is_auth = line.trim_ascii_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
        self.redact = is_auth || self.redact && !known;
        if !self.transcript.is_on() {
            return;
        }
        match command {
            Some(command @ Command::Auth { .. }) => {
                self.transcript.line(self.now, Speaker::Client, format!("{command}").as_bytes());
            }
            Some(command @ Command::Burl { .. }) => {
                // Whoever has the token of the URL may read what it names (RFC 4467).
                let text = format!("{command}");
                let token = text.to_ascii_lowercase().find(";urlauth=");
                let shown = token.and_then(|at| text.get(..at)).unwrap_or(&text);
                let ellipsis = if token.is_some() { ";urlauth=***" } else { "" };
                self.transcript.line(self.now, Speaker::Client, format!("{shown}{ellipsis}").as_bytes());
            }
            _ if is_auth => self.transcript.line(self.now, Speaker::Client, b"AUTH ***"),
            _ if self.redact => self.transcript.line(self.now, Speaker::Client, b"***"),
            _ => self.transcript.line(self.now, Speaker::Client, line),
        }
    }
}
