//! What follows a 354 reply: content for the application, read to its real end whatever becomes of the message
//! (H-SM-3).

use bytes::{Buf, Bytes, BytesMut};

use super::command::Question;
use super::config::{Config, Timeouts};
use super::event::{Abuse, CloseReason, Decision, Event, ResetReason};
use super::{Server, State, replies};
use crate::error::ApiMisuse;
use crate::machine::Step;
use crate::time::Instant;
use crate::transcript::Speaker;
use crate::wire::{ContentDecoder, Decoded, Reply};
use core::time::Duration;

/// A message coming in.
#[derive(Debug)]
pub(super) struct Content {
    decoder: ContentDecoder,
    started: Instant,
    /// Octets handed to the application.
    size: u64,
    /// Octets taken, with those that were dropped.
    received: u64,
    /// What the reply will be, when that is clear before the end.
    refusal: Option<Reply>,
}

impl Content {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let longest = config.limits.text_line.max(crate::wire::MAX_TEXT_LINE);
        Self {
            decoder: ContentDecoder::new(config.bare_newline, config.allow_nul, longest),
            started: now,
            size: 0,
            received: 0,
            refusal: None,
        }
    }

    /// Time has passed that is not the client's.
    pub(super) fn pause(&mut self, pause: Duration) {
        self.started = self.started.after(pause);
    }

    /// When the content must have ended, at the lowest rate allowed, if no more comes than came so far (LIM-013).
    pub(super) fn slowest_end(&self, timeouts: &Timeouts) -> Instant {
        match self.received.checked_div(timeouts.minimum_rate) {
            Some(seconds) => self.started.after(timeouts.content).after(Duration::from_secs(seconds)),
            None => Instant::since_epoch(Duration::MAX),
        }
    }
}

impl Server {
    /// Takes the next piece of content off `rx`.
    pub(super) fn next_content(&mut self, rx: &mut BytesMut) -> Option<Step<Event>> {
        let State::Content(content) = &mut self.state else {
            return None;
        };
        match content.decoder.decode(rx) {
            Decoded::Partial => self.starved(),
            Decoded::Content(piece) => {
                self.since = self.now;
                self.piece(piece);
                None
            }
            Decoded::Fault(fault) => {
                self.refuse_content(replies::content_fault(fault));
                None
            }
            Decoded::End => {
                self.content_end();
                None
            }
        }
    }

    fn piece(&mut self, mut piece: Bytes) {
        let State::Content(content) = &mut self.state else { return };
        let length = octets(&piece);
        content.received = content.received.saturating_add(length);
        if content.refusal.is_some() {
            if content.received.saturating_sub(content.size) > self.config.limits.discarded_content {
                self.end(CloseReason::Abuse(Abuse::EndlessContent), Some(&replies::ENDLESS));
            }
            return;
        }
        let room = self.config.message_size().saturating_sub(content.size);
        if length > room {
            piece.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
        content.size = content.size.saturating_add(octets(&piece));
        if !piece.is_empty() {
            self.events.push_back(Event::Body(piece));
        }
        if length > room {
            self.refuse_content(replies::TOO_LARGE);
        }
    }

    fn content_end(&mut self) {
        let State::Content(content) = core::mem::replace(&mut self.state, State::Command) else {
            return;
        };
        self.since = self.now;
        self.transcript.content(self.now, Speaker::Client, content.received);
        match content.refusal {
            Some(refusal) if refusal.closes_connection() => self.end(CloseReason::Decision, Some(&refusal)),
            Some(refusal) => self.reply(&refusal),
            None => self.ask(Question::Message, Event::MessageEnd { size: content.size }),
        }
    }

    /// The message will be refused at its end. The application hears of it now.
    pub(super) fn refuse_content(&mut self, reply: Reply) {
        self.reset(ResetReason::Refused(reply.clone()));
        if let State::Content(content) = &mut self.state {
            content.refusal.get_or_insert(reply);
        }
    }

    /// A decision while content comes in: only a refusal makes sense.
    pub(super) fn decided_in_content(&mut self, content: Content, decision: Decision) -> Result<(), ApiMisuse> {
        let decided = content.refusal.is_some();
        self.state = State::Content(content);
        match decision {
            Decision::Close(reply) => self.end(CloseReason::Decision, Some(&reply)),
            Decision::Reply(reply) if !reply.is_positive() && !decided => self.refuse_content(reply),
            // The core refused first: its reply stands.
            Decision::Reply(reply) if !reply.is_positive() => drop(reply),
            Decision::Accept | Decision::Verdict(_) | Decision::Reply(_) => return Err(ApiMisuse::NothingToDecide),
        }
        Ok(())
    }
}

fn octets(piece: &Bytes) -> u64 {
    u64::try_from(piece.remaining()).unwrap_or(u64::MAX)
}
