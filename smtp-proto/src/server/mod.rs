//! The server: commands come in, questions go to the application, its decisions become replies.
//!
//! `command` deals with commands, `recipients` with RCPT, `content` with what follows a 354 or BDAT, `edge` with what
//! proxies say, `secure` with TLS and authentication; `decision` turns decisions into replies. This file holds the
//! state, time, and the ways a transaction or a session ends.

mod command;
mod config;
mod content;
mod decision;
mod edge;
mod event;
mod handler;
mod recipients;
mod replies;
mod secure;
mod session;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::{Buf, BytesMut};

pub use config::{Config, Limits, MIN_MESSAGE_SIZE, MIN_RECIPIENTS, Timeouts, TlsPolicy};
pub use event::{
    Abuse, AuthenticationFailure, CloseReason, Decision, Event, Hello, Mail, Recipient, Recipients, ResetReason,
};
pub use handler::{Connection, Handler, NOT_FETCHED, NOT_STORED, NOTHING_QUEUED, UNDECIDED, dispatch};
pub use session::{Asserted, Identity, Session, Transaction};

use crate::error::{ApiMisuse, Error, Phase};
use crate::machine::{Machine, Step, sealed};
use crate::output::Output;
use crate::time::Instant;
use crate::tls::TlsInfo;
use crate::transcript::{Speaker, Tap, Transcript};
use crate::wire::{LineReader, Reply, ReplyForm};
use command::Question;
use content::Content;
use decision::fitting_reply;
use secure::Exchange;

/// The server's side of one session.
///
/// ```
/// use std::sync::Arc;
/// use bytes::BytesMut;
/// use smtp_proto::server::{Config, Decision, Event, Server};
/// use smtp_proto::{Instant, Machine, Step};
///
/// let config = Arc::new(Config::new("mail.example.org")?);
/// let mut server = Server::new(config, Instant::default());
/// let mut rx = BytesMut::from("NOOP\r\n");
/// assert_eq!(server.step(Instant::default(), &mut rx)?, Step::Event(Event::Connected));
/// server.decide(Decision::Accept)?;
/// assert_eq!(server.step(Instant::default(), &mut rx)?, Step::Write);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    /// As the client connected; what was said in clear has not changed it.
    first_config: Arc<Config>,
    session: Session,
    state: State,
    lines: LineReader,
    output: Output,
    /// What is in `output` is to leave before anything else is read: the client waits for it.
    flush: bool,
    events: VecDeque<Event>,
    shutdown: Option<Shutdown>,
    input: Input,
    /// A message of which some chunks have come.
    chunks: Option<Content>,
    /// Why the message was refused of which further chunks may be on their way, and for how many recipients.
    refused_chunks: Option<(Reply, u32)>,
    /// Octets of content that were thrown away since a message was accepted.
    discarded: u64,
    /// The greeting refused: only QUIT is served.
    no_service: bool,
    /// The line that comes in begins like AUTH.
    auth_line: bool,
    /// The line that comes in begins like BDAT.
    chunk_line: bool,
    /// The line that comes in begins like a request of HTTP.
    http_line: bool,
    /// Whoever drives the machine has no certificate.
    tls_unavailable: bool,
    /// The last command was AUTH: what is no command may belong to it, and is nobody's business.
    redact: bool,
    now: Instant,
    /// When what is waited for now began to be waited for.
    since: Instant,
    /// The application has decided since the last step: waiting begins anew.
    restart: bool,
    /// The application has been dealing with an event since the last step: that is not the client's time.
    away: bool,
    /// When the oldest reply that has not been written was made.
    held_since: Instant,
    transcript: Transcript,
}

#[derive(Debug)]
enum State {
    /// Nobody has been told of the connection.
    Start,
    /// A decision is due.
    Asked(Question),
    /// A command is due.
    Command,
    /// The answer to a challenge is due.
    Exchange(Exchange),
    /// The application agreed to TLS.
    StartTls,
    /// The PROXY header is due.
    ProxyHeader,
    /// The TLS handshake is due.
    Handshake,
    /// The content of a message is due.
    Content(Content),
    /// The session is over but for what is still to be told and written.
    Ended,
}

/// How a server is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// A transaction that runs comes to its end first.
    AfterTransaction,
    /// As soon as a decision that is due has been made.
    Now,
}

/// How old replies may be when a further question is asked; older ones are written first, so that a slow application
/// does not keep a client waiting for what has been decided.
const LONG_HELD: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// The peer sends no more; it may still read.
    Ended,
    /// The connection is gone.
    Lost,
}

