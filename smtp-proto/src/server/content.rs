//! What follows a 354 reply or a BDAT command: content for the application, read to its real end whatever becomes of the
//! message (H-SM-3, BDAT-005).

use bytes::{Buf, Bytes, BytesMut};

use super::command::Question;
use super::config::{Config, Timeouts};
use super::event::{Abuse, CloseReason, Decision, Event, ResetReason};
use super::{Server, State, replies};
use crate::error::ApiMisuse;
use crate::machine::Step;
use crate::time::Instant;
use crate::transcript::Speaker;
use crate::wire::{AbsoluteUri, ContentDecoder, Decoded, Reply};
use core::time::Duration;

/// A message coming in.
#[derive(Debug)]
pub(super) struct Content {
    decoder: ContentDecoder,
    /// The chunk that is coming in; `None` behind DATA.
    chunk: Option<Chunk>,
    /// Octets as they are (BINARYMIME).
    binary: bool,
    /// How many recipients it has, when it is refused.
    recipients: u32,
    /// There is no transaction that this belongs to: it is read and refused.
    stray: bool,
    started: Instant,
    /// Octets handed to the application.
    size: u64,
    /// Octets taken, with those that were dropped.
    received: u64,
    /// Of these, octets that came in earlier chunks.
    recorded: u64,
    /// What the reply will be, when that is clear before the end.
    refusal: Option<Reply>,
}

/// How a message begins that does not come behind DATA.
#[derive(Debug)]
pub(super) enum Piece {
    Chunk(Chunk),
    /// BURL, with whether it is the last.
    Url(AbsoluteUri, bool),
}

/// A chunk coming in (RFC 3030 section 2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// Octets to come.
    pub(super) left: u64,
    /// Whether it is the last of its message.
    pub(super) last: bool,
}

