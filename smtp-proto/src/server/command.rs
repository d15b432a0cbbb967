//! Commands: what is checked before the application is asked (RFC 5321 section 4.1).

use alloc::string::String;
use alloc::vec::Vec;

use bytes::BytesMut;
use zeroize::Zeroize;

use super::config::MIN_AUTH_LINE;
use super::content::{Chunk, Piece};
use super::event::{Abuse, CloseReason, Event, Hello, Mail, ResetReason};
use super::recipients::OpenRecipients;
use super::secure::Exchange;
use super::session::Transaction;
use super::{Content, Server, State, replies};
use crate::machine::Step;
use crate::wire::{
    AbsoluteUri, Attribute, BodyType, ByMode, Command, CommandError, HelloName, Hold, Line, MailParameters, Node,
    Query, Reply, ReversePath,
};

/// The shortest limit on command lines there may be (RFC 5321 section 4.5.3.1.4).
const MIN_COMMAND_LINE: usize = 512;
/// What DSN adds to it: NOTIFY with all that it can name, and an ORCPT of 500 octets (RFC 3461 section 4).
const DSN_PARAMETERS: usize = 536;

/// What requests of HTTP begin with: somebody's browser talks.
const HTTP: [&str; 6] = ["GET ", "HEAD ", "POST ", "PUT ", "CONNECT ", "OPTIONS "];

/// What the application is deciding about.
#[derive(Debug)]
pub(super) enum Question {
    Connect,
    Hello(Hello),
    StartTls,
    Authenticate(Exchange),
    /// With the reply that is due in it.
    AuthenticationFailed(Exchange),
    Mail(Transaction),
    Recipients(OpenRecipients),
    /// DATA, or the first chunk or URL.
    Data(Option<Piece>),
    /// BURL, with whether it is the last piece.
    Burl(bool),
    /// A message.
    Message {
        recipients: u32,
        /// Octets of its content.
        size: u64,
    },
    /// VRFY or EXPN, with whether the reply may hold UTF-8.
    Query(bool),
    Help,
    Etrn,
    Xclient(Vec<Attribute>),
    Other,
}

impl Server {
    pub(super) fn ask(&mut self, question: Question, event: Event) {
        self.events.push_back(event);
        self.state = State::Asked(question);
    }

    /// Takes the next command off `rx` and deals with it.
    pub(super) fn next_command(&mut self, rx: &mut BytesMut) -> Option<Step<Event>> {
        let limits = &self.config.limits;
        let command_line = self.command_line();
        if self.lines.is_at_start() {
            let begins = |verb: &[u8]| rx.get(..verb.len()).is_some_and(|line| line.eq_ignore_ascii_case(verb));
            self.auth_line = begins(b"AUTH ");
            self.chunk_line = begins(b"BDAT");
            self.http_line = HTTP.iter().any(|verb| begins(verb.as_bytes()));
        }
        let longest = if self.auth_line { limits.auth_line.max(MIN_AUTH_LINE).max(command_line) } else { command_line };
        match self.lines.read(rx, longest, limits.discarded_line) {
            Line::Partial => return self.starved(),
            Line::Endless => self.end(CloseReason::Abuse(Abuse::EndlessLine), Some(&replies::ENDLESS)),
            // Nobody knows how many octets of it are no commands (BDAT-010).
            Line::TooLong if self.chunk_line => self.end(CloseReason::Abuse(Abuse::Chunk), Some(&replies::NO_CHUNKS)),
            Line::TooLong if self.http_line => {
                self.end(CloseReason::Abuse(Abuse::Http), Some(&replies::NO_HTTP));
            }
            Line::TooLong => {
                self.since = self.now;
                self.redact |= self.auth_line;
                let reply = if self.auth_line { replies::AUTH_LINE_TOO_LONG } else { replies::LINE_TOO_LONG };
                self.wrong(&reply);
            }
            Line::Whole(mut line) => {
                self.since = self.now;
                let command = Command::parse(&line);
                self.record(&line, command.as_ref().ok());
                if self.redact {
                    line.zeroize();
                }
                match command {
                    Err(CommandError::ChunkSize) => {
                        self.end(CloseReason::Abuse(Abuse::Chunk), Some(&replies::NO_CHUNKS));
                    }
                    Ok(Command::Quit) => self.end(CloseReason::Quit, Some(&replies::BYE)),
                    // H-XP-1
                    Ok(Command::Other { verb, .. }) if HTTP.iter().any(|http| http.trim_end() == verb) => {
                        self.end(CloseReason::Abuse(Abuse::Http), Some(&replies::NO_HTTP));
                    }
                    Err(CommandError::Attribute(_)) if !self.trusts_proxy() => self.wrong(&replies::NOT_TRUSTED),
                    Ok(command) if self.no_service => self.refuse_command(&command, replies::NO_SERVICE),
                    Err(_) if self.no_service => self.wrong(&replies::NO_SERVICE),
                    Ok(command) => self.command(command, rx),
                    Err(error) => self.wrong(&replies::command_error(error)),
                }
            }
        }
        None
    }

