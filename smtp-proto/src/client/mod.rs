//! The client: intents go in, commands come out; replies come in, outcomes go out.
//!
//! `send` decides what is written when, `receive` what a reply means, `secure` does TLS and authentication; this file
//! holds the state, time, the intents, and the ways a session ends.

mod config;
mod envelope;
mod outcome;
mod receive;
mod secure;
mod send;
mod transaction;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

pub use config::{Authentication, Config, Timeouts, TlsPolicy, Transfer};
pub use envelope::{Content, Envelope, Recipient};
pub use outcome::{Outcome, RecipientOutcome, Verdict};

use crate::error::{ApiMisuse, Error, InvalidArgument, Phase, Problem, TlsError, Unsendable};
use crate::machine::{Machine, Step, sealed};
use crate::output::Output;
use crate::sasl::Mechanism;
use crate::time::Instant;
use crate::tls::TlsInfo;
use crate::transcript::{Tap, Transcript};
use crate::wire::{Capabilities, Reply, ReplyReader};
use receive::Awaited;
use secure::AuthState;
use transaction::{Stage, Transaction};

/// The longest command that [`Client::command`] sends, in octets without CRLF.
pub const MAX_COMMAND: usize = 2046;

/// What [`Client::command`] refuses: these change what the next reply means, or what follows them.
const OWN_COMMANDS: [&str; 11] =
    ["EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "BURL", "STARTTLS", "AUTH", "QUIT"];

fn verb(line: &str) -> &str {
    line.trim_start().split(' ').next().unwrap_or_default()
}

/// What happens in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server greeted.
    Greeting(Reply),
    /// The server took the hello: [`Client::capabilities`] is what it offers, and transactions begin.
    Ready,
    /// The server answered about one recipient. Accepted here is not yet delivered.
    Recipient {
        /// The message.
        id: RequestId,
        /// Which of the envelope's recipients.
        index: usize,
        /// The reply.
        reply: Reply,
    },
    /// There is room for more content: [`Client::content`] or [`Client::end_content`].
    WantContent(RequestId),
    /// What became of a message or a probe. There is exactly one for each, also when the session fails.
    Outcome {
        /// The message.
        id: RequestId,
        /// What became of it.
        outcome: Outcome,
    },
    /// The reply to a [`Client::command`]. There is none when the session fails.
    Reply {
        /// The command.
        id: RequestId,
        /// The reply.
        reply: Reply,
    },
}

impl Event {
    /// The outcome, when this is that of the request.
    pub fn into_outcome(self, request: RequestId) -> Option<Outcome> {
        match self {
            Self::Outcome { id, outcome } if id == request => Some(outcome),
            _ => None,
        }
    }

    /// The reply, when this is that to the request.
    pub fn into_reply(self, request: RequestId) -> Option<Reply> {
        match self {
            Self::Reply { id, reply } if id == request => Some(reply),
            _ => None,
        }
    }
}

