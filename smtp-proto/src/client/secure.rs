//! STARTTLS (RFC 3207) and AUTH (RFC 4954): what stands between the hello and the first message.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::config::{Authentication, TlsPolicy};
use super::receive::{Awaited, Purpose};
use super::{Client, Event, State};
use crate::error::{ApiMisuse, AuthenticationError, Error, PeerFault, Phase, TlsError};
use crate::machine::Step;
use crate::sasl::{ClientExchange, Context, Fault, Login, Mechanism, Proof, base64};
use crate::secret::Secret;
use crate::tls::TlsInfo;
use crate::transcript::Speaker;
use crate::wire::{Command, Reply, ReplyLimits, ReplyReader, Severity};

/// The longest AUTH command, in octets with CRLF (RFC 5321 section 4.5.3.1.4): an initial response that makes it
/// longer waits for the server's go-ahead (AUTH-015).
const MAX_AUTH_COMMAND: usize = 512;
/// The longest line of an exchange, in octets with CRLF (RFC 4954 section 4).
const MAX_AUTH_LINE: usize = 12288;
/// Challenges in one authentication.
const MAX_ROUNDS: u32 = 10;

/// An authentication that is going on.
pub(super) struct Exchange {
    mechanism: &'static dyn Mechanism,
    side: Box<dyn ClientExchange>,
    /// The initial response, when it did not go with the command.
    initial_response: Option<Secret>,
    rounds: u32,
    /// Why the client has cancelled it.
    cancelled: Option<Fault>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// How far authentication has come.
#[derive(Default)]
pub(super) struct AuthState {
    exchange: Option<Exchange>,
    /// Mechanisms of the login's preference that were tried or are not for this session.
    passed: usize,
    /// What came of the last one that was tried.
    refusal: Option<AuthenticationError>,
    /// A mechanism with channel binding was refused.
    bound_refused: bool,
    /// What was said that a reply must not repeat.
    said: Vec<Secret>,
    /// The credentials themselves were refused: as a proof, and as the secret itself. Another mechanism of that kind
    /// would only be another failure in the server's count.
    disproved: [bool; 2],
    /// The mechanism that succeeded.
    pub(super) mechanism: Option<&'static dyn Mechanism>,
}

impl fmt::Debug for AuthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthState")
            .field("exchange", &self.exchange)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}

fn is_bound(mechanism: &dyn Mechanism) -> bool {
    mechanism.name().ends_with("-PLUS")
}

impl AuthState {
    /// Takes care that this is not repeated. What is short occurs by chance.
    fn hide(&mut self, secret: Secret) {
        if secret.reveal().len() >= 4 && !self.said.contains(&secret) {
            self.said.push(secret);
        }
    }

    /// Authentication is over.
    pub(super) fn forget(&mut self) {
        self.said.clear();
        self.refusal = None;
    }

    /// Takes out of a text what only the server was to see: some repeat what they do not understand.
    fn without_secrets(&self, text: &str) -> Option<String> {
        let repeats = |secret: &Secret| secret.reveal_str().is_some_and(|secret| text.contains(secret));
        self.said.iter().any(repeats).then(|| "***".to_string())
    }
}

impl Client {
    /// The reply as it may be shown.
    pub(super) fn presentable(&self, reply: Reply) -> Reply {
        // A challenge is answered, and not shown.
        if self.auth.exchange.is_some() && reply.severity() == Severity::Intermediate {
            return reply;
        }
        match self.auth.without_secrets(reply.text()) {
            Some(text) => Reply::new(reply.code(), reply.enhanced(), text).unwrap_or(reply),
            None => reply,
        }
    }

    /// The octets of a reply's line that are read: those of an exchange are long (RFC 4954 section 4).
    pub(super) fn reply_limits(&self) -> ReplyLimits {
        let limits = self.config.reply_limits;
        match &self.auth.exchange {
            Some(_) => ReplyLimits { line: limits.line.max(MAX_AUTH_LINE), ..limits },
            None => limits,
        }
    }