    /// The longest command line, in octets with CRLF.
    pub(super) fn command_line(&self) -> usize {
        let parameters = if self.config.dsn { DSN_PARAMETERS } else { 0 };
        self.config.limits.command_line.max(MIN_COMMAND_LINE.saturating_add(parameters))
    }

    fn command(&mut self, command: Command, rx: &mut BytesMut) {
        // The client did not wait for the reply.
        let more = !rx.is_empty();
        // RFC 2920 section 3.1, RFC 3030 section 4.2; the replies to all others are not held back (section 3.2).
        let within_group =
            matches!(command, Command::Mail { .. } | Command::Rcpt { .. } | Command::Rset | Command::Bdat { .. });
        self.flush |= !within_group;
        // Without EHLO there are no groups at all.
        let lock_step = self.session.hello.as_ref().is_some_and(|hello| !hello.extended)
            || matches!(command, Command::Ehlo(_) | Command::Lhlo(_) | Command::Helo(_) | Command::Data);
        let ends_group = matches!(command, Command::StartTls | Command::Auth { .. });
        self.session.pipelined_early |= more && (lock_step || ends_group);
        if self.wants_tls_first(&command) {
            return self.refuse_command(&command, replies::TLS_REQUIRED);
        }
        if self.wants_auth() && matches!(command, Command::Mail { .. } | Command::Vrfy(_) | Command::Expn(_)) {
            return self.wrong(&replies::AUTH_REQUIRED);
        }
        if !matches!(command, Command::Bdat { .. } | Command::Noop) {
            self.refused_chunks = None;
        }
        match command {
            Command::StartTls => self.starttls(),
            Command::Auth { mechanism, initial_response } => self.auth(&mechanism, initial_response.as_ref()),
            Command::Mail { reverse_path, parameters } => self.mail(reverse_path, parameters),
            Command::Rcpt { forward_path, parameters } => self.rcpt(forward_path, parameters, rx),
            Command::Data => self.data(),
            Command::Ehlo(_) | Command::Helo(_) if self.config.lmtp => self.wrong(&replies::LHLO_ONLY),
            Command::Lhlo(_) if !self.config.lmtp => self.wrong(&replies::UNKNOWN_COMMAND),
            Command::Ehlo(name) | Command::Lhlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::Rset => {
                if self.session.transaction.is_none() {
                    self.events.push_back(Event::Reset(ResetReason::Command));
                }
                self.reset(ResetReason::Command);
                self.junk(&replies::OK);
            }
            Command::Noop => self.junk(&replies::OK),
            Command::Vrfy(query) => self.query(query, Event::Verify),
            Command::Expn(_) if !self.config.expand => self.wrong(&replies::NOT_IMPLEMENTED),
            Command::Expn(query) => self.query(query, Event::Expand),
            Command::Help(_) if !self.config.help => self.wrong(&replies::NOT_IMPLEMENTED),
            Command::Help(topic) => self.ask_junk(Question::Help, Event::Help(topic)),
            Command::Other { verb, argument } => self.other(verb, argument),
            Command::Bdat { size, last } => self.bdat(Chunk { left: size, last }),
            Command::Burl { url, last } => self.burl(url, last),
            Command::Etrn(node) => self.etrn(node),
            Command::Xclient(attributes) => self.xclient(attributes),
            Command::Xforward(attributes) => self.xforward(attributes),
            // Dealt with before.
            Command::Quit => {}
        }
    }

    fn hello(&mut self, name: HelloName, extended: bool) {
        let hello = Hello { name, extended };
        self.ask_junk(Question::Hello(hello.clone()), Event::Hello(hello));
    }

