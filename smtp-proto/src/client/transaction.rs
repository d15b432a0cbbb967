//! One message on its way: what was written of it, what came back.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::{Config, Transfer};
use super::envelope::{Content, Envelope, Recipient};
use super::outcome::{Outcome, RecipientOutcome};
use crate::error::{Error, Phase, Unsendable};
use crate::output::Output;
use crate::wire::{
    BareNewline, BodyType, ByMode, Capabilities, ContentEncoder, ContentFault, DeliverBy, Hold, MailParameters,
    NoSupportAction, RecipientParameters, Reply, Severity, Survey,
};

/// Content of which the server may have more than this before it has answered about the recipients is not sent before
/// that: it may be in vain.
const HASTY: u64 = 256 * 1024;

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
    pub(super) streamed: bool,
    /// Its size, as far as it is known.
    size: Option<u64>,
    /// It goes in chunks (RFC 3030).
    pub(super) chunked: bool,
    /// It began when nothing had been heard of the server for a while.
    pub(super) after_pause: bool,
    /// Content that will be the next chunk.
    pub(super) staged: Output,
    /// Chunks that have not been answered.
    pub(super) chunks_open: usize,
    /// RSET was written right behind it.
    pub(super) reset_behind: bool,
    /// The application has been asked for content and has not given any.
    pub(super) asked: bool,
    /// Why the client itself takes it back.
    pub(super) withdrawn: Option<Unsendable>,
    /// Replies to come.
    pub(super) outstanding: usize,
    answers: Vec<Answer>,
    /// What was asked for and left out, because the server does not offer it.
    left_out: Vec<&'static str>,
    /// The reply that refused it for all recipients, and to what.
    refusal: Option<(Phase, Reply)>,
    /// The reply to the content.
    verdict: Option<Reply>,
    /// What the server said of it does not fit together.
    doubtful: bool,
    /// Where in the output the content ends: once that much is written, the server may have it all.
    pub(super) end: Option<u64>,
}

/// What the server said about one recipient.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// To RCPT.
    reply: Option<Reply>,
    /// To the content, in LMTP.
    verdict: Option<Reply>,
    /// It was not asked: it takes no recipients of further domains in this session.
    unasked: bool,
}

impl Answer {
    fn is_accepted(&self) -> bool {
        self.reply.as_ref().is_some_and(Reply::is_positive)
    }