/// Names a request to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// The client's side of one session.
///
/// State what is to be done at any time, in any number; it is done in order. The machine greets, groups commands
/// where the server allows it, and tells what became of each request.
///
/// ```
/// use bytes::{Buf, BytesMut};
/// use smtp_proto::client::{Client, Config, Envelope};
/// use smtp_proto::{Instant, Machine, Step};
///
/// let now = Instant::default();
/// let mut client = Client::new(Config::new("client.example.org")?, now);
/// client.send(Envelope::new("jane@example.org", ["joe@example.net"])?, "Subject: Hi\r\n\r\nHello!\r\n")?;
///
/// let mut rx = BytesMut::from("220 mail.example.net ESMTP\r\n");
/// assert!(matches!(client.step(now, &mut rx)?, Step::Event(_)));
/// assert_eq!(client.step(now, &mut rx)?, Step::Write);
/// assert_eq!(client.output().chunk(), b"EHLO client.example.org\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    config: Config,
    state: State,
    tls: Option<TlsInfo>,
    auth: AuthState,
    capabilities: Capabilities,
    pipelining: bool,
    enhanced_status_codes: bool,
    requests: VecDeque<Request>,
    /// Which of the requests is being written; those before it wait for replies.
    writing: usize,
    last_id: u64,
    /// No more requests: QUIT is among them.
    quitting: bool,
    divided: VecDeque<Divided>,
    awaited: VecDeque<Awaited>,
    /// Octets of commands that no reply has come for.
    in_flight: usize,
    /// Nothing is written before all replies have come.
    synchronise: bool,
    /// A transaction came to nothing and may still be open at the server.
    reset_due: bool,
    /// MAIL commands written.
    mails: u32,
    /// Domains of recipients that were written, in lower case, where the server counts them.
    domains: BTreeSet<String>,
    reader: ReplyReader,
    output: Output,
    events: VecDeque<Event>,
    input_ended: bool,
    /// Nothing can be written any more.
    mute: bool,
    /// The server said that it closes, and has not done so yet.
    farewell: Option<Error>,
    /// Part of a reply is there.
    amid_reply: bool,
    /// Waiting begins anew with the next step.
    restart: bool,
    /// The application has been dealing with an event since the last step: that is not the server's time.
    away: bool,
    now: Instant,
    /// When what is waited for now began to be waited for.
    since: Instant,
    /// When the server said something last.
    heard: Instant,
    /// How much had been written when that was last looked at.
    written: u64,
    transcript: Transcript,
}

#[derive(Debug)]
enum State {
    /// Greeting, hello, authentication.
    Opening,
    /// The TLS handshake is due.
    Handshake,
    Ready,
    /// QUIT is answered.
    Finished,
    Failed(Error),
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    kind: RequestKind,
    /// It is one of several transactions for one message: which message, and from which of its recipients on.
    part: Option<(RequestId, usize)>,
}

/// What is known of a message that goes in several transactions.
#[derive(Debug)]
struct Divided {
    id: RequestId,
    /// What became of its transactions, each with the place of its first recipient. They conclude in any order: one that
    /// is withdrawn, or that the server takes no more, does so while those before it are on their way.
    concluded: Vec<(usize, Outcome)>,
    /// Transactions that are not concluded.
    open: usize,
}

#[derive(Debug)]
enum RequestKind {
    Transaction(Box<Transaction>),
    Command(String),
    Quit,
}

impl Client {
    /// A session that begins now, with the server's greeting.
    pub fn new(config: Config, now: Instant) -> Self {
        let implicit = config.tls == TlsPolicy::Implicit;
        Self {
            config,
            state: if implicit { State::Handshake } else { State::Opening },
            tls: None,
            auth: AuthState::default(),
            capabilities: Capabilities::default(),
            pipelining: false,
            enhanced_status_codes: false,
            requests: VecDeque::new(),
            writing: 0,
            last_id: 0,
            quitting: false,
            divided: VecDeque::new(),
            awaited: (!implicit).then(Awaited::greeting).into_iter().collect(),
            in_flight: 0,
            synchronise: true,
            reset_due: false,
            mails: 0,
            domains: BTreeSet::new(),
            reader: ReplyReader::new(),
            output: Output::new(),
            events: VecDeque::new(),
            input_ended: false,
            mute: false,
            farewell: None,
            amid_reply: false,
            restart: false,
            away: false,
            now,
            since: now,
            heard: now,
            written: 0,
            transcript: Transcript::default(),
        }
    }

    /// What the server offers; empty before [`Event::Ready`] and after HELO.
    pub fn capabilities(&self) -> &Capabilities {
        // What is said in clear before TLS is nobody's business.
        if matches!(self.state, State::Opening | State::Handshake) { Capabilities::NONE } else { &self.capabilities }
    }

    /// The TLS under the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// The name of the mechanism by which the client authenticated, if it did.
    pub fn mechanism(&self) -> Option<&str> {
        self.auth.mechanism.map(Mechanism::name)
    }