    /// The server took the hello: what comes before messages begin.
    pub(super) fn after_hello(&mut self) {
        if matches!(self.config.tls, TlsPolicy::Opportunistic | TlsPolicy::Required) && self.tls.is_none() {
            if self.capabilities.contains("STARTTLS") {
                self.write(&Command::StartTls, Awaited::new(Phase::StartTls, Purpose::StartTls));
                return;
            }
            if self.config.tls == TlsPolicy::Required {
                return self.give_up(Error::Tls(TlsError::NotOffered));
            }
        }
        self.authenticate();
    }

    pub(super) fn starttls_replied(&mut self, reply: Reply) {
        match reply.code().value() {
            // The session ends for that reason.
            _ if reply.is_service_closing() => {}
            220 => self.state = State::Handshake,
            _ if reply.is_positive() => {
                self.fail(PeerFault::UnexpectedReply { phase: Phase::StartTls, reply }.into());
            }
            _ if self.config.tls == TlsPolicy::Required => self.give_up(Error::Tls(TlsError::Refused(reply))),
            _ => self.authenticate(),
        }
    }

    /// Nothing but the handshake may come now.
    pub(super) fn handshake(&mut self, rx: &BytesMut) -> Option<Step<Event>> {
        let phase = Phase::Handshake;
        match () {
            () if !rx.is_empty() => self.fail(PeerFault::BehindStartTls.into()),
            () if self.input_ended || self.mute => self.fail(Error::Disconnected { phase }),
            () if self.is_overdue() => self.fail(Error::Timeout { phase }),
            () => return Some(Step::UpgradeTls),
        }
        None
    }

    /// TLS is there: what the server said before counts for nothing (TLS-010).
    pub(super) fn secured(&mut self, rx: &BytesMut, tls: TlsInfo) -> Result<(), ApiMisuse> {
        if !matches!(self.state, State::Handshake) {
            return Err(ApiMisuse::NoHandshake);
        }
        if !rx.is_empty() {
            self.fail(PeerFault::BehindStartTls.into());
            return Err(ApiMisuse::OctetsInClear);
        }
        self.transcript.tls(self.now, &tls);
        self.tls = Some(tls);
        self.forget_hello();
        self.reader = ReplyReader::new();
        self.amid_reply = false;
        self.restart = true;
        self.state = State::Opening;
        if self.config.tls == TlsPolicy::Implicit {
            self.awaited.push_back(Awaited::greeting());
        } else {
            self.say_hello();
        }
        Ok(())
    }

