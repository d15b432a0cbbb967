//! One message over several attempts: who is still to get it, and what became of it in the end.

use alloc::vec::Vec;
use core::time::Duration;

use super::retry::Retry;
use crate::client::{Envelope, Outcome, RecipientOutcome};
use crate::error::{Error, Phase, Unsendable};
use crate::wire::Reply;

/// One message on its way to all its recipients, over as many attempts as that takes and the policy allows.
///
/// Each attempt sends what [`Delivery::envelope`] gives and tells what came of it. Nobody is sent the message again who
/// was accepted or refused for good, or for whom nobody knows, unless [`Retry::resend_unknown`] says so.
///
/// Content that is read while it is sent goes to as many recipients at a time as the server takes (RFC 9422): who drives
/// this can read it again.
///
/// ```
/// use smtp_proto::client::Envelope;
/// use smtp_proto::delivery::{Delivery, NextAttempt, Retry};
/// use smtp_proto::{Error, Phase};
/// let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
/// let mut delivery = Delivery::new(envelope.clone(), Retry::default());
/// assert_eq!(delivery.envelope(), Some(envelope.clone()));
/// let next = delivery.failed(Error::Disconnected { phase: Phase::Mail }, 0);
/// assert!(matches!(next, NextAttempt::After(_)));
/// assert_eq!(delivery.envelope(), Some(envelope));
/// assert_eq!(delivery.report().attempts, 1);
/// # Ok::<(), smtp_proto::InvalidArgument>(())
/// ```
#[derive(Debug, Clone)]
pub struct Delivery {
    envelope: Envelope,
    retry: Retry,
    /// One for each recipient of the envelope.
    standings: Vec<Standing>,
    /// Recipients of one transaction: as few as any server wanted that could not be sent to for their number.
    most: usize,
    attempts: u32,
    /// The next transaction belongs to an attempt that has begun.
    further: bool,
    reply: Option<Reply>,
    left_out: Vec<&'static str>,
    error: Option<Error>,
}

/// How it stands with one recipient.
#[derive(Debug, Clone)]
struct Standing {
    turn: Turn,
    outcome: Option<RecipientOutcome>,
}

/// When a recipient is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// In the next transaction.
    Next,
    /// In the next attempt.
    Later,
    Never,
}

/// When a message is to be sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// At once, to recipients that the server would not take in the same transaction or session, while it took others.
    /// That is no attempt of its own.
    AtOnce,
    /// After this time.
    After(Duration),
    /// Not at all: [`Delivery::report`] says what became of it.
    Done,
}

/// What became of a message in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// For each recipient of the whole envelope, what the last attempt came to that included it. What a server replied
    /// stays when a later attempt failed for now without a reply; `Unknown` stays, unless a later attempt was accepted.
    /// The reply is a positive one if there was any; `error` is that of the last attempt.
    pub outcome: Outcome,
    /// Attempts that were made.
    pub attempts: u32,
}

impl Delivery {
    /// A message that nothing has been done about.
    pub fn new(envelope: Envelope, retry: Retry) -> Self {
        let standings = envelope.recipients.iter().map(|_| Standing { turn: Turn::Next, outcome: None }).collect();
        Self {
            envelope,
            retry,
            standings,
            most: usize::MAX,
            attempts: 0,
            further: false,
            reply: None,
            left_out: Vec::new(),
            error: None,
        }
    }

    /// The envelope of the next transaction: with those recipients alone that are still to get the message. `None` when
    /// there is nobody.
    pub fn envelope(&self) -> Option<Envelope> {
        let due = |(recipient, standing): (_, &Standing)| (standing.turn == Turn::Next).then_some(recipient);
        let recipients: Vec<_> =
            self.envelope.recipients.iter().zip(&self.standings).filter_map(due).take(self.most).cloned().collect();
        (!recipients.is_empty()).then(|| Envelope { recipients, ..self.envelope.clone() })
    }

    /// Takes what became of the envelope that was given last. `random`: 64 random bits.
    pub fn concluded(&mut self, outcome: Outcome, random: u64) -> NextAttempt {
        let given = self.standings.iter().filter(|standing| standing.turn == Turn::Next).count().min(self.most);
        if let Some(limit) = outcome.recipients.iter().filter_map(limit).min().filter(|limit| *limit < given) {
            self.most = limit;
        }
        self.conclude(outcome, given, random)
    }

