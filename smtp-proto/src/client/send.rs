//! What is written when: grouping by RFC 2920 where the server allows it, one command at a time where not.

use alloc::string::ToString;
use core::fmt;
use core::time::Duration;

use bytes::Buf;

use super::receive::{Awaited, Purpose};
use super::transaction::{Stage, unsendable};
use super::{Client, Event, RequestId, RequestKind, State};
use crate::error::{Error, Phase};
use crate::output::Output;
use crate::transcript::Speaker;
use crate::wire::Command;

/// A server that has been silent for so long may have gone: it is heard before it gets content in chunks, for if it does
/// not answer then, nobody would know what became of the message.
const PAUSE: Duration = Duration::from_secs(5);

impl Client {
    /// Writes what may be written now.
    pub(super) fn fill(&mut self) {
        while self.may_write() {
            if core::mem::take(&mut self.reset_due) {
                self.write(&Command::Rset, Awaited::new(Phase::Reset, Purpose::Reset));
                continue;
            }
            let Some(request) = self.requests.get(self.writing) else {
                return;
            };
            let id = request.id;
            match &request.kind {
                RequestKind::Command(line) => {
                    let line = line.clone();
                    self.write(&line, Awaited::new(Phase::Command, Purpose::Command(id)));
                    self.written_out();
                    self.synchronise = true;
                }
                RequestKind::Quit => {
                    self.write(&Command::Quit, Awaited::new(Phase::Quit, Purpose::Quit));
                    self.written_out();
                    self.synchronise = true;
                }
                RequestKind::Transaction(_) => {
                    if !self.advance(id) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the server is ready for another command, and there is room for it.
    fn may_write(&mut self) -> bool {
        let idle = self.awaited.is_empty();
        if idle {
            self.synchronise = false;
        }
        matches!(self.state, State::Ready)
            && !self.output.is_full()
            && (idle || self.pipelining && !self.synchronise && self.in_flight < self.config.in_flight)
    }

    /// The request being written has been; the next one follows.
    fn written_out(&mut self) {
        self.writing = self.writing.saturating_add(1);
        self.settle();
    }

    /// Writes the next part of the transaction. False when it has to wait.
    fn advance(&mut self, id: RequestId) -> bool {
        let verified = self.tls.as_ref().is_some_and(|tls| tls.verified);
        let after_pause = self.awaited.is_empty() && self.now >= self.heard.after(PAUSE);
        let Self { capabilities, config, .. } = self;
        let Some(super::Request { kind: RequestKind::Transaction(transaction), .. }) =
            self.requests.get_mut(self.writing)
        else {
            return false;
        };
        match transaction.stage {
            Stage::Mail if self.writing >= config.messages_in_flight.max(1) => return false,
            Stage::Mail if capabilities.limits().mail_max.is_some_and(|limit| self.mails >= limit) => {
                if let Some(request) = self.requests.remove(self.writing) {
                    self.conclude(request, Some(Error::SessionUsedUp));
                }
            }
            Stage::Mail => match transaction.parameters(capabilities, verified, config) {
                Err(unsendable) => {
                    if let Some(request) = self.requests.remove(self.writing) {
                        self.conclude(request, Some(unsendable.into()));
                    }
                }
                Ok(_)
                    if let Some(limit) = capabilities.limits().rcpt_max
                        && let Ok(most) = usize::try_from(limit)
                        && transaction.envelope.recipients.len() > most =>
                {
                    self.divide(most);
                }
                Ok(parameters) => {
                    transaction.stage = Stage::Rcpt(0);
                    transaction.after_pause = after_pause;
                    transaction.outstanding = 1;
                    self.mails = self.mails.saturating_add(1);
                    let reverse_path = transaction.envelope.reverse_path.clone();
                    self.write(
                        &Command::Mail { reverse_path, parameters },
                        Awaited::new(Phase::Mail, Purpose::Mail(id)),
                    );
                }
            },
            Stage::Rcpt(_) | Stage::Data if transaction.is_refused() || transaction.withdrawn.is_some() => {
                self.abandon();
            }
            Stage::Rcpt(index) => match transaction.envelope.recipients.get(index) {
                Some(recipient) => {
                    let forward_path = recipient.forward_path.clone();
                    transaction.stage = Stage::Rcpt(index.saturating_add(1));
                    if let Some(limit) = capabilities.limits().rcpt_domain_max
                        && let Some(mailbox) = forward_path.mailbox()
                    {
                        let domain = mailbox.domain().to_string().to_ascii_lowercase();
                        let full = u32::try_from(self.domains.len()).is_ok_and(|count| count >= limit);
                        if full && !self.domains.contains(&domain) {
                            transaction.not_asked(index);
                            return true;
                        }
                        self.domains.insert(domain);
                    }
                    let parameters = transaction.recipient_parameters(index, capabilities);
                    let command = Command::Rcpt { forward_path, parameters };
                    transaction.outstanding = transaction.outstanding.saturating_add(1);
                    self.write(&command, Awaited::new(Phase::Rcpt, Purpose::Rcpt(id, index)));
                }
                None if transaction.probe => self.abandon(),
                None => transaction.stage = Stage::Data,
            },
            Stage::Data if transaction.nobody_wants_it() => self.abandon(),
            Stage::Data if transaction.chunked && !transaction.may_be_hasty() => return false,
            Stage::Data if transaction.chunked => transaction.stage = Stage::Content,
            Stage::Data => {
                transaction.stage = Stage::GoAhead;
                transaction.outstanding = transaction.outstanding.saturating_add(1);
                self.write(&Command::Data, Awaited::new(Phase::Data, Purpose::Data(id)));
                self.synchronise = true;
            }
            Stage::Content if transaction.chunked => return self.write_chunk(id),
            Stage::Content => return self.write_content(id),
            Stage::GoAhead | Stage::Done => return false,
        }
        true
    }

    /// Nothing more of this transaction is written; RSET makes the server forget it.
    fn abandon(&mut self) {
        if let Some(transaction) = self.current() {
            transaction.stage = Stage::Done;
        }
        self.reset_due = true;
        self.written_out();
    }

    /// Writes content, and its end when there is no more. False when it has to wait for some.
    fn write_content(&mut self, id: RequestId) -> bool {
        let Self { output, config, since, now, .. } = self;
        if !output.has_remaining() {
            *since = *now;
        }
        let Some(super::Request { kind: RequestKind::Transaction(transaction), .. }) =
            self.requests.get_mut(self.writing)
        else {
            return false;
        };
        let written = match (transaction.unsendable_piece(), transaction.content.front_mut()) {
            (Some(unsendable), _) => Err(unsendable),
            (None, Some(piece)) => {
                let written = transaction.encoder.encode(piece, output);
                if piece.is_empty() {
                    transaction.next_piece();
                }
                written.map_err(|fault| unsendable(fault, config))
            }
            (None, None) if transaction.ended => {
                let written = transaction.encoder.finish(output);
                if written.is_ok() {
                    transaction.stage = Stage::Done;
                    transaction.outstanding = transaction.outstanding.saturating_add(1);
                    transaction.end = Some(output.position());
                    let octets = transaction.encoder.octets();
                    self.transcript.content(self.now, Speaker::Client, octets);
                    self.await_reply(Awaited::new(Phase::EndOfData, Purpose::EndOfData(id)));
                    self.content_written();
                    return true;
                }
                written.map_err(|fault| unsendable(fault, config))
            }
            (None, None) => {
                if !core::mem::replace(&mut transaction.asked, true) {
                    self.events.push_back(Event::WantContent(id));
                }
                return false;
            }
        };
        match written {
            Ok(()) => true,
            // There is no way to take back what was sent of it but to end the session without the final dot.
            Err(unsendable) => {
                self.fail(Error::Unsendable(unsendable));
                false
            }
        }
    }

    /// Gathers a chunk, and writes it when it is full or the last. False when it has to wait.
    fn write_chunk(&mut self, id: RequestId) -> bool {
        let Some(super::Request { kind: RequestKind::Transaction(transaction), .. }) =
            self.requests.get_mut(self.writing)
        else {
            return false;
        };
        // BDAT-018: what the server does not want gets no further chunk.
        if transaction.is_refused() || transaction.withdrawn.is_some() || transaction.nobody_wants_it() {
            self.abandon();
            return true;
        }
        if transaction.chunks_open >= self.config.chunks_in_flight.max(1) {
            return false;
        }
        if transaction.staged.is_full() {
            return self.send_chunk(id, false);
        }
        let gathered = match (transaction.unsendable_piece(), transaction.content.front_mut()) {
            (Some(unsendable), _) => Err(unsendable),
            (None, Some(piece)) => {
                let gathered = transaction.encoder.encode(piece, &mut transaction.staged);
                if piece.is_empty() {
                    transaction.next_piece();
                }
                gathered.map_err(|fault| unsendable(fault, &self.config))
            }
            // LMTP-007: how many replies it will have is known when all before it are there.
            (None, None) if transaction.ended && self.config.lmtp && transaction.outstanding > 0 => return false,
            (None, None) if transaction.ended => match transaction.encoder.finish(&mut transaction.staged) {
                Ok(()) => return self.send_chunk(id, true),
                Err(fault) => Err(unsendable(fault, &self.config)),
            },
            (None, None) => {
                if !core::mem::replace(&mut transaction.asked, true) {
                    self.events.push_back(Event::WantContent(id));
                }
                return false;
            }
        };
        // The last chunk has not been written, so it can be taken back.
        transaction.withdrawn = gathered.err();
        true
    }

    fn send_chunk(&mut self, id: RequestId, last: bool) -> bool {
        let Some((_, transaction)) = self.find(id) else {
            return false;
        };
        let mut staged = core::mem::take(&mut transaction.staged);
        transaction.staged = Output::for_chunk();
        transaction.outstanding = transaction.outstanding.saturating_add(1);
        let size = u64::try_from(staged.remaining()).unwrap_or(u64::MAX);
        let command = Command::Bdat { size, last };
        let awaited = match last {
            true => Awaited::new(Phase::EndOfData, Purpose::EndOfData(id)),
            false => Awaited::new(Phase::Content, Purpose::Chunk(id)),
        };
        let octets = self.write_line(&command);
        self.output.append(&mut staged);
        self.transcript.content(self.now, Speaker::Client, size);
        self.await_reply(awaited.to(octets));
        let end = self.output.position();
        if let Some((_, transaction)) = self.find(id) {
            if last {
                transaction.stage = Stage::Done;
                transaction.end = Some(end);
            } else {
                transaction.chunks_open = transaction.chunks_open.saturating_add(1);
            }
        }
        if last {
            self.reset_behind(id);
            self.content_written();
        }
        true
    }

    /// Has RSET follow the last chunk where it need not wait. RFC 3030 leaves open whether a refused last chunk ends the
    /// transaction; recipients of the next message must not join those of this one. And its reply shows that the one
    /// before is the verdict: all that a server says of a message in chunks looks the same, so that with one reply too many
    /// the answer to a recipient would pass for it.
    fn reset_behind(&mut self, id: RequestId) {
        if !self.pipelining || self.config.lmtp {
            return;
        }
        if let Some((_, transaction)) = self.find(id) {
            transaction.outstanding = transaction.outstanding.saturating_add(1);
            transaction.reset_behind = true;
            self.write(&Command::Rset, Awaited::new(Phase::Reset, Purpose::Behind(id)));
        }
    }

    /// All of a message has been written.
    fn content_written(&mut self) {
        self.written_out();
        // LMTP-007: no reply to something else is to be taken for a verdict, should there be fewer than recipients.
        self.synchronise |= self.config.lmtp;
    }

    /// Writes a command line.
    pub(super) fn write(&mut self, command: &dyn fmt::Display, awaited: Awaited) {
        let octets = self.write_line(command);
        self.await_reply(awaited.to(octets));
    }

    fn write_line(&mut self, command: &dyn fmt::Display) -> usize {
        let before = self.output.remaining();
        self.output.format(format_args!("{command}\r\n"));
        if self.transcript.is_on() {
            self.transcript.line(self.now, Speaker::Client, alloc::format!("{command}").as_bytes());
        }
        self.output.remaining().saturating_sub(before)
    }

    /// Ends a message that nobody wants although the server said 354: with nothing in it (RFC 2920 section 3.1).
    pub(super) fn write_nothing(&mut self) {
        self.output.push(bytes::Bytes::from_static(b".\r\n"));
        self.transcript.content(self.now, Speaker::Client, 0);
        self.await_reply(Awaited::new(Phase::EndOfData, Purpose::Ignored));
    }

    pub(super) fn await_reply(&mut self, mut awaited: Awaited) {
        awaited.end = self.output.position();
        if self.awaited.is_empty() {
            self.since = self.now;
        }
        self.in_flight = self.in_flight.saturating_add(awaited.octets);
        self.awaited.push_back(awaited);
    }
}