    /// Why the session failed, if it did.
    pub fn failure(&self) -> Option<&Error> {
        match &self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the session is over or ending, or the envelope has no recipients or impossible parameters.
    pub fn send(&mut self, envelope: Envelope, content: impl Into<Content>) -> Result<RequestId, ApiMisuse> {
        envelope.check()?;
        let transaction = Transaction::new(envelope, Some(content.into()), &self.config);
        self.request(RequestKind::Transaction(Box::new(transaction)))
    }

    /// Whether another message would be of use: as many as may be on their way wait here already, and one more, so that
    /// the next follows at once. Further ones would only take up memory.
    pub fn has_room(&self) -> bool {
        self.requests.len() <= self.config.messages_in_flight.max(1)
    }

    /// Asks whether the server would take a message for these recipients, and sends none.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn probe(&mut self, envelope: Envelope) -> Result<RequestId, ApiMisuse> {
        envelope.check()?;
        let transaction = Transaction::new(envelope, None, &self.config);
        self.request(RequestKind::Transaction(Box::new(transaction)))
    }

    /// Hands over a piece of streamed content. Best when [`Event::WantContent`] asked for it: what is given earlier
    /// is kept in memory.
    ///
    /// # Errors
    /// When the request does not wait for content.
    pub fn content(&mut self, id: RequestId, piece: Bytes) -> Result<(), ApiMisuse> {
        let transaction = self.streaming(id)?;
        transaction.asked = false;
        if !piece.is_empty() {
            transaction.content.push_back(piece);
        }
        Ok(())
    }

    /// Says that the streamed content is complete.
    ///
    /// # Errors
    /// When the request does not wait for content.
    pub fn end_content(&mut self, id: RequestId) -> Result<(), ApiMisuse> {
        self.streaming(id)?.ended = true;
        Ok(())
    }

    /// Sends a command as it is, for what this crate has no call for. Its reply is [`Event::Reply`].
    ///
    /// # Errors
    /// When it cannot be one line of a session: it is empty, too long, has control characters, or is not ASCII while
    /// the server is not known to offer SMTPUTF8. And when it is one of the commands that the client gives by itself:
    /// out of turn, they would make it mistake one reply for another.
    pub fn command(&mut self, line: &str) -> Result<RequestId, ApiMisuse> {
        let problem = match () {
            () if line.is_empty() => Some(Problem::Empty),
            () if line.len() > MAX_COMMAND => Some(Problem::TooLong),
            () if line.chars().any(char::is_control) => Some(Problem::Character),
            () if !line.is_ascii() && !self.capabilities().contains("SMTPUTF8") => Some(Problem::Character),
            () if OWN_COMMANDS.iter().any(|own| verb(line).eq_ignore_ascii_case(own)) => Some(Problem::OwnCommand),
            () => None,
        };
        match problem {
            Some(problem) => {
                // What was meant for AUTH is not to be shown.
                let is_auth = line.trim_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case("AUTH"));
                Err(InvalidArgument::new("command", if is_auth { "AUTH ***" } else { line }, problem).into())
            }
            None => self.request(RequestKind::Command(line.to_string())),
        }
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// When the session is over or ending.
    pub fn noop(&mut self) -> Result<RequestId, ApiMisuse> {
        self.request(RequestKind::Command("NOOP".to_string()))
    }

    /// Ends the session when everything asked for before is done.
    ///
    /// # Errors
    /// When the session is over or ending.
    pub fn quit(&mut self) -> Result<RequestId, ApiMisuse> {
        let id = self.request(RequestKind::Quit)?;
        self.quitting = true;
        Ok(id)
    }