impl Content {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let longest = config.limits.text_line.max(crate::wire::MAX_TEXT_LINE);
        Self {
            decoder: ContentDecoder::new(config.bare_newline, config.allow_nul, longest),
            chunk: None,
            binary: false,
            stray: false,
            recipients: 0,
            started: now,
            size: 0,
            received: 0,
            recorded: 0,
            refusal: None,
        }
    }

    /// A message in chunks, of which the first comes in.
    pub(super) fn chunked(config: &Config, now: Instant, chunk: Chunk, binary: bool) -> Self {
        let longest = config.limits.text_line.max(crate::wire::MAX_TEXT_LINE);
        let decoder = ContentDecoder::chunked(config.bare_newline, config.allow_nul, longest);
        Self { decoder, chunk: Some(chunk), binary, ..Self::new(config, now) }
    }

    /// The same about recipients of a message that was refused before.
    pub(super) fn of(self, recipients: u32) -> Self {
        Self { recipients, ..self }
    }

    /// A chunk that is only read.
    pub(super) fn unwanted(config: &Config, now: Instant, chunk: Chunk, stray: bool) -> Self {
        Self { stray, ..Self::chunked(config, now, chunk, true) }
    }

    /// A further chunk comes in.
    pub(super) fn go_on(self, chunk: Chunk) -> Self {
        Self { chunk: Some(chunk), recorded: self.received, ..self }
    }

    fn decode(&mut self, rx: &mut BytesMut) -> Decoded {
        match &mut self.chunk {
            None => self.decoder.decode(rx),
            Some(Chunk { left: 0, .. }) if self.binary => Decoded::End,
            Some(Chunk { left, .. }) if self.binary => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rx.len());
                if here == 0 {
                    return Decoded::Partial;
                }
                *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
                Decoded::Content(rx.split_to(here).freeze())
            }
            Some(Chunk { left, last }) => self.decoder.decode_chunk(rx, left, *last),
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
        let decoded = content.decode(rx);
        let chunk = content.chunk;
        let stripped = content.decoder.take_stripped();
        if stripped > 0 && !self.discard(stripped) {
            return None;
        }
        match decoded {
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
                match chunk {
                    Some(Chunk { last, .. }) => self.chunk_end(last),
                    None => self.content_end(),
                }
                None
            }
        }
    }

    fn piece(&mut self, mut piece: Bytes) {
        let State::Content(content) = &mut self.state else { return };
        let length = octets(&piece);
        content.received = content.received.saturating_add(length);
        if content.refusal.is_some() {
            self.discard(length);
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
            self.discard(length.saturating_sub(room));
        }
    }

    /// Counts octets that are thrown away. False when the session is over for them.
    fn discard(&mut self, octets: u64) -> bool {
        self.discarded = self.discarded.saturating_add(octets);
        let endless = self.discarded > self.config.limits.discarded_content;
        if endless {
            self.end(CloseReason::Abuse(Abuse::EndlessContent), Some(&replies::ENDLESS));
        }
        !endless
    }

    fn content_end(&mut self) {
        let State::Content(content) = core::mem::replace(&mut self.state, State::Command) else {
            return;
        };
        self.since = self.now;
        self.transcript.content(self.now, Speaker::Client, content.received);
        match content.refusal {
            Some(refusal) if refusal.closes_connection() => self.end(CloseReason::Decision, Some(&refusal)),
            Some(refusal) => {
                for _ in 0..if self.config.lmtp { content.recipients } else { 1 } {
                    self.reply(&refusal);
                }
            }
            None => self.ask_message(content.size),
        }
    }

    fn ask_message(&mut self, size: u64) {
        let recipients = self.session.transaction.as_ref().map_or(0, |transaction| transaction.recipients);
        self.ask(Question::Message { recipients, size }, Event::MessageEnd { size });
    }

    /// The application wants the message whose first piece this is.
    pub(super) fn begin_chunks(&mut self, piece: Piece) {
        let binary = self.session.transaction.as_ref().is_some_and(|transaction| transaction.binary);
        let first = if let Piece::Chunk(chunk) = piece { chunk } else { Chunk { left: 0, last: false } };
        let content = Content::chunked(&self.config, self.now, first, binary);
        match piece {
            Piece::Chunk(_) => self.state = State::Content(content),
            Piece::Url(url, last) => {
                self.chunks = Some(content);
                self.ask(Question::Burl(last), Event::Burl { url, last });
            }
        }
    }

    /// A URL continues a message in chunks: nothing more comes behind the CR that the last of them may have ended with.
    pub(super) fn end_piece(&mut self) -> Result<(), Reply> {
        let Some(content) = &mut self.chunks else { return Ok(()) };
        let refusal = match content.decoder.decode_chunk(&mut BytesMut::new(), &mut 0, true) {
            Decoded::Content(piece) => {
                let size = content.size.saturating_add(octets(&piece));
                if size <= self.config.message_size() {
                    content.size = size;
                    self.events.push_back(Event::Body(piece));
                    return Ok(());
                }
                replies::TOO_LARGE
            }
            Decoded::Fault(fault) => replies::content_fault(fault),
            Decoded::Partial | Decoded::End => return Ok(()),
        };
        self.reset(ResetReason::Refused(refusal.clone()));
        Err(refusal)
    }

    /// The application has taken in what a URL names.
    pub(super) fn fetched(&mut self, last: bool, own: Option<Reply>) {
        match self.chunks.take() {
            Some(content) if last => self.ask_message(content.size),
            content => {
                self.chunks = content;
                self.reply(&own.unwrap_or(replies::CHUNK_OK));
            }
        }
    }

    /// One reply for each chunk, when all of it is there (BDAT-002).
    fn chunk_end(&mut self, last: bool) {
        let State::Content(content) = core::mem::replace(&mut self.state, State::Command) else {
            return;
        };
        self.since = self.now;
        self.transcript.content(self.now, Speaker::Client, content.received.saturating_sub(content.recorded));
        match content.refusal {
            Some(refusal) if refusal.closes_connection() => self.end(CloseReason::Decision, Some(&refusal)),
            Some(refusal) if content.stray => {
                self.wrong(&refusal);
                self.refused_chunks = (!last).then_some((refusal, 1));
            }
            Some(refusal) => {
                for _ in 0..if self.config.lmtp && last { content.recipients.max(1) } else { 1 } {
                    self.reply(&refusal);
                }
                // Its further chunks may be on their way.
                self.refused_chunks = (!last).then_some((refusal, content.recipients));
            }
            None if last => self.ask_message(content.size),
            None => {
                self.chunks = Some(content);
                self.reply(&replies::CHUNK_OK);
            }
        }
    }

    /// The message will be refused at its end. The application hears of it now.
    pub(super) fn refuse_content(&mut self, reply: Reply) {
        if let (State::Content(content), Some(transaction)) = (&mut self.state, &self.session.transaction) {
            content.recipients = transaction.recipients;
        }
        self.refused_chunks = None;
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
            Decision::Accept
            | Decision::Verdict(_)
            | Decision::Each(_)
            | Decision::Configure(_)
            | Decision::Reply(_) => {
                return Err(ApiMisuse::NothingToDecide);
            }
        }
        Ok(())
    }
}

fn octets(piece: &Bytes) -> u64 {
    u64::try_from(piece.remaining()).unwrap_or(u64::MAX)
}
