//! What a decision of the application does, and the reply it becomes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::command::Question;
use super::content::Piece;
use super::event::{CloseReason, Decision, Hello, ResetReason};
use super::{Content, Server, State, replies};
use crate::error::ApiMisuse;
use crate::sasl::Verdict;
use crate::wire::{Reply, ReplyCode, ReplyForm, Severity};

impl Server {
    /// The decision, or what stands in for one that does not fit the question.
    pub(super) fn fitting(&self, decision: Decision) -> (Decision, Option<ApiMisuse>) {
        let question = match &self.state {
            State::Asked(question) => question,
            State::Content(_) => return fitting_reply(decision, false),
            _ => return (decision, None),
        };
        match (question, decision) {
            (Question::Recipients(_), Decision::Each(decisions)) => each_fitting(decisions, false),
            // RFC 2033 section 4.2: one reply for each recipient.
            (Question::Message { .. }, Decision::Each(decisions)) if self.config.lmtp => each_fitting(decisions, true),
            (Question::Connect | Question::Hello(_) | Question::Xclient(_), Decision::Configure(config))
                if self.config.fits(&config) =>
            {
                (Decision::Configure(config), None)
            }
            (Question::Authenticate(_), Decision::Verdict(verdict)) => (Decision::Verdict(verdict), None),
            // Nobody is to get in because somebody did not look.
            (Question::Authenticate(_), Decision::Accept) => {
                (Decision::Reply(replies::UNDECIDED), Some(ApiMisuse::UnfitDecision))
            }
            (question, decision) => {
                let concluded = matches!(
                    question,
                    Question::Message { .. } | Question::Query(_) | Question::Help | Question::Etrn | Question::Other
                );
                fitting_reply(decision, concluded)
            }
        }
    }

    /// Does what was decided, and replies.
    pub(super) fn decided(&mut self, question: Question, decision: Decision) {
        self.state = State::Command;
        if let Question::Message { recipients, size } = question {
            // Whatever was decided: the message is no longer on its way. And the client is not to wait for what has
            // been decided longer than it must: it would send the message again.
            if is_negative(&decision) && !self.config.lmtp {
                self.session.note_refusal();
            }
            self.session.transaction = None;
            self.session.asserted.forwarded.clear();
            self.flush = true;
            if self.config.lmtp {
                return self.deliver(&decision, recipients, size);
            }
        }
        let question = match question {
            Question::Authenticate(exchange) => return self.judged(exchange, decision),
            Question::AuthenticationFailed(exchange) => match decision {
                Decision::Close(reply) => return self.end(CloseReason::Decision, Some(&reply)),
                Decision::Reply(reply) if !reply.is_positive() => {
                    return self.tell_auth_failure(exchange, Some(reply));
                }
                _ => return self.tell_auth_failure(exchange, None),
            },
            question => question,
        };
        if matches!(question, Question::Mail(_)) && is_negative(&decision) {
            self.session.note_refusal();
        }
        match decision {
            Decision::Close(reply) if matches!(question, Question::Message { .. }) && reply.is_positive() => {
                self.accept(question, Some(reply));
                self.end(CloseReason::Decision, None);
            }
            Decision::Close(reply) => self.end(CloseReason::Decision, Some(&reply)),
            Decision::Configure(config) => {
                if matches!(question, Question::Connect) {
                    self.first_config = Arc::clone(&config);
                }
                self.config = config;
                self.accept(question, None);
            }
            // Other verdicts, and several decisions, do not get here.
            Decision::Accept | Decision::Verdict(_) | Decision::Each(_) => self.accept(question, None),
            Decision::Reply(reply) if reply.is_positive() => self.accept(question, Some(reply)),
            Decision::Reply(reply) if reply.closes_connection() => self.end(CloseReason::Decision, Some(&reply)),
            Decision::Reply(reply) => self.refuse(&question, &reply),
        }
    }

    fn accept(&mut self, question: Question, own: Option<Reply>) {
        let usual = match question {
            Question::Connect => return self.greet(own.as_ref()),
            Question::Hello(hello) => return self.welcome(hello, own.as_ref()),
            Question::StartTls => {
                self.state = State::StartTls;
                return;
            }
            // Dealt with before.
            Question::Authenticate(_) | Question::AuthenticationFailed(_) | Question::Recipients(_) => return,
            Question::Data(Some(piece)) => return self.begin_chunks(piece),
            Question::Burl(last) => return self.fetched(last, own),
            Question::Etrn => replies::QUEUING,
            Question::Xclient(attributes) => return self.become_other(attributes),
            Question::Data(None) => {
                self.reply(&replies::START_CONTENT);
                self.state = State::Content(Content::new(&self.config, self.now));
                return;
            }
            Question::Mail(transaction) => {
                self.session.transaction = Some(transaction);
                self.session.transactions = self.session.transactions.saturating_add(1);
                replies::SENDER_OK
            }
            Question::Message { size, .. } => {
                self.count_message(size);
                replies::MESSAGE_ACCEPTED
            }
            Question::Query(utf8) => {
                let form = ReplyForm { utf8, ..self.reply_form() };
                return self.reply_in(&own.unwrap_or(replies::CANNOT_VERIFY), form);
            }
            Question::Help => replies::HELP,
            Question::Other => {
                if own.is_none() {
                    self.wrong(&replies::UNKNOWN_COMMAND);
                    return;
                }
                replies::OK
            }
        };
        self.reply(&own.unwrap_or(usual));
    }