    /// `given`: to how many recipients it was, the first of those who are due.
    fn conclude(&mut self, outcome: Outcome, given: usize, random: u64) -> NextAttempt {
        if self.standings.iter().all(|standing| standing.turn != Turn::Next) {
            return NextAttempt::Done;
        }
        if !self.further {
            self.attempts = self.attempts.saturating_add(1);
        }
        let first = !core::mem::replace(&mut self.further, true);
        let progress = outcome.recipients.iter().any(RecipientOutcome::is_accepted);
        let fewer = self.most < given;
        let mut outcomes = outcome.recipients.into_iter();
        for standing in self.standings.iter_mut().filter(|standing| standing.turn == Turn::Next).take(given) {
            let outcome = outcomes.next();
            standing.turn = match &outcome {
                // Nothing was said of it.
                Some(outcome) if fewer && limit(outcome).is_some() => continue,
                Some(outcome) => turn(outcome, progress, first, &self.retry),
                None => Turn::Later,
            };
            standing.take(outcome);
        }
        self.left_out.extend(outcome.left_out);
        self.left_out.sort_unstable();
        self.left_out.dedup();
        if self.reply.as_ref().is_none_or(|reply| !reply.is_positive()) {
            self.reply = outcome.reply.or(self.reply.take());
        }
        self.error = outcome.error;
        self.next(random)
    }

    /// Takes that an attempt failed before there was any outcome. `random`: 64 random bits.
    pub fn failed(&mut self, error: Error, random: u64) -> NextAttempt {
        let due = self.standings.iter().filter(|standing| standing.turn == Turn::Next);
        let recipients: Vec<_> = due.map(|_| RecipientOutcome::Failed(error.clone())).collect();
        let given = recipients.len();
        self.conclude(
            Outcome { recipients, reply: None, left_out: Vec::new(), error: Some(error), session_over: false },
            given,
            random,
        )
    }

    /// What has become of the message so far. Recipients that were in no attempt were withdrawn.
    pub fn report(&self) -> Report {
        let withdrawn = || RecipientOutcome::Failed(Unsendable::Cancelled.into());
        let outcome = |standing: &Standing| standing.outcome.clone().unwrap_or_else(withdrawn);
        let recipients = self.standings.iter().map(outcome).collect();
        let Self { reply, left_out, error, attempts, .. } = self.clone();
        Report { outcome: Outcome { recipients, reply, left_out, error, session_over: false }, attempts }
    }

    /// When to go on, and with whom.
    fn next(&mut self, random: u64) -> NextAttempt {
        if self.standings.iter().any(|standing| standing.turn == Turn::Next) {
            return NextAttempt::AtOnce;
        }
        self.further = false;
        let delay = self.retry.delay(self.attempts, random);
        let (turn, mut next) = match delay {
            Some(delay) => (Turn::Next, NextAttempt::After(delay)),
            None => (Turn::Never, NextAttempt::Done),
        };
        let mut later = self.standings.iter_mut().filter(|standing| standing.turn == Turn::Later).peekable();
        if later.peek().is_none() {
            next = NextAttempt::Done;
        }
        later.for_each(|standing| standing.turn = turn);
        next
    }
}

impl Standing {
    fn take(&mut self, outcome: Option<RecipientOutcome>) {
        let settles = |outcome: &RecipientOutcome| match &self.outcome {
            // A later refusal says nothing about the message that may have arrived.
            Some(RecipientOutcome::Unknown(_)) => {
                matches!(outcome, RecipientOutcome::Accepted(_) | RecipientOutcome::Unknown(_))
            }
            // What the server said tells more than that it could not be asked again.
            Some(before) if before.reply().is_some() => {
                !matches!(outcome, RecipientOutcome::Failed(error) if error.is_transient() && error.reply().is_none())
            }
            _ => true,
        };
        if let Some(outcome) = outcome.filter(settles) {
            self.outcome = Some(outcome);
        }
    }
}

/// When a recipient is sent to again. `progress`: others were accepted; `first`: in the first transaction of an attempt.
fn turn(outcome: &RecipientOutcome, progress: bool, first: bool, retry: &Retry) -> Turn {
    let turn = |again: bool| if again { Turn::Later } else { Turn::Never };
    match outcome {
        RecipientOutcome::Unknown(_) => turn(retry.resend_unknown),
        // Who withdraws a message does not want it to be sent later.
        RecipientOutcome::Failed(Error::Unsendable(Unsendable::Cancelled)) => Turn::Never,
        // A new session takes more; but one that takes nothing from the beginning is no progress.
        RecipientOutcome::Failed(Error::SessionUsedUp) if progress || first => Turn::Next,
        outcome if progress && is_one_too_many(outcome) => Turn::Next,
        outcome => turn(outcome.is_transient()),
    }
}

