//! One message on its way: what was written of it, what came back.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::Config;
use super::envelope::{Content, Envelope};
use super::outcome::{Outcome, RecipientOutcome};
use crate::error::{Error, Phase, Unsendable};
use crate::wire::{BodyType, Capabilities, ContentEncoder, ContentFault, MailParameters, Reply, Severity, Survey};

/// A message on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// Only ask whether the recipients would be accepted.
    pub(super) probe: bool,
    pub(super) stage: Stage,
    /// Content that has not been encoded.
    pub(super) content: VecDeque<Bytes>,
    /// No more content comes.
    pub(super) ended: bool,
    pub(super) encoder: ContentEncoder,
    /// The server must not get 8-bit content.
    seven_bit: bool,
    /// The piece that is next has been looked at for that.
    checked: bool,
    streamed: bool,
    announced: Option<u64>,
    /// The application has been asked for content and has not given any.
    pub(super) asked: bool,
    pub(super) cancelled: bool,
    /// Replies to come.
    pub(super) outstanding: usize,
    replies: Vec<Option<Reply>>,
    /// The reply that refused it for all recipients, and to what.
    refusal: Option<(Phase, Reply)>,
    /// The reply to the content.
    verdict: Option<Reply>,
    /// Where in the output the content ends: once that much is written, the server may have it all.
    pub(super) end: Option<u64>,
}

/// What is written next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Mail,
    /// The recipient with this index.
    Rcpt(usize),
    Data,
    /// Nothing before the server says 354.
    GoAhead,
    Content,
    /// Everything is written.
    Done,
}

impl Transaction {
    pub(super) fn new(envelope: Envelope, content: Option<Content>, config: &Config) -> Self {
        let count = envelope.recipients.len();
        let (probe, streamed) = (content.is_none(), matches!(content, Some(Content::Streamed { .. })));
        let (content, announced) = match content {
            Some(Content::Whole(whole)) => (VecDeque::from([whole]), None),
            Some(Content::Streamed { size }) => (VecDeque::new(), size),
            None => (VecDeque::new(), None),
        };
        Self {
            envelope,
            probe,
            stage: Stage::Mail,
            content,
            ended: !streamed,
            encoder: ContentEncoder::new(config.bare_newline, config.text_line),
            seven_bit: false,
            checked: false,
            streamed,
            announced,
            asked: false,
            cancelled: false,
            outstanding: 0,
            replies: alloc::vec![None; count],
            refusal: None,
            verdict: None,
            end: None,
        }
    }

    /// The parameters of MAIL: what the server offers and this message needs. `verified`: TLS proved who the server is.
    ///
    /// # Errors
    /// When the message cannot be sent to this server.
    pub(super) fn parameters(
        &mut self,
        server: &Capabilities,
        verified: bool,
        config: &Config,
    ) -> Result<MailParameters, Unsendable> {
        let mut parameters = MailParameters { other: self.envelope.parameters.clone(), ..Default::default() };
        if let Some(non_ascii) = self.envelope.non_ascii() {
            if !server.contains("SMTPUTF8") {
                return Err(Unsendable::NeedsSmtpUtf8(non_ascii));
            }
            parameters.smtputf8 = true;
        }
        if self.envelope.requiretls {
            if !(verified && server.contains("REQUIRETLS")) {
                return Err(Unsendable::NeedsRequireTls);
            }
            parameters.requiretls = true;
        }
        if self.probe {
            return Ok(parameters);
        }
        let eight_bit_mime = server.contains("8BITMIME");
        let mut size = self.announced;
        if self.streamed {
            // Whether it will be ASCII is not known yet: 8BITMIME says that it need not be.
            self.seven_bit = !eight_bit_mime;
            parameters.body = eight_bit_mime.then_some(BodyType::EightBitMime);
        } else if let Some(whole) = self.content.front() {
            let survey = Survey::new(whole, config.bare_newline);
            if survey.bare_newline && config.bare_newline == crate::wire::BareNewline::Reject {
                return Err(Unsendable::BareNewline);
            }
            if survey.longest_line > config.text_line {
                return Err(Unsendable::LineTooLong { limit: config.text_line });
            }
            if survey.eight_bit {
                if !eight_bit_mime {
                    return Err(Unsendable::NeedsEightBitMime);
                }
                parameters.body = Some(BodyType::EightBitMime);
            }
            size = Some(survey.size);
        }
        if let (Some(size), Some(limit)) = (size, server.size_limit())
            && size > limit
        {
            return Err(Unsendable::TooLarge { size, limit });
        }
        parameters.size = size.filter(|_| server.contains("SIZE"));
        Ok(parameters)
    }