    /// Withdraws a message as far as that is possible. Its outcome still comes.
    ///
    /// One that has not begun is not sent; one for which DATA has not been said is taken back with RSET, and so is one
    /// that goes in chunks and whose last has not been written. Behind DATA a message that is wholly handed over is sent;
    /// where streamed content is missing, the session fails, though not before the messages in front of it have their
    /// verdicts: there is no way to tell a server to forget half a message.
    pub fn cancel(&mut self, id: RequestId) {
        if self.divided.iter().any(|divided| divided.id == id) {
            let of_it = |request: &Request| request.part.is_some_and(|(whole, _)| whole == id).then_some(request.id);
            let parts: Vec<RequestId> = self.requests.iter().filter_map(of_it).collect();
            return parts.into_iter().for_each(|part| self.cancel(part));
        }
        let Some((position, transaction)) = self.find(id) else {
            return;
        };
        let (stage, complete) = (transaction.stage, transaction.ended || transaction.chunked);
        if stage == Stage::Done {
            return;
        }
        // What is wholly handed over is sent, once content has begun that cannot be taken back.
        if !(stage == Stage::Content && transaction.ended && !transaction.chunked) {
            transaction.withdrawn = Some(Unsendable::Cancelled);
        }
        match stage {
            Stage::Mail => {
                if let Some(request) = self.requests.remove(position) {
                    self.conclude(request, Some(Unsendable::Cancelled.into()));
                }
            }
            // Those before it wait for their verdicts, which come before anything that is said about this.
            Stage::GoAhead if position > 0 => {}
            Stage::GoAhead | Stage::Content if !complete => self.fail(Unsendable::Cancelled.into()),
            _ => {}
        }
    }

    /// Withdraws all messages, each as [`Client::cancel`] does: for a caller who gave up waiting for them.
    pub fn cancel_all(&mut self) {
        let ids: Vec<RequestId> = self.requests.iter().map(|request| request.id).collect();
        for id in ids {
            self.cancel(id);
        }
    }

    /// Hands every command and reply of the session to `tap`.
    pub fn set_transcript(&mut self, tap: Tap) {
        self.transcript.set(tap);
    }

    fn request(&mut self, kind: RequestKind) -> Result<RequestId, ApiMisuse> {
        if self.quitting || matches!(self.state, State::Finished | State::Failed(_)) {
            return Err(ApiMisuse::Closed);
        }
        self.last_id = self.last_id.saturating_add(1);
        let id = RequestId(self.last_id);
        self.requests.push_back(Request { id, kind, part: None });
        Ok(id)
    }

    fn find(&mut self, id: RequestId) -> Option<(usize, &mut Transaction)> {
        self.requests.iter_mut().enumerate().find_map(|(position, request)| match &mut request.kind {
            RequestKind::Transaction(transaction) if request.id == id => Some((position, &mut **transaction)),
            _ => None,
        })
    }

    fn streaming(&mut self, id: RequestId) -> Result<&mut Transaction, ApiMisuse> {
        match self.find(id) {
            Some((_, transaction)) if !transaction.ended => Ok(transaction),
            _ => Err(ApiMisuse::NoContentExpected),
        }
    }

    /// The transaction that is being written.
    fn current(&mut self) -> Option<&mut Transaction> {
        match self.requests.get_mut(self.writing) {
            Some(Request { kind: RequestKind::Transaction(transaction), .. }) => Some(transaction),
            _ => None,
        }
    }

    /// Tells what became of a request that is off the queue.
    fn conclude(&mut self, request: Request, error: Option<Error>) {
        if let RequestKind::Transaction(transaction) = request.kind {
            let mut outcome = transaction.outcome(error, self.output.written(), self.config.lmtp);
            outcome.session_over = matches!(self.state, State::Failed(_));
            match request.part {
                Some((whole, first)) => self.conclude_part(whole, first, outcome),
                None => self.events.push_back(Event::Outcome { id: request.id, outcome }),
            }
        }
    }

    /// Divides the message that is next among several transactions of so many recipients (RFC 9422 section 4).
    fn divide(&mut self, most: usize) {
        let Some(Request { id, kind: RequestKind::Transaction(transaction), .. }) = self.requests.remove(self.writing)
        else {
            return;
        };
        let mut first = 0;
        let mut position = self.writing;
        let mut open = 0usize;
        for part in transaction.divide(most, &self.config) {
            self.last_id = self.last_id.saturating_add(1);
            let next = part.envelope.recipients.len().saturating_add(first);
            let request = Request {
                id: RequestId(self.last_id),
                kind: RequestKind::Transaction(Box::new(part)),
                part: Some((id, first)),
            };
            self.requests.insert(position, request);
            (first, position, open) = (next, position.saturating_add(1), open.saturating_add(1));
        }
        self.divided.push_back(Divided { id, concluded: Vec::new(), open });
    }