    fn is_lost(&self) -> bool {
        self.unasked || self.reply.as_ref().is_some_and(|reply| !reply.is_positive())
    }
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
        let (content, size) = match content {
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
            size,
            chunked: false,
            after_pause: false,
            staged: Output::for_chunk(),
            chunks_open: 0,
            reset_behind: false,
            asked: false,
            withdrawn: None,
            outstanding: 0,
            answers: alloc::vec![Answer::default(); count],
            left_out: Vec::new(),
            refusal: None,
            verdict: None,
            doubtful: false,
            end: None,
        }
    }

    /// The same for so many recipients at a time; the content is shared.
    pub(super) fn divide(mut self, most: usize, config: &Config) -> Vec<Self> {
        let content = self.content.front().cloned();
        let all = core::mem::take(&mut self.envelope.recipients);
        let part = |recipients: &[Recipient]| {
            let envelope = Envelope { recipients: recipients.to_vec(), ..self.envelope.clone() };
            Self::new(envelope, content.clone().map(Content::Whole), config)
        };
        all.chunks(most.max(1)).map(part).collect()
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
        let mut parameters = self.wishes(server)?;
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
        // Whole content can be sent several times.
        if self.streamed
            && let Some(limit) = server.limits().rcpt_max
            && usize::try_from(limit).is_ok_and(|limit| self.envelope.recipients.len() > limit)
        {
            return Err(Unsendable::TooManyRecipients { limit });
        }
        self.chunked = match config.transfer {
            Transfer::Data if !self.envelope.binary => false,
            Transfer::Auto if !self.envelope.binary => server.contains("CHUNKING"),
            _ if server.contains("CHUNKING") => true,
            _ => return Err(Unsendable::NeedsExtension("CHUNKING")),
        };
        let eight_bit_mime = server.contains("8BITMIME");
        if self.envelope.binary {
            if !server.contains("BINARYMIME") {
                return Err(Unsendable::NeedsExtension("BINARYMIME"));
            }
            self.encoder = ContentEncoder::binary();
            parameters.body = Some(BodyType::BinaryMime);
            self.size = self.content.front().and_then(|whole| u64::try_from(whole.len()).ok()).or(self.size);
        } else if self.chunked {
            self.encoder = ContentEncoder::chunked(config.bare_newline, config.text_line);
        }
        if self.envelope.binary {
            // Looked at by nobody.
        } else if self.streamed {
            // Whether it will be ASCII is not known yet: 8BITMIME says that it need not be.
            self.seven_bit = !eight_bit_mime;
            parameters.body = eight_bit_mime.then_some(BodyType::EightBitMime);
        } else if let Some(whole) = self.content.front() {
            let survey = Survey::new(whole, config.bare_newline);
            if survey.bare_newline && config.bare_newline == BareNewline::Reject {
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
            self.size = Some(survey.size);
        }
        if let (Some(size), Some(limit)) = (self.size, server.size_limit())
            && size > limit
        {
            return Err(Unsendable::TooLarge { size, limit });
        }
        parameters.size = self.size.filter(|_| server.contains("SIZE"));
        Ok(parameters)
    }

    /// What the envelope asks for, without what the server lacks and the standards let be left out.
    fn wishes(&mut self, server: &Capabilities) -> Result<MailParameters, Unsendable> {
        let Envelope { auth, ret, envelope_id, deliver_by, hold, priority, parameters, .. } = self.envelope.clone();
        let mut wishes = MailParameters { other: parameters, ..Default::default() };
        // RFC 2852 section 4.1: what is to be returned in time is returned now.
        let in_time = |by: &DeliverBy| by.mode() == ByMode::Return;
        if let Some(by) = deliver_by.filter(in_time) {
            let minimum = server.deliver_by_minimum().unwrap_or(0);
            match () {
                () if !server.contains("DELIVERBY") => return Err(Unsendable::NeedsExtension("DELIVERBY")),
                () if by.seconds() < i64::from(minimum) => {
                    return Err(Unsendable::TooSoon { seconds: by.seconds(), minimum });
                }
                () => {}
            }
        }
        if let Some(hold) = hold {
            if !server.contains("FUTURERELEASE") {
                return Err(Unsendable::NeedsExtension("FUTURERELEASE"));
            }
            let too_long = |maxima: crate::wire::FutureReleaseMaxima| match hold {
                Hold::For(interval) => interval.seconds() > maxima.interval.seconds(),
                Hold::Until(moment) => moment > maxima.date_time,
            };
            if server.future_release_maxima().is_some_and(too_long) {
                return Err(Unsendable::TooLongHeld);
            }
            wishes.hold = Some(hold);
        }
        wishes.auth = self.if_offered(auth, "AUTH", server);
        wishes.ret = self.if_offered(ret, "DSN", server);
        wishes.envelope_id = self.if_offered(envelope_id, "DSN", server);
        wishes.deliver_by = self.if_offered(deliver_by, "DELIVERBY", server);
        wishes.priority = self.if_offered(priority, "MT-PRIORITY", server);
        let rrvs = self.envelope.recipients.iter().filter_map(|recipient| recipient.parameters.rrvs.as_ref());
        if !server.contains("RRVS") && rrvs.clone().any(|rrvs| rrvs.action() == NoSupportAction::Reject) {
            return Err(Unsendable::NeedsExtension("RRVS"));
        }
        Ok(wishes)
    }

    fn if_offered<T>(&mut self, wish: Option<T>, extension: &'static str, server: &Capabilities) -> Option<T> {
        let wish = wish?;
        if server.contains(extension) {
            return Some(wish);
        }
        if !self.left_out.contains(&extension) {
            self.left_out.push(extension);
        }
        None
    }

    /// The parameters of RCPT, likewise.
    pub(super) fn recipient_parameters(&mut self, index: usize, server: &Capabilities) -> RecipientParameters {
        let recipient = self.envelope.recipients.get(index);
        let RecipientParameters { notify, original_recipient, rrvs, other } =
            recipient.map(|recipient| recipient.parameters.clone()).unwrap_or_default();
        RecipientParameters {
            notify: self.if_offered(notify, "DSN", server),
            original_recipient: self.if_offered(original_recipient, "DSN", server),
            rrvs: self.if_offered(rrvs, "RRVS", server),
            other,
        }
    }

    /// Whether content may go out before the server has said who gets it: when little is lost if nobody does, and the
    /// server is known to be there.
    pub(super) fn may_be_hasty(&self) -> bool {
        self.outstanding == 0 || !self.after_pause && self.size.is_some_and(|size| size <= HASTY)
    }

    /// The server said that it closes before it came to the content.
    pub(super) fn not_reached(&mut self) {
        self.end = None;
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
        if let Some(answer) = self.answers.get_mut(index) {
            answer.reply = Some(reply);
        }
    }

    /// The server is not asked about a recipient.
    pub(super) fn not_asked(&mut self, index: usize) {
        if let Some(answer) = self.answers.get_mut(index) {
            answer.unasked = true;
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

    /// The reply to the content for the next of the accepted recipients (RFC 2033 section 4.2). Whether there are more
    /// to come.
    pub(super) fn judged_for_one(&mut self, reply: Reply) -> bool {
        let mut waiting = self.answers.iter_mut().filter(|answer| answer.is_accepted() && answer.verdict.is_none());
        let Some(next) = waiting.next() else {
            // Nobody was accepted: one reply for all of it.
            self.judged(reply);
            return false;
        };
        next.verdict = Some(reply.clone());
        let more = waiting.next().is_some();
        if self.verdict.as_ref().is_none_or(|verdict| !verdict.is_positive()) {
            self.verdict = Some(reply);
        }
        more
    }

    /// Whether this reply to the content cannot be: the message is accepted although it was refused before, or by nobody.
    /// Nothing that was said of it is worth anything then.
    pub(super) fn is_contradicted_by(&mut self, reply: &Reply) -> bool {
        self.doubtful |= reply.is_positive() && (self.is_refused() || self.nobody_wants_it());
        self.doubtful
    }

    /// Whether the message was accepted for one recipient at least.
    pub(super) fn is_accepted_for_some(&self) -> bool {
        self.verdict.as_ref().is_some_and(Reply::is_positive)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Whether somebody was accepted.
    pub(super) fn somebody_wants_it(&self) -> bool {
        self.answers.iter().any(Answer::is_accepted)
    }

    /// Whether every recipient has been answered and none accepted.
    pub(super) fn nobody_wants_it(&self) -> bool {
        self.answers.iter().all(Answer::is_lost)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::Done && self.outstanding == 0
    }

    /// Whether the server may have all of it, now that so much has been written.
    pub(super) fn is_sent(&self, written: u64) -> bool {
        self.end.is_some_and(|end| written >= end)
    }

    /// What became of it, all replies having come or `error` having ended the wait for them.
    pub(super) fn outcome(mut self, error: Option<Error>, written: u64, lmtp: bool) -> Outcome {
        // Who counts wrongly, or leaves the client waiting, may have given no verdict yet. Who goes away has said all.
        let confused = matches!(error, Some(Error::Peer(_) | Error::Timeout { .. }));
        self.doubtful |= confused && self.reset_behind && self.outstanding > 0 && self.is_accepted_for_some();
        // What ended the session behind a verdict has not ended this.
        let error = error.filter(|_| lmtp || self.doubtful || self.verdict.is_none());
        // In LMTP each recipient has its own verdict.
        let judged =
            !lmtp && self.verdict.as_ref().is_some_and(Reply::is_positive) || self.probe && self.outstanding == 0;
        let sent = self.is_sent(written);
        let undelivered = || error.clone().unwrap_or(Error::Unsendable(Unsendable::Cancelled));
        let outcome = |answer: Answer| match answer {
            Answer { unasked: true, .. } => RecipientOutcome::Failed(Error::SessionUsedUp),
            _ if self.doubtful => RecipientOutcome::Unknown(undelivered()),
            Answer { verdict: Some(reply), .. } if reply.is_positive() => RecipientOutcome::Accepted(reply),
            Answer { verdict: Some(reply), .. } => RecipientOutcome::Refused { phase: Phase::EndOfData, reply },
            Answer { reply, .. } => match (reply, &self.refusal) {
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
                (_, None) if sent => RecipientOutcome::Unknown(undelivered()),
                _ => RecipientOutcome::Failed(undelivered()),
            },
        };
        let recipients = self.answers.into_iter().map(outcome).collect();
        Outcome { recipients, reply: self.verdict, left_out: self.left_out, error, session_over: false }
    }
}

/// What a fault of content means for its message.
pub(super) fn unsendable(fault: ContentFault, config: &Config) -> Unsendable {
    match fault {
        ContentFault::LineTooLong => Unsendable::LineTooLong { limit: config.text_line },
        ContentFault::BareNewline | ContentFault::Nul => Unsendable::BareNewline,
    }
}
