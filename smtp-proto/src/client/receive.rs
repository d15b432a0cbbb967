//! What a reply means: which command it answers and what follows from it.

use super::transaction::Stage;
use super::{Client, Event, Request, RequestId, RequestKind, State};
use crate::error::{Error, PeerFault, Phase};
use crate::output::Output;
use crate::transcript::Speaker;
use crate::wire::{Capabilities, Command, Reply, ReplyForm, Severity};

/// A reply that has to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    phase: Phase,
    purpose: Purpose,
    /// Octets of the command it answers.
    pub(super) octets: usize,
    /// Where in the output the command ends.
    pub(super) end: u64,
}

/// What a reply is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Greeting,
    Hello {
        extended: bool,
    },
    StartTls,
    /// AUTH, or a line of its exchange.
    Auth,
    Mail(RequestId),
    Rcpt(RequestId, usize),
    Data(RequestId),
    /// A chunk that is not the last.
    Chunk(RequestId),
    EndOfData(RequestId),
    Command(RequestId),
    Quit,
    Reset,
    /// RSET behind the last chunk of a message.
    Behind(RequestId),
    /// It changes nothing.
    Ignored,
}

impl Awaited {
    pub(super) fn new(phase: Phase, purpose: Purpose) -> Self {
        Self { phase, purpose, octets: 0, end: 0 }
    }

    /// To a command of so many octets.
    pub(super) fn to(self, octets: usize) -> Self {
        Self { octets, ..self }
    }

    pub(super) fn greeting() -> Self {
        Self::new(Phase::Greeting, Purpose::Greeting)
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the command has been written out: a reply that comes before that answers something else.
    pub(super) fn is_asked(&self, output: &Output) -> bool {
        self.end <= output.written()
    }
}

impl Purpose {
    /// Whether the reply can be of this kind. 3yz is for AUTH and DATA, which in turn is never simply done. RSET behind a
    /// message is not refused by anybody (RFC 5321 section 4.1.1.5): it is the message that was. A command of the
    /// application's own may get anything.
    fn allows(self, severity: Severity) -> bool {
        match (self, severity) {
            (Self::Behind(_), severity) => severity == Severity::Positive,
            (Self::Command(_) | Self::Auth, _) | (_, Severity::Transient | Severity::Permanent) => true,
            (Self::Data(_), severity) => severity == Severity::Intermediate,
            (_, severity) => severity == Severity::Positive,
        }
    }
}

impl Client {
    /// Deals with a reply.
    pub(super) fn received(&mut self, reply: Reply) {
        let reply = self.presentable(reply);
        self.record(&reply);
        let reply = match self.state {
            State::Ready if !self.enhanced_status_codes => reply.without_enhanced(),
            _ => reply,
        };
        (self.since, self.heard) = (self.now, self.now);
        if let Some(error) = self.farewell.take() {
            // It goes on all the same, and nobody knows with what.
            self.fail(error);
            return;
        }
        let Some(awaited) = self.awaited.front().copied().filter(|awaited| awaited.is_asked(&self.output)) else {
            self.unasked(reply);
            return;
        };
        self.awaited.pop_front();
        self.in_flight = self.in_flight.saturating_sub(awaited.octets);
        let phase = awaited.phase;
        let closing = reply.is_service_closing() && !matches!(awaited.purpose, Purpose::Greeting);
        if !awaited.purpose.allows(reply.severity()) && !closing || self.is_contradicted(awaited.purpose, &reply) {
            self.fail(PeerFault::UnexpectedReply { phase, reply }.into());
            return;
        }
        let last_words = closing.then(|| reply.clone());
        match awaited.purpose {
            Purpose::Greeting => self.greeted(reply),
            Purpose::Hello { extended } => self.welcomed(reply, extended),
            Purpose::StartTls => self.starttls_replied(reply),
            Purpose::Auth => self.auth_replied(reply),
            Purpose::Quit => self.state = State::Finished,
            // What is still open at the server would be mixed up with what comes next.
            Purpose::Reset if !reply.is_positive() && !closing => self.fail(Error::Refused { phase, reply }),
            Purpose::Reset | Purpose::Ignored => {}
            Purpose::Behind(id) => {
                if let Some((_, transaction)) = self.find(id) {
                    transaction.outstanding = transaction.outstanding.saturating_sub(1);
                }
            }
            Purpose::Command(id) => {
                self.events.push_back(Event::Reply { id, reply });
                self.requests.pop_front();
                self.writing = self.writing.saturating_sub(1);
            }
            Purpose::EndOfData(id) if self.config.lmtp => {
                if self.judged_for_one(id, reply) {
                    self.awaited.push_front(awaited.to(0));
                }
            }
            Purpose::Mail(id)
            | Purpose::Rcpt(id, _)
            | Purpose::Data(id)
            | Purpose::Chunk(id)
            | Purpose::EndOfData(id) => self.transaction_reply(id, awaited.purpose, reply),
        }
        match last_words {
            Some(reply) => self.hear_the_end(Error::ServiceClosing { phase, reply }),
            None => self.settle(),
        }
    }