    /// Adds what became of one of several transactions.
    fn conclude_part(&mut self, id: RequestId, first: usize, outcome: Outcome) {
        let Some(position) = self.divided.iter().position(|divided| divided.id == id) else {
            return;
        };
        let Some(divided) = self.divided.get_mut(position) else { return };
        divided.concluded.push((first, outcome));
        divided.open = divided.open.saturating_sub(1);
        if divided.open == 0
            && let Some(Divided { mut concluded, .. }) = self.divided.remove(position)
        {
            concluded.sort_by_key(|(first, _)| *first);
            let whole = concluded.into_iter().map(|(_, outcome)| outcome).reduce(Outcome::followed_by);
            self.events.extend(whole.map(|outcome| Event::Outcome { id, outcome }));
        }
    }

    /// The one way a session fails: every message gets its outcome, nothing more is written.
    fn fail(&mut self, error: Error) {
        if matches!(self.state, State::Failed(_) | State::Finished) {
            return;
        }
        // What is wrong with one message, or was said about it, says nothing about those that have not begun.
        let of_one_message = matches!(error, Error::Unsendable(_));
        let shared = matches!(self.state, State::Opening | State::Handshake) || error.is_transient() && !of_one_message;
        let others = if shared { error.clone() } else { Error::GivenUp };
        let cause = error.clone();
        self.state = State::Failed(error);
        let (writing, written) = (self.writing, self.output.written());
        let is_concerned = |position: usize, request: &Request| match &request.kind {
            RequestKind::Transaction(transaction) if transaction.stage == Stage::Mail => false,
            RequestKind::Transaction(transaction) => match cause {
                // An unsendable message is the one being written; those before it wait for their verdicts.
                Error::Unsendable(_) => position >= writing,
                // Replies come in order: a wrong one was to the first, or to RSET.
                Error::Peer(_) => position == 0 || transaction.is_sent(written),
                Error::Refused { .. } => transaction.is_sent(written),
                _ => true,
            },
            _ => true,
        };
        for (position, request) in core::mem::take(&mut self.requests).into_iter().enumerate() {
            let told = if is_concerned(position, &request) { &cause } else { &others };
            self.conclude(request, Some(told.clone()));
        }
        self.writing = 0;
        self.awaited.clear();
        self.output.clear();
        self.since = self.now;
    }

    /// What the session is doing.
    fn phase(&self) -> Phase {
        let content = matches!(
            self.requests.get(self.writing),
            Some(Request { kind: RequestKind::Transaction(transaction), .. }) if transaction.stage == Stage::Content
        );
        match self.awaited.front() {
            _ if matches!(self.state, State::Handshake) => Phase::Handshake,
            Some(awaited) if awaited.phase() == Phase::EndOfData && !awaited.is_asked(&self.output) => Phase::Content,
            Some(awaited) => awaited.phase(),
            None if content => Phase::Content,
            None => Phase::Command,
        }
    }

    /// The connection gives no more: fatal, except behind QUIT.
    fn end_of_input(&mut self, error: Error) {
        if self.phase() == Phase::Quit {
            self.output.clear();
            self.state = State::Finished;
        } else {
            self.fail(error);
        }
    }

    fn is_overdue(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= self.now)
    }

    /// Starts waiting anew when the connection took some more of what is to be answered first, or of content, or when
    /// something else happened outside.
    fn watch(&mut self) {
        if core::mem::take(&mut self.restart) {
            self.since = self.now;
        }
        let written = self.output.written();
        let before = core::mem::replace(&mut self.written, written);
        // Nobody can answer what has not left.
        let leaving = self.awaited.front().is_none_or(|awaited| awaited.end > before);
        if written != before && (leaving || self.phase() == Phase::Content) {
            self.since = self.now;
        }
    }
}