/// How many recipients the server takes, where these were too many for content that is read while it is sent.
fn limit(outcome: &RecipientOutcome) -> Option<usize> {
    match outcome {
        RecipientOutcome::Failed(Error::Unsendable(Unsendable::TooManyRecipients { limit })) => {
            usize::try_from(*limit).ok().filter(|limit| *limit > 0)
        }
        _ => None,
    }
}

/// Whether it was refused for the number of recipients alone (RFC 5321 section 4.5.3.1.10; X.5.3 of RFC 3463).
fn is_one_too_many(outcome: &RecipientOutcome) -> bool {
    match outcome {
        RecipientOutcome::Refused { phase: Phase::Rcpt, reply } => {
            matches!(reply.code().value(), 452 | 552)
                && reply.enhanced().is_none_or(|code| (code.subject(), code.detail()) == (5, 3))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NextAttempt::{After, AtOnce, Done};
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    fn delivery(recipients: usize) -> Delivery {
        let recipients = (0..recipients).map(|number| format!("{number}@b.test"));
        Delivery::new(Envelope::new("s@a.test", recipients).unwrap(), Retry::default())
    }

    fn due(delivery: &Delivery) -> Vec<String> {
        let recipients = delivery.envelope().map(|envelope| envelope.recipients).unwrap_or_default();
        recipients.iter().map(|recipient| recipient.to_string()[..1].to_string()).collect()
    }

    fn refused(phase: Phase, reply: &'static str) -> RecipientOutcome {
        RecipientOutcome::Refused { phase, reply: Reply::from_static(reply) }
    }

    fn rcpt(reply: &'static str) -> RecipientOutcome {
        refused(Phase::Rcpt, reply)
    }

    fn accepted() -> RecipientOutcome {
        RecipientOutcome::Accepted(Reply::from_static("250 ok"))
    }

    fn lost() -> Error {
        Error::Disconnected { phase: Phase::EndOfData }
    }

    fn outcome(recipients: impl IntoIterator<Item = RecipientOutcome>) -> Outcome {
        Outcome {
            recipients: recipients.into_iter().collect(),
            reply: None,
            left_out: Vec::new(),
            error: None,
            session_over: false,
        }
    }

    /// What one outcome of one recipient means when nobody was accepted.
    #[test]
    fn only_who_may_still_get_it_once_is_sent_to_again() {
        use RecipientOutcome::{Failed, Unknown};
        for (one, again) in [
            (accepted(), false),
            (rcpt("450 4.2.0 greylisted"), true),
            (rcpt("550 5.1.1 no such user"), false),
            (rcpt("452 4.5.3 too many"), true),
            (rcpt("552 too many"), true),
            (refused(Phase::Mail, "451 later"), true),
            (refused(Phase::EndOfData, "554 5.6.0 no"), false),
            (refused(Phase::EndOfData, "552 5.3.4 too big"), false),
            (Failed(lost()), true),
            (Failed(Unsendable::NeedsEightBitMime.into()), false),
            (Failed(Unsendable::Cancelled.into()), false),
            (Unknown(lost()), false),
        ] {
            let mut delivery = delivery(1);
            let next = delivery.concluded(outcome([one.clone()]), 0);
            assert_eq!(matches!(next, After(_)), again, "{one}");
            assert_eq!(next == Done, !again, "{one}");
            assert_eq!(delivery.envelope().is_some(), again, "{one}");
            assert_eq!(delivery.report().outcome.recipients, [one]);
        }
    }

    #[test]
    fn one_too_many_is_sent_to_at_once_while_others_are_accepted() {
        // LIM-007
        let mut delivery = delivery(5);
        let first = [accepted(), rcpt("450 x"), rcpt("452 4.5.3 x"), rcpt("552 x"), rcpt("452 4.2.2 mailbox full")];
        assert_eq!(delivery.concluded(outcome(first), 0), AtOnce);
        assert_eq!(due(&delivery), ["2", "3"]);
        assert_eq!(delivery.concluded(outcome([accepted(), rcpt("452 x")]), 0), AtOnce);
        assert_eq!(due(&delivery), ["3"]);
        assert_eq!(delivery.report().attempts, 1);
        // Now that it is alone it is not the number.
        assert_eq!(delivery.concluded(outcome([rcpt("452 x")]), 0), After(Duration::from_millis(500)));
        assert_eq!(due(&delivery), ["1", "3", "4"]);
        assert_eq!(
            delivery.concluded(outcome([accepted(), accepted(), rcpt("552 5.2.2 full")]), 0),
            After(Duration::from_secs(2))
        );
        assert_eq!(delivery.concluded(outcome([accepted()]), 0), Done);
        let report = delivery.report();
        assert!(report.outcome.is_delivered());
        assert_eq!(report.attempts, 3);
    }

    #[test]
    fn no_more_recipients_are_given_than_the_server_takes() {
        // EXT-005
        let too_many = |limit| RecipientOutcome::Failed(Unsendable::TooManyRecipients { limit }.into());
        let mut delivery = delivery(5);
        assert_eq!(delivery.concluded(outcome(vec![too_many(3); 5]), 0), AtOnce);
        assert_eq!(due(&delivery), ["0", "1", "2"]);
        // Another server, or another day.
        assert_eq!(delivery.concluded(outcome(vec![too_many(2); 3]), 0), AtOnce);
        assert_eq!(due(&delivery), ["0", "1"]);
        assert_eq!(delivery.concluded(outcome([accepted(), rcpt("450 x")]), 0), AtOnce);
        assert_eq!(due(&delivery), ["2", "3"]);
        // Without a session nobody of the rest is tried, either.
        assert!(matches!(delivery.failed(lost(), 0), After(_)));
        assert_eq!(due(&delivery), ["1", "2"]);
        assert_eq!(delivery.concluded(outcome([accepted(), accepted()]), 0), AtOnce);
        assert_eq!(delivery.concluded(outcome([accepted(), accepted()]), 0), Done);
        let report = delivery.report();
        assert!(report.outcome.is_delivered());
        assert_eq!(report.attempts, 2);
    }

    #[test]
    fn a_limit_that_cannot_be_is_no_reason_to_go_on() {
        for limit in [0, 2, 3] {
            let mut delivery = delivery(2);
            let too_many = RecipientOutcome::Failed(Unsendable::TooManyRecipients { limit }.into());
            assert_eq!(delivery.concluded(outcome(vec![too_many; 2]), 0), Done);
        }
    }

    #[test]
    fn another_session_is_asked_for_once_without_progress() {
        let mut delivery = delivery(2);
        let used_up = || RecipientOutcome::Failed(Error::SessionUsedUp);
        assert_eq!(delivery.concluded(outcome([used_up(), used_up()]), 0), AtOnce);
        assert_eq!(delivery.concluded(outcome([accepted(), used_up()]), 0), AtOnce);
        assert_eq!(due(&delivery), ["1"]);
        assert!(matches!(delivery.concluded(outcome([used_up()]), 0), After(_)));
        assert_eq!(delivery.report().attempts, 1);
    }

    #[test]
    fn a_session_that_fails_counts_and_the_last_attempt_is_the_last() {
        let mut delivery = delivery(2);
        for attempts in 1..4 {
            assert!(matches!(delivery.failed(lost(), 0), After(_)));
            assert_eq!(delivery.report().attempts, attempts);
        }
        assert_eq!(delivery.failed(lost(), 0), Done);
        assert_eq!(delivery.envelope(), None);
        assert_eq!(delivery.failed(lost(), 0), Done, "nothing was sent");
        let report = delivery.report();
        assert_eq!(report.attempts, 4);
        assert_eq!(report.outcome.recipients, [RecipientOutcome::Failed(lost()), RecipientOutcome::Failed(lost())]);
        assert_eq!(report.outcome.error, Some(lost()));
    }

    #[test]
    fn the_report_has_the_best_reply_all_that_was_left_out_and_the_last_error() {
        let mut delivery = delivery(2);
        let queued = Reply::from_static("250 queued as 1");
        let first =
            Outcome { reply: Some(queued.clone()), left_out: vec!["DSN"], ..outcome([accepted(), rcpt("450 x")]) };
        delivery.concluded(Outcome { error: Some(lost()), ..first }, 0);
        let second = outcome([refused(Phase::EndOfData, "554 no")]);
        delivery.concluded(
            Outcome { reply: Some(Reply::from_static("554 no")), left_out: vec!["AUTH", "DSN"], ..second },
            0,
        );
        let Outcome { reply, left_out, error, .. } = delivery.report().outcome;
        assert_eq!((reply, left_out, error), (Some(queued), vec!["AUTH", "DSN"], None));
    }

    #[test]
    fn what_the_server_said_is_not_displaced_by_its_silence() {
        let mut delivery = delivery(2);
        delivery.concluded(outcome([rcpt("450 4.2.0 greylisted"), RecipientOutcome::Failed(lost())]), 0);
        delivery.failed(Error::NotConnected, 0);
        let Outcome { recipients, error, .. } = delivery.report().outcome;
        assert_eq!(recipients, [rcpt("450 4.2.0 greylisted"), RecipientOutcome::Failed(Error::NotConnected)]);
        assert_eq!(error, Some(Error::NotConnected));
        // What is for good displaces it.
        let never = RecipientOutcome::Failed(Unsendable::NeedsEightBitMime.into());
        delivery.concluded(outcome([never.clone(), rcpt("451 now another")]), 0);
        assert_eq!(delivery.report().outcome.recipients, [never, rcpt("451 now another")]);
    }

    #[test]
    fn an_outcome_of_something_else_leaves_the_rest_for_the_next_attempt() {
        let mut delivery = delivery(2);
        assert!(matches!(delivery.concluded(outcome([accepted()]), 0), After(_)));
        assert_eq!(due(&delivery), ["1"]);
        assert_eq!(delivery.report().outcome.recipients[1], RecipientOutcome::Failed(Unsendable::Cancelled.into()));
        delivery.concluded(outcome([accepted(), accepted(), accepted()]), 0);
        assert!(delivery.report().outcome.is_delivered());
    }

    proptest! {
        #[test]
        fn every_delivery_ends_and_nobody_is_sent_to_who_may_have_it(
            count in 1usize..8,
            choices in proptest::collection::vec(0usize..9, 400),
            resend_unknown in any::<bool>(),
        ) {
            let outcomes = [
                accepted(),
                rcpt("550 no"),
                rcpt("450 later"),
                rcpt("452 too many"),
                RecipientOutcome::Failed(lost()),
                RecipientOutcome::Failed(Error::SessionUsedUp),
                RecipientOutcome::Unknown(lost()),
                refused(Phase::EndOfData, "451 later"),
                RecipientOutcome::Failed(Unsendable::TooManyRecipients { limit: 1 }.into()),
            ];
            let mut delivery = delivery(count);
            delivery.retry.resend_unknown = resend_unknown;
            let mut choices = choices.into_iter();
            let mut seen: BTreeMap<String, Vec<RecipientOutcome>> = BTreeMap::new();
            let mut delays = 0;
            let mut transactions = 0;
            while let Some(envelope) = delivery.envelope() {
                transactions += 1;
                prop_assert!(transactions <= 4 * (count + 2), "it does not end");
                let came: Vec<_> = envelope.recipients.iter().map(|_| outcomes[choices.next().unwrap()].clone()).collect();
                for (recipient, one) in envelope.recipients.iter().zip(&came) {
                    let before = seen.entry(recipient.to_string()).or_default();
                    let over = |one: &RecipientOutcome| match one {
                        RecipientOutcome::Unknown(_) => !resend_unknown,
                        one => !one.is_transient(),
                    };
                    prop_assert!(!before.iter().any(over), "{recipient}: {before:?}");
                    // It was not sent, and is with fewer.
                    if envelope.recipients.len() == 1 || limit(one).is_none() {
                        before.push(one.clone());
                    }
                }
                match delivery.concluded(outcome(came), 0) {
                    After(_) => delays += 1,
                    AtOnce => prop_assert!(delivery.envelope().is_some()),
                    Done => prop_assert_eq!(delivery.envelope(), None),
                }
            }
            let recipients = delivery.envelope.recipients.clone();
            let report = delivery.report();
            prop_assert_eq!(report.attempts, delays + 1);
            prop_assert!(report.attempts <= 4);
            for (recipient, one) in recipients.iter().zip(&report.outcome.recipients) {
                let came = &seen[&recipient.to_string()];
                let unknown = came.iter().find(|one| matches!(one, RecipientOutcome::Unknown(_)));
                let says = |one: &&RecipientOutcome| one.reply().is_some() || !one.is_transient();
                let last = came.iter().rev().find(says).unwrap_or(came.last().unwrap());
                prop_assert_eq!(one, unknown.filter(|_| !last.is_accepted()).unwrap_or(last));
            }
        }
    }
}