    fn mail(&mut self, reverse_path: ReversePath, parameters: MailParameters) {
        let Some(hello) = &self.session.hello else {
            return self.wrong(&replies::HELLO_FIRST);
        };
        if self.session.transaction.is_some() {
            return self.wrong(&replies::NESTED_MAIL);
        }
        let config = &self.config;
        let recognised = config.recognises_mail(&parameters)
            // RFC 8689 section 2: inside TLS only.
            && (self.session.tls.is_some() || !parameters.requiretls)
            // RFC 5321 section 4.1.1.1: no extension without EHLO.
            && (hello.extended || parameters == MailParameters::default());
        if !recognised {
            return self.wrong(&replies::UNKNOWN_PARAMETER);
        }
        let ascii = reverse_path.is_ascii() && parameters.is_ascii();
        if !ascii && !parameters.smtputf8 {
            return self.wrong(&replies::NEEDS_SMTPUTF8);
        }
        if let Some(refusal) = self.beyond_promise(&parameters) {
            self.session.note_refusal();
            if self.count_refusal() {
                self.reply(&refusal);
            }
            return;
        }
        if self.config.limits.transactions.is_some_and(|limit| self.session.transactions >= limit) {
            return self.end(CloseReason::Decision, Some(&replies::TOO_MANY_TRANSACTIONS));
        }
        let transaction = Transaction {
            smtputf8: parameters.smtputf8,
            declared_size: parameters.size,
            requiretls: parameters.requiretls,
            binary: parameters.body == Some(BodyType::BinaryMime),
            ..Transaction::default()
        };
        self.ask(Question::Mail(transaction), Event::Mail(Mail { reverse_path, parameters }));
    }

    /// Why a message is refused for what it asks for.
    fn beyond_promise(&self, parameters: &MailParameters) -> Option<Reply> {
        let config = &self.config;
        let least = config.deliver_by.map_or(0, i64::from);
        let too_soon = |by: &crate::wire::DeliverBy| by.mode() == ByMode::Return && by.seconds() < least;
        let too_long = |hold: &Hold| match (hold, config.future_release) {
            (Hold::For(interval), Some(maxima)) => interval.seconds() > maxima.interval.seconds(),
            (Hold::Until(moment), Some(maxima)) => *moment > maxima.date_time,
            (_, None) => true,
        };
        match () {
            () if parameters.size.is_some_and(|size| size > config.message_size()) => Some(replies::TOO_LARGE),
            () if parameters.deliver_by.as_ref().is_some_and(too_soon) => Some(replies::TOO_SOON),
            () if parameters.hold.as_ref().is_some_and(too_long) => Some(replies::TOO_LONG_HELD),
            () => None,
        }
    }

    fn data(&mut self) {
        match &self.session.transaction {
            None => self.wrong(&replies::MAIL_FIRST),
            // RFC 2033 section 4.2.
            Some(transaction) if transaction.recipients == 0 && self.config.lmtp => {
                self.wrong(&replies::RCPT_FIRST);
            }
            Some(transaction) if transaction.recipients == 0 => {
                self.reset(ResetReason::Refused(replies::NO_RECIPIENTS));
                self.wrong(&replies::NO_RECIPIENTS);
            }
            Some(_) if self.chunks.is_some() => self.wrong(&replies::CHUNKS_OPEN),
            Some(transaction) if transaction.binary => self.wrong(&replies::BINARY_NEEDS_BDAT),
            Some(_) => self.ask(Question::Data(None), Event::Data),
        }
    }

    /// Refuses a command before it is looked at, with the octets that belong to it.
    fn refuse_command(&mut self, command: &Command, refusal: Reply) {
        match *command {
            Command::Bdat { .. } if !self.config.chunking => {
                self.end(CloseReason::Abuse(Abuse::Chunk), Some(&replies::NO_CHUNKS));
            }
            Command::Bdat { size, last } => self.refuse_chunk(Chunk { left: size, last }, refusal, true),
            _ => self.wrong(&refusal),
        }
    }

    pub(super) fn refuse_chunk(&mut self, chunk: Chunk, refusal: Reply, stray: bool) {
        self.state = State::Content(Content::unwanted(&self.config, self.now, chunk, stray));
        self.refuse_content(refusal);
    }

