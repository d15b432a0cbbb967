//! RCPT: those that a client sends in one go are decided at once, in any order; their replies keep theirs.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::BytesMut;

use super::command::Question;
use super::event::{CloseReason, Decision, Event, Recipient, Recipients};
use super::{Server, State, replies};
use crate::transcript::Speaker;
use crate::wire::{Command, ForwardPath, Line, RecipientParameters, Reply, Severity};

/// The most recipients that are asked about at once: what an application gets to hold for a client.
const MOST_AT_ONCE: usize = 100;

/// Recipients that have not been answered, in order.
#[derive(Debug)]
pub(super) struct OpenRecipients {
    recipients: Recipients,
    /// Those whom the application was asked about last.
    told: Recipients,
    /// The index of the first in the transaction.
    first: u32,
    decisions: VecDeque<Option<Decision>>,
}

impl OpenRecipients {
    /// Takes a decision about all that are undecided, or about the first of them.
    pub(super) fn decide_all(&mut self, decision: Decision) {
        let undecided = self.decisions.iter_mut().filter(|decision| decision.is_none());
        match decision {
            Decision::Each(decisions) => {
                // Whoever decides nothing is not asked for ever.
                let nothing = decisions.is_empty().then_some(Decision::Reply(replies::UNDECIDED));
                let told = self.told.clone();
                for (recipient, decision) in told.iter().zip(decisions.into_iter().chain(nothing)) {
                    // What has been decided by itself stands.
                    self.decide(recipient.index, decision);
                }
            }
            decision => undecided.for_each(|slot| *slot = Some(decision.clone())),
        }
    }

    /// Those that are still undecided: the application is asked about them again.
    pub(super) fn ask_again(&mut self) -> Option<Recipients> {
        let undecided = self.undecided();
        if let Some(undecided) = &undecided {
            self.told = undecided.clone();
        }
        undecided
    }

    fn undecided(&self) -> Option<Recipients> {
        let decided = self.recipients.len().saturating_sub(self.decisions.len());
        if self.decisions.iter().all(Option::is_none) {
            return self.recipients.behind(decided);
        }
        let open = self.recipients.iter().skip(decided).zip(&self.decisions);
        let open: Vec<_> = open.filter(|(_, decision)| decision.is_none()).map(|(open, _)| open.clone()).collect();
        (!open.is_empty()).then(|| Recipients::new(open))
    }

    /// Takes a decision about one. False when nothing is to be decided about it.
    pub(super) fn decide(&mut self, index: u32, decision: Decision) -> bool {
        let position = index.checked_sub(self.first).and_then(|position| usize::try_from(position).ok());
        match position.and_then(|position| self.decisions.get_mut(position)) {
            Some(slot @ None) => {
                *slot = Some(decision);
                true
            }
            _ => false,
        }
    }
}

impl Server {
    /// RCPT, and those behind it that are there already.
    pub(super) fn rcpt(&mut self, forward_path: ForwardPath, parameters: RecipientParameters, rx: &mut BytesMut) {
        if let Some(refusal) = self.rcpt_refusal(&forward_path, &parameters, 0) {
            let limit = refusal.severity() == Severity::Transient;
            if limit {
                self.session.note_refusal();
            }
            return if limit { self.reply(&refusal) } else { self.wrong(&refusal) };
        }
        let mut first = None;
        let mut recipients = Vec::new();
        let mut next = Some((forward_path, parameters));
        while let Some((forward_path, parameters)) = next {
            let Some(transaction) = &mut self.session.transaction else { return };
            let index = transaction.asked;
            transaction.asked = index.saturating_add(1);
            first.get_or_insert(index);
            self.note_domain(&forward_path);
            recipients.push(Recipient { index, forward_path, parameters });
            next = (recipients.len() < MOST_AT_ONCE).then(|| self.another(recipients.len(), rx)).flatten();
        }
        let decisions = recipients.iter().map(|_| None).collect();
        let recipients = Recipients::new(recipients);
        let first = first.unwrap_or_default();
        let open = OpenRecipients { recipients: recipients.clone(), told: recipients.clone(), first, decisions };
        self.ask(Question::Recipients(open), Event::Recipients(recipients));
    }