impl Server {
    /// A session that begins now. Nothing is sent before the application accepts the connection.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self {
            session: Session { lmtp: config.lmtp, ..Session::default() },
            first_config: Arc::clone(&config),
            config,
            state: State::Start,
            lines: LineReader::new(),
            output: Output::new(),
            flush: false,
            events: VecDeque::new(),
            shutdown: None,
            input: Input::Open,
            chunks: None,
            refused_chunks: None,
            discarded: 0,
            no_service: false,
            auth_line: false,
            chunk_line: false,
            http_line: false,
            tls_unavailable: false,
            redact: false,
            now,
            since: now,
            restart: false,
            away: false,
            held_since: now,
            transcript: Transcript::default(),
        }
    }

    /// What is known about the session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Answers the question that the last event asked, or refuses a message while its content comes in.
    ///
    /// When the session has ended meanwhile, the decision comes too late and nothing happens.
    ///
    /// # Errors
    /// When nothing was asked; nothing happens then. And when the decision does not fit the question, as
    /// [`Decision::Accept`] where somebody authenticates, or has a 3yz reply: that is answered with 451, so that the session can go on.
    pub fn decide(&mut self, decision: Decision) -> Result<(), ApiMisuse> {
        if self.events.iter().any(Event::is_question) {
            return self.decide_early(decision);
        }
        let (decision, misuse) = self.fitting(decision);
        match core::mem::replace(&mut self.state, State::Command) {
            State::Asked(Question::Recipients(mut open)) => {
                open.decide_all(decision);
                self.answer_recipients(&mut open);
                if let Some(undecided) = open.ask_again() {
                    self.events.push_back(Event::Recipients(undecided));
                }
                self.wait_for_recipients(open);
            }
            State::Asked(question) => self.decided(question, decision),
            State::Content(content) => self.decided_in_content(content, decision)?,
            State::Ended => self.state = State::Ended,
            state => {
                self.state = state;
                return Err(ApiMisuse::NothingToDecide);
            }
        }
        self.restart = true;
        misuse.map_or(Ok(()), Err)
    }

    /// A decision in front of a question that has not been told. Only the piece of content before a BURL can be refused
    /// there.
    fn decide_early(&mut self, decision: Decision) -> Result<(), ApiMisuse> {
        let refuses = matches!(&decision, Decision::Reply(reply) | Decision::Close(reply) if !reply.is_positive());
        match core::mem::replace(&mut self.state, State::Command) {
            State::Asked(question @ Question::Burl(_)) if refuses => {
                self.events.retain(|event| !event.is_question());
                self.decided(question, decision);
                self.restart = true;
                Ok(())
            }
            state => {
                self.state = state;
                Err(ApiMisuse::NothingToDecide)
            }
        }
    }

    /// Answers the question about one recipient of several. They may be decided in any order; replies go out in the
    /// order of the commands.
    ///
    /// # Errors
    /// As [`Server::decide`]; nothing was asked, too, when that recipient has been decided.
    pub fn decide_recipient(&mut self, index: u32, decision: Decision) -> Result<(), ApiMisuse> {
        let (decision, misuse) = fitting_reply(decision, false);
        match core::mem::replace(&mut self.state, State::Command) {
            State::Asked(Question::Recipients(mut open)) => {
                let fits = open.decide(index, decision);
                self.answer_recipients(&mut open);
                self.wait_for_recipients(open);
                if !fits {
                    return Err(ApiMisuse::NothingToDecide);
                }
            }
            State::Ended => self.state = State::Ended,
            state => {
                self.state = state;
                return Err(ApiMisuse::NothingToDecide);
            }
        }
        self.restart = true;
        misuse.map_or(Ok(()), Err)
    }

    /// Says that the application did not come to terms with the last event before [`Machine::deadline`]. A message
    /// whose content is coming in is refused with 451: a piece of it may be lost. What is asked is given up by the next
    /// step.
    pub fn overdue(&mut self) {
        if matches!(self.state, State::Content(_)) {
            self.refuse_content(replies::UNDECIDED);
        }
    }

    /// Says that the application failed, so that nothing is known about what it was asked: the session ends with 421.
    pub fn application_failed(&mut self) {
        if !matches!(self.state, State::Ended) {
            self.end(CloseReason::ApplicationFailed, Some(&replies::FAILED));
        }
    }

    /// Ends the session with 421, at once or when the running transaction has come to its end.
    pub fn shut_down(&mut self, shutdown: Shutdown) {
        if self.shutdown != Some(Shutdown::Now) {
            self.shutdown = Some(shutdown);
        }
    }

    /// Says that there is no TLS after all, whatever the configuration promises: STARTTLS is not offered and gets 454.
    /// Where TLS is required, nothing becomes possible by that.
    pub fn tls_unavailable(&mut self) {
        self.tls_unavailable = true;
    }

    /// Hands every command and reply of the session to `tap`.
    pub fn set_transcript(&mut self, tap: Tap) {
        self.transcript.set(tap);
    }

    /// Writes a reply in the form that the session is in.
    fn reply(&mut self, reply: &Reply) {
        self.reply_in(reply, self.reply_form());
    }

    fn reply_form(&self) -> ReplyForm {
        let hello = self.session.hello.as_ref();
        // RFC 2034 section 4: not in the greeting; RFC 5321 section 4.1.1.1: no extension after HELO.
        let greeted = self.output.position() > 0;
        let extended = greeted && hello.is_none_or(|hello| hello.extended);
        ReplyForm { enhanced: self.config.has_enhanced_status_codes() && extended, utf8: false }
    }

    fn reply_in(&mut self, reply: &Reply, form: ReplyForm) {
        if !self.output.has_remaining() {
            self.held_since = self.now;
        }
        let Self { transcript, now, output, .. } = self;
        output.gather(|out| {
            let start = out.len();
            reply.write(form, out);
            transcript.lines(*now, Speaker::Server, out.get(start..).unwrap_or_default());
        });
    }

    /// The one way a transaction ends without a message (H-ST-1).
    fn reset(&mut self, reason: ResetReason) {
        self.chunks = None;
        self.session.asserted.forwarded.clear();
        if self.session.transaction.take().is_some() {
            if matches!(reason, ResetReason::Refused(_)) {
                self.session.note_refusal();
            }
            self.events.push_back(Event::Reset(reason));
        }
    }

    /// The one way a session ends.
    fn end(&mut self, reason: CloseReason, reply: Option<&Reply>) {
        // Nothing is said in clear where TLS comes first.
        let handshake = matches!(self.state, State::Handshake | State::ProxyHeader)
            || self.config.proxy_protocol && self.session.asserted.proxy.is_none()
            || self.config.tls == TlsPolicy::Implicit && self.session.tls.is_none();
        if let Some(reply) = reply.filter(|_| !handshake) {
            self.reply(reply);
        }
        // Questions that nobody has heard of need no answer any more.
        self.events.retain(|event| !event.is_question());
        self.reset(ResetReason::Closing);
        if let CloseReason::Abuse(abuse) = reason {
            self.events.push_back(Event::Abuse(abuse));
        }
        self.events.push_back(Event::Closing(reason));
        self.state = State::Ended;
        self.since = self.now;
    }

    /// Counts a wrong command. False when it was one too many and the session is over.
    fn count_error(&mut self) -> bool {
        let limits = &self.config.limits;
        self.session.errors = self.session.errors.saturating_add(1);
        if self.session.errors >= limits.hard_errors {
            self.end(CloseReason::Abuse(Abuse::HardErrors), Some(&replies::TOO_MANY_ERRORS));
            return false;
        }
        if self.session.errors == limits.soft_errors {
            self.events.push_back(Event::Abuse(Abuse::SoftErrors));
        }
        true
    }

    /// Goes on at a later moment. What the application took is not counted against the client.
    fn resume(&mut self, now: Instant) {
        let away = core::mem::take(&mut self.away) && !matches!(self.state, State::Asked(_));
        let pause = if away || self.restart { now.duration_since(self.now) } else { Duration::ZERO };
        self.now = now;
        self.since = if core::mem::take(&mut self.restart) { now } else { self.since.after(pause) };
        if let State::Content(content) = &mut self.state {
            content.pause(pause);
        }
        if let Some(content) = &mut self.chunks {
            content.pause(pause);
        }
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Asked(_) => Phase::Decision,
            State::Content(_) => Phase::Content,
            State::Exchange(_) => Phase::Auth,
            State::StartTls | State::Handshake => Phase::Handshake,
            State::ProxyHeader => Phase::ProxyHeader,
            State::Start | State::Command | State::Ended => Phase::Command,
        }
    }

    fn timed_out(&mut self) {
        let phase = self.phase();
        match self.state {
            // The peer does not take the goodbye.
            State::Ended => self.output.clear(),
            // The client has not talked early.
            State::Start => {}
            State::Asked(_) => self.end(CloseReason::Timeout(phase), Some(&replies::NO_DECISION)),
            _ => self.end(CloseReason::Timeout(phase), Some(&replies::TIMED_OUT)),
        }
    }

    /// Whether a shutdown is due in the state the session is in.
    fn shutdown_is_due(&self) -> bool {
        match (self.shutdown, &self.state) {
            (Some(_), State::Start | State::ProxyHeader | State::StartTls | State::Handshake)
            | (Some(Shutdown::Now), State::Command | State::Content(_) | State::Exchange(_)) => true,
            (Some(Shutdown::AfterTransaction), State::Exchange(_)) => true,
            (Some(Shutdown::AfterTransaction), State::Command) => self.session.transaction.is_none(),
            _ => false,
        }
    }

    fn output_waits(&self) -> bool {
        self.output.has_remaining()
    }

    fn input_ended(&self) -> bool {
        self.input != Input::Open
    }

    /// More input, or the end when there is none.
    fn starved(&mut self) -> Option<Step<Event>> {
        if self.output.has_remaining() {
            return Some(Step::Write);
        }
        if self.input == Input::Open {
            return Some(Step::Read);
        }
        self.end(CloseReason::Disconnected, None);
        None
    }
}

