//! One message on its way through a mailer: its attempts, and what is told of it.

use std::time::Instant;

use super::observer::{Observers, UnderWay};
use super::{Shared, random};
use crate::adapter::Error;
use crate::adapter::sending::runtime::Runtime;
use crate::client::{Envelope, Outcome, RecipientOutcome};
use crate::delivery::{Delivery, HealthRecorder, NextAttempt, Report};
use crate::error::Error as SessionError;

/// One message on its way.
pub(super) struct Message {
    envelope: Envelope,
    delivery: Delivery,
    /// What the last attempt failed with that came to no outcome, or why there was none.
    failure: Option<Error>,
    /// An attempt came to an outcome.
    judged: bool,
    /// No further attempt, whatever the policy says.
    over: bool,
    began: Instant,
    _under_way: UnderWay,
}

impl Message {
    pub(super) fn new<R: Runtime>(shared: &Shared<R>, envelope: Envelope) -> Self {
        let failure = envelope.check().err().map(Error::from);
        Self {
            delivery: Delivery::new(envelope.clone(), shared.retry.clone()),
            envelope,
            over: failure.is_some(),
            failure,
            judged: false,
            began: R::now(),
            _under_way: Observers::under_way(&shared.observers),
        }
    }

    /// The envelope of the next transaction; `None` when there is to be none.
    pub(super) fn due(&self) -> Option<Envelope> {
        if self.over { None } else { self.delivery.envelope() }
    }

    /// Whether there is to be no further attempt, whatever the policy says.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what came of an attempt.
    pub(super) fn attempted<R: Runtime>(&mut self, shared: &Shared<R>, attempt: Result<Outcome, Error>) -> NextAttempt {
        let next = match attempt {
            Ok(outcome) => {
                self.judged = true;
                self.delivery.concluded(outcome, random())
            }
            Err(error) if is_ours(&error) => {
                self.give_up(error);
                NextAttempt::Done
            }
            Err(error) => {
                shared.record(|health| health.error(&error));
                let next = self.delivery.failed(error.session_error(), random());
                self.failure = Some(error);
                next
            }
        };
        if let NextAttempt::After(delay) = next {
            shared.record(HealthRecorder::retried);
            shared.observers.tell(|observer| observer.delayed(&self.envelope, delay));
        }
        next
    }

    /// There is no further attempt, and that is no fault of the server's.
    pub(super) fn give_up(&mut self, error: Error) {
        self.over = true;
        match error {
            // What went wrong before says more.
            Error::MailerClosed => _ = self.failure.get_or_insert(error),
            error => self.failure = Some(error),
        }
    }

    /// What became of it when it was on its way, and whoever sent it is gone: nobody else is told.
    pub(super) fn lost(mut self) -> Report {
        let count = self.delivery.envelope().map_or(0, |envelope| envelope.recipients.len());
        let error = SessionError::GivenUp;
        let recipients = vec![RecipientOutcome::Unknown(error.clone()); count];
        self.delivery.concluded(
            Outcome { recipients, reply: None, left_out: Vec::new(), error: Some(error), session_over: false },
            0,
        );
        self.delivery.report()
    }

    /// What became of it, of which everybody is told.
    pub(super) fn ended<R: Runtime>(self, shared: &Shared<R>) -> Result<Report, Error> {
        let report = self.delivery.report();
        if report.attempts > 0 {
            shared.record(|health| health.concluded(&report.outcome));
        }
        let result = match self.failure {
            Some(error) if !self.judged => {
                if !is_ours(&error) {
                    // It tells more.
                    shared.record(|health| health.error(&error));
                }
                Err(error)
            }
            _ => Ok(report),
        };
        let took = R::now().saturating_duration_since(self.began);
        shared.observers.tell(|observer| observer.done(&self.envelope, result.as_ref(), took));
        result
    }
}

/// Whether an error says nothing about the server, and comes again however often it is tried.
pub(super) fn is_ours(error: &Error) -> bool {
    matches!(error, Error::Content(_) | Error::MailerClosed | Error::Url(_) | Error::Argument(_))
}