    /// The server says that it closes. Where a whole message is on its way, what follows shows how far it came: most
    /// have not come to that when they close, but some say 421 of one recipient and take the message for the others.
    fn hear_the_end(&mut self, error: Error) {
        let is_on_its_way =
            |awaited: &Awaited| matches!(awaited.purpose, Purpose::EndOfData(_)) && awaited.is_asked(&self.output);
        if self.config.lmtp || !self.awaited.iter().any(is_on_its_way) {
            self.fail(error);
        } else {
            self.farewell = Some(error);
            self.mute = true;
            self.output.clear();
        }
    }

    /// The server closed as it had said, before it came to what it has not answered: that it was sent makes nothing
    /// doubtful.
    pub(super) fn reach_no_further(&mut self, error: Error) {
        for Awaited { purpose, .. } in core::mem::take(&mut self.awaited) {
            if let Purpose::EndOfData(id) = purpose
                && let Some((_, transaction)) = self.find(id)
            {
                transaction.not_reached();
            }
        }
        self.fail(error);
    }

    /// Whether the reply cannot be behind what was said before of the same message.
    fn is_contradicted(&mut self, purpose: Purpose, reply: &Reply) -> bool {
        let lmtp = self.config.lmtp;
        let (Purpose::Data(id) | Purpose::EndOfData(id)) = purpose else {
            return false;
        };
        let Some((_, transaction)) = self.find(id) else {
            return false;
        };
        match purpose {
            // An empty message is to end what nobody gets; somebody would get this one. In LMTP there are as many replies
            // to it as recipients, and no server is to come here with none.
            Purpose::Data(_) if reply.severity() == Severity::Intermediate => {
                transaction.is_refused() && transaction.somebody_wants_it() || lmtp && transaction.nobody_wants_it()
            }
            Purpose::EndOfData(_) => transaction.is_contradicted_by(reply),
            _ => false,
        }
    }

    fn record(&mut self, reply: &Reply) {
        if reply.code().value() == 334 {
            self.transcript.line(self.now, Speaker::Server, b"334 ***");
        } else if self.transcript.is_on() {
            let mut text = bytes::BytesMut::new();
            let enhanced = reply.enhanced().is_some();
            reply.write(ReplyForm { enhanced, utf8: true }, &mut text);
            self.transcript.lines(self.now, Speaker::Server, &text);
        }
    }

    /// A reply that no command asked for: the server closes, or refuses a message before its end, or is confused.
    fn unasked(&mut self, reply: Reply) {
        let phase = self.phase();
        let sending = match self.awaited.front() {
            Some(Awaited { purpose: Purpose::EndOfData(id) | Purpose::Chunk(id), .. }) => {
                let id = *id;
                self.find(id).map(|(_, transaction)| transaction)
            }
            Some(_) => None,
            None => self.current().filter(|transaction| transaction.stage == Stage::Content),
        };
        let error = match sending {
            Some(transaction) if matches!(reply.severity(), Severity::Transient | Severity::Permanent) => {
                transaction.refused(Phase::Content, reply.clone());
                // What was sent of the message cannot be taken back, so nothing else can be sent either.
                Error::ServiceClosing { phase: Phase::Content, reply }
            }
            _ if reply.is_service_closing() => match self.earlier_refusal() {
                Some(refusal) => refusal,
                None => Error::ServiceClosing { phase, reply },
            },
            _ => PeerFault::UnsolicitedReply(reply).into(),
        };
        self.fail(error);
    }

    fn greeted(&mut self, reply: Reply) {
        if !reply.is_positive() {
            self.turned_away(Phase::Greeting, reply);
            return;
        }
        self.events.push_back(Event::Greeting(reply));
        self.say_hello();
    }