    /// What is wrong with the piece of content that is next, when only its being handed over shows that.
    pub(super) fn unsendable_piece(&mut self) -> Option<Unsendable> {
        let piece = self.content.front()?;
        let unseen = self.seven_bit && !core::mem::replace(&mut self.checked, true);
        (unseen && !piece.is_ascii()).then_some(Unsendable::NeedsEightBitMime)
    }

    /// The piece that was next is written.
    pub(super) fn next_piece(&mut self) {
        self.content.pop_front();
        self.checked = false;
    }

    /// The recipient's own reply.
    pub(super) fn recipient_replied(&mut self, index: usize, reply: Reply) {
        if let Some(slot) = self.replies.get_mut(index) {
            *slot = Some(reply);
        }
    }

    /// A reply that refuses the message for everybody.
    pub(super) fn refused(&mut self, phase: Phase, reply: Reply) {
        self.refusal.get_or_insert((phase, reply));
    }

    /// The reply to the content.
    pub(super) fn judged(&mut self, reply: Reply) {
        if !reply.is_positive() {
            self.refused(Phase::EndOfData, reply.clone());
        }
        self.verdict = Some(reply);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Whether every recipient has been answered and none accepted.
    pub(super) fn nobody_wants_it(&self) -> bool {
        self.replies.iter().all(|reply| reply.as_ref().is_some_and(|reply| !reply.is_positive()))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Done && self.outstanding == 0
    }

    /// What became of it, all replies having come or `error` having ended the wait for them.
    pub(super) fn outcome(self, error: Option<Error>, written: u64) -> Outcome {
        let judged = self.verdict.as_ref().is_some_and(Reply::is_positive) || self.probe && self.outstanding == 0;
        let sent = self.end.is_some_and(|end| written >= end);
        let undelivered = || error.clone().unwrap_or(Error::Unsendable(Unsendable::Cancelled));
        let recipients = self
            .replies
            .into_iter()
            .map(|reply| match (reply, &self.refusal) {
                (Some(reply), _) if reply.severity() != Severity::Positive => {
                    let (phase, reply) = match &self.refusal {
                        // RCPT fails behind a refused MAIL; the cause is the first.
                        Some((Phase::Mail, cause)) => (Phase::Mail, cause.clone()),
                        _ => (Phase::Rcpt, reply),
                    };
                    RecipientOutcome::Refused { phase, reply }
                }
                (_, Some((phase, cause))) => RecipientOutcome::Refused { phase: *phase, reply: cause.clone() },
                (Some(reply), None) if judged => RecipientOutcome::Accepted(reply),
                (Some(_), None) if sent => RecipientOutcome::Unknown(undelivered()),
                _ => RecipientOutcome::Failed(undelivered()),
            })
            .collect();
        Outcome { recipients, reply: self.verdict, error }
    }
}

/// What a fault of content means for its message.
pub(super) fn unsendable(fault: ContentFault, config: &Config) -> Unsendable {
    match fault {
        ContentFault::LineTooLong => Unsendable::LineTooLong { limit: config.text_line },
        ContentFault::BareNewline | ContentFault::Nul => Unsendable::BareNewline,
    }
}