impl sealed::Sealed for Client {}

impl Machine for Client {
    type Event = Event;

    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Step<Event>, Error> {
        if core::mem::take(&mut self.away) {
            self.since = self.since.after(now.duration_since(self.now));
        }
        self.now = now;
        self.watch();
        loop {
            if let Some(event) = self.events.pop_front() {
                self.away = true;
                return Ok(Step::Event(event));
            }
            match &self.state {
                State::Failed(_) if self.output.has_remaining() && !self.mute && self.deadline() > Some(now) => {
                    return Ok(Step::Write);
                }
                State::Failed(error) => return Err(error.clone()),
                State::Finished => return Ok(Step::Close),
                State::Handshake => match self.handshake(rx) {
                    Some(step) => return Ok(step),
                    None => continue,
                },
                State::Opening | State::Ready => {}
            }
            match self.reader.read(rx, &self.reply_limits()) {
                Ok(Some(reply)) => {
                    self.received(reply);
                    continue;
                }
                Ok(None) => {}
                Err(fault) => {
                    self.fail(fault.into());
                    continue;
                }
            }
            let amid_reply = self.reader.is_amid_reply();
            if core::mem::replace(&mut self.amid_reply, amid_reply) != amid_reply && self.awaited.is_empty() {
                // A reply that nobody asked for has begun.
                self.since = now;
            }
            let phase = self.phase();
            if self.input_ended {
                match self.farewell.take() {
                    Some(farewell) => self.reach_no_further(farewell),
                    None => self.end_of_input(Error::Disconnected { phase }),
                }
            } else if self.is_overdue() {
                let error = if self.mute { Error::Disconnected { phase } } else { Error::Timeout { phase } };
                let error = self.farewell.take().unwrap_or(error);
                self.end_of_input(error);
            } else if self.mute {
                return Ok(Step::Read);
            } else {
                self.fill();
                if self.events.is_empty() && !matches!(self.state, State::Failed(_)) {
                    return Ok(match () {
                        () if self.output.has_remaining() => Step::Write,
                        () if self.awaited.is_empty() && !amid_reply => Step::Decide,
                        () => Step::Read,
                    });
                }
            }
        }
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn deadline(&self) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        let timeout = match self.state {
            State::Failed(_) | State::Finished => self.output.has_remaining().then_some(timeouts.quit),
            State::Handshake => Some(timeouts.handshake),
            // The last words of a server that went away, if there are any.
            State::Opening | State::Ready if self.mute => Some(timeouts.quit),
            State::Opening | State::Ready
                if self.awaited.is_empty() && !self.amid_reply && !self.output.has_remaining() =>
            {
                None
            }
            State::Opening | State::Ready => Some(match self.phase() {
                Phase::Greeting => timeouts.greeting,
                Phase::Hello => timeouts.hello,
                Phase::Mail => timeouts.mail,
                Phase::Rcpt => timeouts.rcpt,
                Phase::Data => timeouts.data,
                Phase::Content => timeouts.content,
                Phase::EndOfData => timeouts.end_of_data,
                Phase::Quit => timeouts.quit,
                Phase::Handshake => timeouts.handshake,
                _ => timeouts.command,
            }),
        };
        timeout.map(|timeout| self.since.after(timeout))
    }

    fn peer_closed(&mut self) {
        self.input_ended = true;
    }

    fn write_failed(&mut self) {
        self.mute = true;
        self.restart = true;
        self.output.clear();
    }

    fn connection_lost(&mut self) {
        self.mute = true;
        self.input_ended = true;
        self.output.clear();
    }

    fn tls_established(&mut self, rx: &mut BytesMut, tls: TlsInfo) -> Result<(), ApiMisuse> {
        self.secured(rx, tls)
    }

    fn tls_failed(&mut self) {
        self.fail(Error::Tls(TlsError::Handshake));
    }
}