impl sealed::Sealed for Server {}

impl Machine for Server {
    type Event = Event;

    /// Never fails: whatever a client does gets a reply or ends the session.
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Step<Event>, Error> {
        self.resume(now);
        if self.input == Input::Lost && !matches!(self.state, State::Ended) {
            self.end(CloseReason::Disconnected, None);
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.timed_out();
        }
        loop {
            let waits = self.events.front().is_some_and(Event::is_question) && self.output.has_remaining();
            if waits && self.input != Input::Lost && now.duration_since(self.held_since) >= LONG_HELD {
                return Ok(Step::Write);
            }
            if let Some(event) = self.events.pop_front() {
                self.away = true;
                return Ok(Step::Event(event));
            }
            if self.shutdown_is_due() {
                self.end(CloseReason::ShutDown, Some(&replies::SHUTTING_DOWN));
                continue;
            }
            if matches!(self.state, State::Asked(_)) {
                // Of several recipients, some may have been decided long ago.
                let held = self.output.has_remaining() && now.duration_since(self.held_since) >= LONG_HELD;
                if held && self.input != Input::Lost {
                    return Ok(Step::Write);
                }
                return Ok(Step::Decide);
            }
            if self.input == Input::Lost {
                self.output.clear();
            }
            if self.output.has_remaining() && (self.flush || self.output.is_full()) {
                return Ok(Step::Write);
            }
            self.flush = false;
            let step = match &mut self.state {
                State::ProxyHeader => self.next_proxy_header(rx),
                State::Start if self.config.proxy_protocol && self.session.asserted.proxy.is_none() => {
                    self.state = State::ProxyHeader;
                    None
                }
                State::Start if self.config.tls == TlsPolicy::Implicit && self.session.tls.is_none() => {
                    self.state = State::Handshake;
                    if self.tls_unavailable {
                        self.end(CloseReason::TlsFailed, None);
                    }
                    None
                }
                State::StartTls => {
                    self.hand_over(rx);
                    None
                }
                State::Handshake => self.handshake(rx),
                State::Exchange(_) => self.next_response(rx),
                State::Start => self.begin(rx),
                State::Command => self.next_command(rx),
                State::Content(_) => self.next_content(rx),
                State::Asked(_) => Some(Step::Decide),
                State::Ended if self.output.has_remaining() => Some(Step::Write),
                State::Ended => Some(Step::Close),
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn deadline(&self) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        match &self.state {
            // The application is dealing with something: that is its time, not the client's.
            State::Asked(_) => Some(self.since.after(timeouts.decision)),
            _ if self.away => Some(self.now.after(timeouts.decision)),
            State::StartTls | State::Handshake => Some(self.since.after(timeouts.handshake)),
            State::Content(content) => Some((self.since.after(timeouts.content)).min(content.slowest_end(timeouts))),
            State::ProxyHeader => Some(self.since.after(timeouts.proxy_header)),
            State::Start => Some(self.since.after(timeouts.early_talkers)),
            State::Command | State::Exchange(_) => {
                // The next chunk, too, is content that has to come at some rate.
                let slowest = self.chunks.as_ref().map(|content| content.slowest_end(timeouts));
                Some(
                    slowest
                        .map_or(self.since.after(timeouts.command), |end| end.min(self.since.after(timeouts.command))),
                )
            }
            State::Ended => self.output.has_remaining().then(|| self.since.after(timeouts.command)),
        }
    }

    fn peer_closed(&mut self) {
        if self.input == Input::Open {
            self.input = Input::Ended;
        }
    }

    /// A client that takes no replies gives no messages either.
    fn write_failed(&mut self) {
        self.connection_lost();
    }

    fn connection_lost(&mut self) {
        self.input = Input::Lost;
    }

    fn tls_established(&mut self, rx: &mut BytesMut, tls: TlsInfo) -> Result<(), ApiMisuse> {
        self.secured(rx, tls)
    }

    fn tls_failed(&mut self) {
        if !matches!(self.state, State::Ended) {
            self.output.clear();
            self.end(CloseReason::TlsFailed, None);
        }
    }
}