    /// Why a recipient is refused without a question, when so many others are being decided.
    fn rcpt_refusal(&self, forward_path: &ForwardPath, parameters: &RecipientParameters, open: usize) -> Option<Reply> {
        let Some(transaction) = &self.session.transaction else {
            return Some(replies::MAIL_FIRST);
        };
        let extended = self.session.hello.as_ref().is_some_and(|hello| hello.extended);
        let possible = transaction.recipients.saturating_add(u32::try_from(open).unwrap_or(u32::MAX));
        match () {
            () if self.chunks.is_some() => Some(replies::CHUNKS_OPEN),
            () if !(parameters.is_empty() || extended && self.config.recognises_rcpt(parameters)) => {
                Some(replies::UNKNOWN_PARAMETER)
            }
            () if !(forward_path.is_ascii() && parameters.is_ascii() || transaction.smtputf8) => {
                Some(replies::NEEDS_SMTPUTF8)
            }
            () if possible >= self.config.recipients() => Some(replies::TOO_MANY_RECIPIENTS),
            () if self.is_domain_too_many(forward_path) => Some(replies::TOO_MANY_DOMAINS),
            () => None,
        }
    }

    fn is_domain_too_many(&self, forward_path: &ForwardPath) -> bool {
        let Some(limit) = self.config.limits.recipient_domains else { return false };
        let known = &self.session.recipient_domains;
        let full = u32::try_from(known.len()).is_ok_and(|count| count >= limit);
        full && domain(forward_path).is_some_and(|domain| !known.contains(&domain))
    }

    /// Remembers the domain, where that matters.
    fn note_domain(&mut self, forward_path: &ForwardPath) {
        if self.config.limits.recipient_domains.is_some() {
            self.session.recipient_domains.extend(domain(forward_path));
        }
    }

    /// Takes one more RCPT off `rx`, if there is a whole one that has to be asked about.
    fn another(&mut self, open: usize, rx: &mut BytesMut) -> Option<(ForwardPath, RecipientParameters)> {
        let longest = self.command_line();
        let feed = memchr::memchr(b'\n', rx.get(..rx.len().min(longest))?)?;
        let line = rx.get(..feed)?.strip_suffix(b"\r")?;
        let Ok(Command::Rcpt { forward_path, parameters }) = Command::parse(line) else {
            return None;
        };
        if self.rcpt_refusal(&forward_path, &parameters, open).is_some() {
            return None;
        }
        // The reader finds the same line.
        if let Line::Whole(line) = self.lines.read(rx, longest, self.config.limits.discarded_line) {
            self.transcript.line(self.now, Speaker::Client, &line);
        }
        Some((forward_path, parameters))
    }

    /// Replies as far as decisions have been made in order.
    pub(super) fn answer_recipients(&mut self, open: &mut OpenRecipients) {
        while let Some(Some(_)) = open.decisions.front() {
            let decision = open.decisions.pop_front().flatten();
            open.first = open.first.saturating_add(1);
            self.state = State::Command;
            self.answer_recipient(decision.unwrap_or(Decision::Reply(replies::UNDECIDED)));
            if matches!(self.state, State::Ended) {
                open.decisions.clear();
            }
        }
    }

    /// Goes on waiting for what is not decided yet.
    pub(super) fn wait_for_recipients(&mut self, open: OpenRecipients) {
        if !open.decisions.is_empty() {
            self.state = State::Asked(Question::Recipients(open));
        }
    }

    fn answer_recipient(&mut self, decision: Decision) {
        if matches!(&decision, Decision::Reply(reply) | Decision::Close(reply) if !reply.is_positive()) {
            self.session.note_refusal();
        }
        let own = match decision {
            Decision::Reply(reply) if reply.is_positive() => Some(reply),
            Decision::Close(reply) => return self.end(CloseReason::Decision, Some(&reply)),
            Decision::Reply(reply) if reply.closes_connection() => {
                return self.end(CloseReason::Decision, Some(&reply));
            }
            Decision::Reply(reply) => {
                if reply.severity() != Severity::Permanent || self.count_refusal() {
                    self.reply(&reply);
                }
                return;
            }
            Decision::Accept | Decision::Configure(_) | Decision::Verdict(_) | Decision::Each(_) => None,
        };
        if let Some(transaction) = &mut self.session.transaction {
            transaction.recipients = transaction.recipients.saturating_add(1);
        }
        self.reply(&own.unwrap_or(replies::RECIPIENT_OK));
    }
}

/// The domain that a recipient counts for.
fn domain(forward_path: &ForwardPath) -> Option<String> {
    forward_path.mailbox().map(|mailbox| mailbox.domain().to_string().to_ascii_lowercase())
}
