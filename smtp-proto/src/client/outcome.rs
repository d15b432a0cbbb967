//! What became of a message, recipient by recipient.

use alloc::vec::Vec;
use core::fmt;

use crate::error::{Error, Phase};
use crate::wire::{Reply, Severity};

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// For each recipient of the envelope, in its order.
    pub recipients: Vec<RecipientOutcome>,
    /// The server's reply to the whole message, with its queue id if it gives one.
    pub reply: Option<Reply>,
    /// Extensions that the envelope asked for and the server does not offer, where the message could go without: the
    /// keywords.
    pub left_out: Vec<&'static str>,
    /// What ended the attempt, when it was not a reply to this message.
    pub error: Option<Error>,
    /// Whether the session was over with it: connect again. Mailers do that by themselves, and never say so.
    pub session_over: bool,
}

/// What became of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipientOutcome {
    /// The server has taken responsibility. The reply is the one to this recipient.
    Accepted(Reply),
    /// The server refused.
    Refused {
        /// What it refused: the sender, this recipient, the wish to send, or the message.
        phase: Phase,
        /// Its reply.
        reply: Reply,
    },
    /// Not delivered: the attempt ended before the server had the whole message.
    Failed(Error),
    /// The attempt ended when the server may have had the whole message. Sending again may deliver it twice, not
    /// sending may lose it.
    Unknown(Error),
}

/// What became of a message as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Accepted for all recipients.
    Delivered,
    /// Accepted for some.
    Partial,
    /// Accepted for none.
    Refused,
    /// Unknown for at least one.
    Unknown,
}

impl Outcome {
    /// What became of the message as a whole.
    pub fn verdict(&self) -> Verdict {
        let count = |wanted: fn(&RecipientOutcome) -> bool| self.recipients.iter().filter(|one| wanted(one)).count();
        let accepted = count(RecipientOutcome::is_accepted);
        if count(|one| matches!(one, RecipientOutcome::Unknown(_))) > 0 {
            Verdict::Unknown
        } else if accepted == 0 {
            Verdict::Refused
        } else if accepted < self.recipients.len() {
            Verdict::Partial
        } else {
            Verdict::Delivered
        }
    }

    /// The same with what became of the message for further recipients.
    pub(super) fn followed_by(mut self, further: Self) -> Self {
        self.recipients.extend(further.recipients);
        self.left_out.extend(further.left_out);
        self.left_out.sort_unstable();
        self.left_out.dedup();
        if self.reply.as_ref().is_none_or(|reply| !reply.is_positive()) {
            self.reply = further.reply.or(self.reply.take());
        }
        self.error = self.error.take().or(further.error);
        self.session_over |= further.session_over;
        self
    }

    /// Whether the message was accepted for all recipients.
    pub fn is_delivered(&self) -> bool {
        self.verdict() == Verdict::Delivered
    }
}

impl RecipientOutcome {
    /// Whether the server has taken responsibility.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// Whether the same may succeed later, and does no harm: never where the outcome is unknown.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Accepted(_) | Self::Unknown(_) => false,
            // RFC 5321 section 4.5.3.1.10: too many recipients, whatever the first digit says.
            Self::Refused { phase: Phase::Rcpt, reply } if reply.code().value() == 552 => true,
            Self::Refused { reply, .. } => reply.severity() == Severity::Transient,
            Self::Failed(error) => error.is_transient(),
        }
    }

    /// Whether the same fails again unless something is changed.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Failed(_)) && !self.is_transient()
    }

    /// The reply about this recipient, if there was one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) | Self::Refused { reply, .. } => Some(reply),
            Self::Failed(error) | Self::Unknown(error) => error.reply(),
        }
    }
}

impl fmt::Display for RecipientOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(reply) => write!(f, "accepted: {reply}"),
            Self::Refused { phase, reply } => write!(f, "refused while {phase}: {reply}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Unknown(error) => write!(f, "unknown: {error}"),
        }
    }
}