    /// BDAT. Whatever becomes of it, its octets are read (BDAT-005).
    fn bdat(&mut self, chunk: Chunk) {
        if !self.config.chunking {
            return self.end(CloseReason::Abuse(Abuse::Chunk), Some(&replies::NO_CHUNKS));
        }
        if chunk.left == 0 && !chunk.last && !self.count_junk() {
            return;
        }
        if let Some((refusal, recipients)) = self.refused_chunks.take() {
            if !self.count_junk() {
                return;
            }
            let content = Content::unwanted(&self.config, self.now, chunk, false);
            self.state = State::Content(content.of(recipients));
            return self.refuse_content(refusal);
        }
        let refusal = match &self.session.transaction {
            None => Some(replies::MAIL_FIRST),
            // RFC 2033 section 4.3.
            Some(transaction) if transaction.recipients == 0 && self.config.lmtp => Some(replies::RCPT_FIRST),
            Some(transaction) if transaction.recipients == 0 => Some(replies::NO_RECIPIENTS),
            // RFC 5321 section 4.1.1.1: no extension without EHLO.
            Some(_) if self.session.hello.as_ref().is_some_and(|hello| !hello.extended) => {
                Some(replies::NOT_IMPLEMENTED)
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            return self.refuse_chunk(chunk, refusal, true);
        }
        match self.chunks.take() {
            Some(content) => self.state = State::Content(content.go_on(chunk)),
            None => self.ask(Question::Data(Some(Piece::Chunk(chunk))), Event::Data),
        }
    }

    /// BURL (RFC 4468): a piece of the content is elsewhere.
    fn burl(&mut self, url: AbsoluteUri, last: bool) {
        let transaction = self.session.transaction.as_ref();
        match transaction.map(|transaction| transaction.recipients) {
            _ if !self.config.takes_burl() => self.wrong(&replies::NOT_IMPLEMENTED),
            _ if self.wants_auth() => self.wrong(&replies::AUTH_REQUIRED),
            _ if self.session.hello.as_ref().is_some_and(|hello| !hello.extended) => {
                self.wrong(&replies::NOT_IMPLEMENTED);
            }
            None => self.wrong(&replies::MAIL_FIRST),
            Some(0) => {
                self.reset(ResetReason::Refused(replies::NO_RECIPIENTS));
                self.wrong(&replies::NO_RECIPIENTS);
            }
            Some(_) if self.chunks.is_some() => match self.end_piece() {
                Ok(()) => self.ask(Question::Burl(last), Event::Burl { url, last }),
                Err(refusal) => self.reply(&refusal),
            },
            Some(_) => self.ask(Question::Data(Some(Piece::Url(url, last))), Event::Data),
        }
    }

    /// ETRN (RFC 1985).
    fn etrn(&mut self, node: Node) {
        match () {
            () if !self.config.etrn => self.wrong(&replies::NOT_IMPLEMENTED),
            () if self.session.transaction.is_some() => self.wrong(&replies::IN_TRANSACTION),
            () => self.ask_junk(Question::Etrn, Event::Etrn(node)),
        }
    }

    fn query(&mut self, query: Query, event: fn(Query) -> Event) {
        if query.smtputf8 && !self.config.offers_smtputf8() {
            return self.wrong(&replies::UNKNOWN_PARAMETER);
        }
        if !query.smtputf8 && !query.text.is_ascii() {
            return self.wrong(&replies::NEEDS_SMTPUTF8);
        }
        self.ask_junk(Question::Query(query.smtputf8), event(query));
    }

    fn other(&mut self, verb: String, argument: String) {
        if self.wants_auth() {
            return self.wrong(&replies::AUTH_REQUIRED);
        }
        if self.redact {
            // The client has not noticed that its authentication is over: this may be a password.
            return self.wrong(&replies::UNKNOWN_COMMAND);
        }
        self.ask(Question::Other, Event::Other { verb, argument });
    }

    /// Refuses a wrong command.
    pub(super) fn wrong(&mut self, reply: &Reply) {
        if self.count_error() {
            self.reply(reply);
        }
    }

    /// Answers a command that brings no mail forward.
    pub(super) fn junk(&mut self, reply: &Reply) {
        if self.count_junk() {
            self.reply(reply);
        }
    }

    /// Asks about a command that brings no mail forward.
    pub(super) fn ask_junk(&mut self, question: Question, event: Event) {
        if self.count_junk() {
            self.ask(question, event);
        }
    }

    /// Counts a command that brings no mail forward. False when the session is over for it.
    fn count_junk(&mut self) -> bool {
        self.session.junk = self.session.junk.saturating_add(1);
        let limit = self.config.limits.junk_commands;
        if self.session.junk == limit.saturating_add(1) {
            self.events.push_back(Event::Abuse(Abuse::JunkCommands));
        }
        self.session.junk <= limit || self.count_error()
    }

    /// Counts a refused sender or recipient. False when the session is over for it.
    pub(super) fn count_refusal(&mut self) -> bool {
        self.session.refusals = self.session.refusals.saturating_add(1);
        let limit = self.config.limits.refusals;
        if self.session.refusals == limit.saturating_add(1) {
            self.events.push_back(Event::Abuse(Abuse::Refusals));
        }
        self.session.refusals <= limit || self.count_error()
    }
}