    pub(super) fn say_hello(&mut self) {
        let name = self.config.hello.clone();
        let hello = if self.config.lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) };
        self.write(&hello, Awaited::new(Phase::Hello, Purpose::Hello { extended: true }));
    }

    pub(super) fn forget_hello(&mut self) {
        self.capabilities = Capabilities::default();
        self.pipelining = false;
        self.enhanced_status_codes = false;
    }

    fn welcomed(&mut self, reply: Reply, extended: bool) {
        let allow_helo = self.config.allow_helo && !self.config.needs_extensions();
        if extended && allow_helo && matches!(reply.code().value(), 500 | 502) {
            let hello = Command::Helo(self.config.hello.clone());
            self.write(&hello, Awaited::new(Phase::Hello, Purpose::Hello { extended: false }));
            return;
        }
        if !reply.is_positive() {
            self.turned_away(Phase::Hello, reply);
            return;
        }
        if extended {
            self.capabilities = Capabilities::parse(reply.text());
            self.pipelining = self.capabilities.contains("PIPELINING");
            self.enhanced_status_codes = self.capabilities.contains("ENHANCEDSTATUSCODES");
        }
        self.after_hello();
    }

    /// Messages may begin.
    pub(super) fn ready(&mut self) {
        self.auth.forget();
        self.state = State::Ready;
        self.events.push_back(Event::Ready);
    }

    /// The server wants no session. It gets a goodbye unless it closes by itself.
    fn turned_away(&mut self, phase: Phase, reply: Reply) {
        let goodbye = !reply.closes_connection();
        self.fail(Error::Refused { phase, reply });
        if goodbye {
            self.write(&Command::Quit, Awaited::new(Phase::Quit, Purpose::Quit));
        }
    }

    fn transaction_reply(&mut self, id: RequestId, purpose: Purpose, reply: Reply) {
        let (whole, first) = self.part_of(id);
        let Some((_, transaction)) = self.find(id) else {
            return;
        };
        transaction.outstanding = transaction.outstanding.saturating_sub(1);
        match purpose {
            Purpose::Mail(_) if !reply.is_positive() => transaction.refused(Phase::Mail, reply),
            Purpose::Rcpt(_, index) => {
                transaction.recipient_replied(index, reply.clone());
                self.events.push_back(Event::Recipient { id: whole, index: first.saturating_add(index), reply });
            }
            Purpose::Data(_) if reply.severity() == Severity::Intermediate => {
                if transaction.is_refused() || transaction.nobody_wants_it() {
                    transaction.stage = Stage::Done;
                    self.writing = self.writing.saturating_add(1);
                    self.write_nothing();
                } else if let Some(withdrawn) = transaction.withdrawn.filter(|_| !transaction.ended) {
                    self.fail(withdrawn.into());
                } else {
                    transaction.stage = Stage::Content;
                }
            }
            Purpose::Data(_) => {
                transaction.refused(Phase::Data, reply);
                transaction.stage = Stage::Done;
                self.writing = self.writing.saturating_add(1);
                self.reset_due = true;
            }
            Purpose::Chunk(_) => {
                transaction.chunks_open = transaction.chunks_open.saturating_sub(1);
                if !reply.is_positive() {
                    transaction.refused(Phase::Content, reply);
                }
            }
            Purpose::EndOfData(_) => {
                let positive = reply.is_positive();
                transaction.judged(reply);
                self.judged(id, positive);
            }
            _ => {}
        }
    }

    /// What the application knows this transaction as, and from which of its recipients on.
    fn part_of(&self, id: RequestId) -> (RequestId, usize) {
        let request = self.requests.iter().find(|request| request.id == id);
        request.and_then(|request| request.part).unwrap_or((id, 0))
    }

    /// The reply to the content for one recipient of several. Whether there are more to come.
    fn judged_for_one(&mut self, id: RequestId, reply: Reply) -> bool {
        let Some((_, transaction)) = self.find(id) else {
            return false;
        };
        let positive = reply.is_positive();
        let more = transaction.judged_for_one(reply);
        if !more {
            transaction.outstanding = transaction.outstanding.saturating_sub(1);
            let accepted = transaction.is_accepted_for_some();
            self.judged(id, positive || accepted);
        }
        more
    }

    /// Has RSET follow a message in chunks that was refused, unless it has already: it may still be open at the server.
    fn judged(&mut self, id: RequestId, accepted: bool) {
        if let Some((_, transaction)) = self.find(id) {
            self.reset_due |= transaction.chunked && !transaction.reset_behind && !accepted;
        }
    }

    /// Tells the outcomes of the messages for which everything has been written and answered.
    pub(super) fn settle(&mut self) {
        while let Some(Request { kind: RequestKind::Transaction(transaction), .. }) = self.requests.front()
            && transaction.is_complete()
        {
            let withdrawn = transaction.withdrawn.filter(|_| transaction.end.is_none());
            let Some(request) = self.requests.pop_front() else {
                return;
            };
            self.writing = self.writing.saturating_sub(1);
            self.conclude(request, withdrawn.map(Error::from));
        }
    }
}