    /// Begins the next authentication that may succeed, if one is wanted.
    fn authenticate(&mut self) {
        let (login, required) = match &self.config.authentication {
            Authentication::Never => return self.ready(),
            Authentication::IfAvailable(login) => (login, false),
            Authentication::Required(login) => (login, true),
        };
        let parameters = self.capabilities.find("AUTH").map(|capability| capability.parameters().to_string());
        let offered: Vec<&str> = parameters.as_deref().unwrap_or_default().split(' ').collect();
        let safe = self.tls.as_ref().is_some_and(|tls| tls.verified) || self.config.allow_clear_text_auth;
        let mut withheld = false;
        let mut found = None;
        for mechanism in login.preference().iter().copied().skip(self.auth.passed) {
            self.auth.passed = self.auth.passed.saturating_add(1);
            let disproved = self.auth.disproved.get(usize::from(mechanism.reveals_secret())) == Some(&true);
            if disproved || !offered.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name())) {
                continue;
            }
            if mechanism.reveals_secret() && !safe {
                withheld = true;
                continue;
            }
            found = self.exchange(mechanism, login);
            if found.is_some() {
                break;
            }
        }
        if let Some(exchange) = found {
            return self.begin(exchange);
        }
        let offered = || parameters.clone().unwrap_or_default();
        let error = match self.auth.refusal.take() {
            Some(refusal) => refusal,
            None if !required => return self.ready(),
            None if parameters.is_none() => AuthenticationError::NotOffered,
            None if withheld => AuthenticationError::NeedsTls { offered: offered() },
            None => AuthenticationError::NoMechanism { offered: offered() },
        };
        self.give_up(Error::Authentication(error));
    }

    fn exchange(&self, mechanism: &'static dyn Mechanism, login: &Login) -> Option<Exchange> {
        let context = Context {
            host: &self.config.server_name,
            nonce: self.config.nonces.and_then(|nonces| nonces()),
            channel_bindings: self.tls.as_ref().map_or(&[], |tls| &tls.channel_bindings),
            // Whether the client goes without binding although it could is its own will, or what came of a bound
            // mechanism. It must not follow from the list, which somebody in the middle can write.
            plus_offered: self.auth.bound_refused || !login.preference().iter().any(|other| is_bound(*other)),
            external: false,
        };
        let side = mechanism.client(login, &context)?;
        Some(Exchange { mechanism, side, initial_response: None, rounds: 0, cancelled: None })
    }

    fn begin(&mut self, mut exchange: Exchange) {
        let name = exchange.mechanism.name();
        let mut line = format!("AUTH {name}").into_bytes();
        let mut shown = String::from_utf8_lossy(&line).into_owned();
        if let Some(response) = exchange.side.initial_response() {
            let encoded = match response.reveal() {
                [] => Secret::from("="),
                response => base64::encode(response).into(),
            };
            let length = line.len().saturating_add(encoded.reveal().len()).saturating_add(3);
            if length <= MAX_AUTH_COMMAND {
                line.reserve_exact(length);
                line.push(b' ');
                line.extend_from_slice(encoded.reveal());
                shown.push_str(" ***");
            } else {
                exchange.initial_response = Some(response);
            }
        }
        if let Authentication::IfAvailable(login) | Authentication::Required(login) = &self.config.authentication
            && let Proof::Password(secret) | Proof::Token(secret) = login.proof()
        {
            self.auth.hide(secret.clone());
        }
        self.auth.exchange = Some(exchange);
        self.write_secret(line, &shown);
    }

    /// A reply to AUTH, or to a line of its exchange.
    pub(super) fn auth_replied(&mut self, reply: Reply) {
        let Some(exchange) = self.auth.exchange.take() else {
            return;
        };
        let code = reply.code().value();
        let cancelled = exchange.cancelled.is_some();
        match reply.severity() {
            Severity::Intermediate if code == 334 && !cancelled => self.challenged(exchange, &reply),
            Severity::Positive if code == 235 && !cancelled => self.let_in(exchange),
            Severity::Intermediate | Severity::Positive => {
                self.fail(PeerFault::UnexpectedReply { phase: Phase::Auth, reply }.into());
            }
            Severity::Transient | Severity::Permanent => self.turned_down(exchange, reply),
        }
    }

    fn challenged(&mut self, mut exchange: Exchange, reply: &Reply) {
        exchange.rounds = exchange.rounds.saturating_add(1);
        let response = match (base64::decode(reply.text().as_bytes()), exchange.initial_response.take()) {
            (None, _) => Err(Fault::MalformedChallenge),
            (Some(_), _) if exchange.rounds > MAX_ROUNDS => Err(Fault::UnexpectedChallenge),
            (Some(_), Some(initial_response)) => Ok(initial_response),
            (Some(challenge), None) => exchange.side.respond(challenge.reveal()),
        };
        let encoded = response.map(|response| Secret::from(base64::encode(response.reveal())));
        let line = match encoded {
            Ok(encoded) if encoded.reveal().len() <= MAX_AUTH_LINE.saturating_sub(2) => encoded,
            Ok(_) => {
                exchange.cancelled = Some(Fault::Other("the response is too long for a line".to_string()));
                Secret::from("*")
            }
            Err(fault) => {
                exchange.cancelled = Some(fault);
                Secret::from("*")
            }
        };
        let shown = if exchange.cancelled.is_some() { "*" } else { "***" };
        self.auth.exchange = Some(exchange);
        self.write_secret(line.reveal().to_vec(), shown);
    }

    fn username(&self) -> Option<&str> {
        match &self.config.authentication {
            Authentication::IfAvailable(login) | Authentication::Required(login) => Some(login.username()),
            Authentication::Never => None,
        }
    }

    /// What was refused before the server had enough.
    pub(super) fn earlier_refusal(&mut self) -> Option<Error> {
        self.auth.refusal.take().map(Error::Authentication)
    }

    fn let_in(&mut self, mut exchange: Exchange) {
        let mechanism = exchange.mechanism.name().to_string();
        match exchange.side.succeeded() {
            Ok(()) => {
                self.auth.mechanism = Some(exchange.mechanism);
                self.ready();
            }
            Err(fault) => self.give_up(Error::Authentication(AuthenticationError::Fault { mechanism, fault })),
        }
    }

    fn turned_down(&mut self, exchange: Exchange, reply: Reply) {
        let mechanism = exchange.mechanism.name().to_string();
        let temporary = reply.severity() == Severity::Transient;
        if let Some(fault) = exchange.cancelled {
            return self.give_up(Error::Authentication(AuthenticationError::Fault { mechanism, fault }));
        }
        let refusal = exchange.side.refusal();
        let detail = refusal.map(|text| self.auth.without_secrets(text).unwrap_or_else(|| text.to_string()));
        if reply.is_service_closing() {
            // The session ends for what was refused before, if anything was.
            if let Some(refusal) = self.earlier_refusal() {
                self.fail(refusal);
            }
            return;
        }
        if reply.code().value() == 535
            && let Some(disproved) = self.auth.disproved.get_mut(usize::from(exchange.mechanism.reveals_secret()))
        {
            *disproved = true;
        }
        let refusal = AuthenticationError::Refused { mechanism, reply, detail };
        // Who refuses a mechanism that is bound to the connection may be somebody in the middle of it; unless TLS has
        // shown that there is nobody.
        self.auth.bound_refused |= is_bound(exchange.mechanism);
        let verified = self.tls.as_ref().is_some_and(|tls| tls.verified);
        if temporary || self.auth.bound_refused && !verified {
            return self.give_up(Error::Authentication(refusal));
        }
        self.auth.refusal = Some(refusal);
        self.authenticate();
    }

    /// Writes a line that nobody else is to see. Its memory is overwritten when it has been sent.
    fn write_secret(&mut self, line: Vec<u8>, shown: &str) {
        // The decoded form can be repeated as well.
        let encoded = line.rsplit(|octet| *octet == b' ').next().unwrap_or_default();
        let is_name = |said: &Secret| self.username().is_some_and(|name| name.as_bytes() == said.reveal());
        if let Some(decoded) = base64::decode(encoded).filter(|decoded| !is_name(decoded)) {
            self.auth.hide(decoded);
            self.auth.hide(Secret::new(encoded));
        }
        let mut whole = Vec::with_capacity(line.len().saturating_add(2));
        whole.extend_from_slice(&line);
        whole.extend_from_slice(b"\r\n");
        drop(Secret::new(line));
        let octets = whole.len();
        self.output.push(Bytes::from_owner(Line(Secret::new(whole))));
        self.transcript.line(self.now, Speaker::Client, shown.as_bytes());
        let mut awaited = Awaited::new(Phase::Auth, Purpose::Auth);
        awaited.octets = octets;
        self.await_reply(awaited);
    }

    /// The session is of no use. The server gets a goodbye.
    fn give_up(&mut self, error: Error) {
        self.fail(error);
        self.write(&Command::Quit, Awaited::new(Phase::Quit, Purpose::Quit));
    }
}

/// The owner of a line in the output.
struct Line(Secret);

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self.0.reveal()
    }
}