    fn refuse(&mut self, question: &Question, reply: &Reply) {
        match question {
            Question::Connect => {
                self.no_service = true;
                self.reply_in(reply, ReplyForm::default());
                return;
            }
            Question::Hello(_) => return self.reply_in(reply, ReplyForm::default()),
            Question::StartTls => return self.junk(reply),
            Question::Data(Some(Piece::Chunk(chunk))) => return self.refuse_chunk(*chunk, reply.clone(), false),
            Question::Data(_) | Question::Burl(_) => self.reset(ResetReason::Refused(reply.clone())),
            // What the application does not know either.
            Question::Other if reply.severity() == Severity::Permanent => return self.wrong(reply),
            Question::Mail(_) if reply.severity() == Severity::Permanent && !self.count_refusal() => return,
            _ => {}
        }
        self.reply(reply);
    }

    fn count_message(&mut self, size: u64) {
        self.session.messages = self.session.messages.saturating_add(1);
        self.session.octets = self.session.octets.saturating_add(size);
        self.session.errors = 0;
        self.session.junk = 0;
        self.session.refusals = 0;
        self.discarded = 0;
    }

    /// Says what becomes of a message for each of its recipients, in their order (RFC 2033 section 4.2).
    fn deliver(&mut self, decision: &Decision, recipients: u32, size: u64) {
        let each = match decision {
            Decision::Each(decisions) => decisions.as_slice(),
            _ => &[],
        };
        let missing = Decision::Reply(replies::UNDECIDED);
        let (mut accepted, mut closing) = (false, matches!(decision, Decision::Close(_)));
        for index in 0..recipients {
            let one = match decision {
                Decision::Each(_) => usize::try_from(index).ok().and_then(|index| each.get(index)).unwrap_or(&missing),
                decision => decision,
            };
            let reply = match one {
                Decision::Reply(reply) | Decision::Close(reply) => reply.clone(),
                _ => replies::MESSAGE_ACCEPTED,
            };
            accepted |= reply.is_positive();
            if !reply.is_positive() {
                self.session.note_refusal();
            }
            closing |= matches!(one, Decision::Close(_)) || reply.closes_connection();
            self.reply(&reply);
        }
        if accepted {
            self.count_message(size);
        }
        if closing {
            self.end(CloseReason::Decision, None);
        }
    }

    pub(super) fn greet(&mut self, own: Option<&Reply>) {
        let usual = if self.config.lmtp { "LMTP" } else { "ESMTP" };
        let text = own.map_or(self.config.greeting.as_deref().unwrap_or(usual), Reply::text);
        self.hello_reply(220, format!("{} {text}", self.config.hostname()));
        self.flush = true;
    }

    fn welcome(&mut self, hello: Hello, own: Option<&Reply>) {
        self.reset(ResetReason::Hello);
        let mut text = self.config.hostname().to_string();
        // On one line: what follows is read as the list of capabilities.
        for line in own.into_iter().flat_map(|own| own.text().lines()) {
            text.push(' ');
            text.push_str(line);
        }
        if hello.extended {
            text.push('\n');
            // What an XCLIENT in clear has said must not be lost, and nothing said in clear survives a handshake.
            let tls_possible = !self.tls_unavailable && self.session.asserted.client.is_empty();
            let (tls, authenticated) = (self.session.tls.is_some(), !self.wants_auth());
            let mechanisms = self.offered_mechanisms();
            let offered = self.config.offered(tls, tls_possible, &mechanisms, authenticated);
            text.push_str(&offered.to_string());
        }
        self.hello_reply(250, text);
        self.session.hello = Some(hello);
    }

    /// The greeting or the reply to the hello, which have no enhanced codes (RFC 2034 section 4).
    fn hello_reply(&mut self, code: u16, text: String) {
        if let Some(Ok(reply)) = ReplyCode::new(code).map(|code| Reply::new(code, None, text)) {
            self.reply_in(&reply, ReplyForm::default());
        }
    }
}

/// Whether it refuses.
fn is_negative(decision: &Decision) -> bool {
    matches!(decision, Decision::Reply(reply) | Decision::Close(reply) if !reply.is_positive())
}

/// As [`fitting_reply`], about several.
fn each_fitting(decisions: Vec<Decision>, concludes: bool) -> (Decision, Option<ApiMisuse>) {
    let mut misuse = None;
    let fitting = decisions.into_iter().map(|decision| {
        let (decision, problem) = fitting_reply(decision, concludes);
        misuse = misuse.take().or(problem);
        decision
    });
    let fitting = fitting.collect();
    (Decision::Each(fitting), misuse)
}

/// The decision about one thing, or what stands in for one that does not fit. Where nothing is `concluded` by it, as a
/// message or a query is, the session cannot be closed with a positive reply: the client would take what it sends next
/// for accepted.
pub(super) fn fitting_reply(decision: Decision, concluded: bool) -> (Decision, Option<ApiMisuse>) {
    match decision {
        Decision::Reply(reply) | Decision::Close(reply) if reply.severity() == Severity::Intermediate => {
            (Decision::Reply(replies::UNDECIDED), Some(ApiMisuse::UnfitReply(reply)))
        }
        Decision::Close(reply) if reply.is_positive() && !concluded => {
            (Decision::Close(replies::FAILED), Some(ApiMisuse::UnfitReply(reply)))
        }
        Decision::Verdict(verdict) if verdict != Verdict::Accepted => {
            (Decision::Reply(replies::UNDECIDED), Some(ApiMisuse::UnfitDecision))
        }
        Decision::Each(_) | Decision::Configure(_) => {
            (Decision::Reply(replies::UNDECIDED), Some(ApiMisuse::UnfitDecision))
        }
        decision => (decision, None),
    }
}
