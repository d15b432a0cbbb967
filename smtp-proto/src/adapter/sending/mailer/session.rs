//! A connection of a mailer in use, and what the outcomes of messages say about it.

use std::future::Future;
use std::io;

use bytes::Bytes;

use super::Shared;
use super::places::{Connection, Lease};
use crate::adapter::Error;
use crate::adapter::sending::runtime::{Drive, Reads, Runtime};
use crate::client::{Envelope, Outcome, RecipientOutcome};
use crate::delivery::{Endpoint, HealthRecorder};
use crate::error::{Error as SessionError, Phase};

/// A connection in use. Whoever drops it loses it.
pub(super) struct Session<R: Runtime> {
    lease: Lease<R>,
    pub(super) connection: Connection<R>,
    /// It has been of use: where it ends now, that says nothing about the message.
    used: bool,
    /// The server takes no more over it.
    used_up: bool,
    /// It has ended under a message.
    ended: bool,
    /// How many messages it has had in this use.
    messages: u32,
}

impl<R: Runtime> Shared<R> {
    /// Waits for a place, with a connection that is in order or none; `None` when the mailer is closed.
    pub(super) async fn lease(&self) -> Option<Lease<R>> {
        loop {
            let mut lease = Lease::ask(&self.places).await?;
            if let Some(connection) = &mut lease.connection {
                connection.driver.glance();
                if connection.failure().is_some() {
                    // It has ended while nobody looked.
                    continue;
                }
            }
            return Some(lease);
        }
    }

    /// Connects, unless there is a connection.
    pub(super) async fn open(&self, mut lease: Lease<R>, endpoint: &Endpoint) -> Result<Session<R>, Error> {
        let kept = lease.connection.take();
        let used = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let connection = self.connector.clone().connect_endpoint(endpoint).await?;
                self.record(HealthRecorder::connection_opened);
                connection
            }
        };
        Ok(Session { lease, connection, used, used_up: false, ended: false, messages: 0 })
    }

    /// Sends once to the endpoint.
    pub(super) async fn attempt_endpoint<S: Source<R>>(
        &self,
        endpoint: &Endpoint,
        envelope: &Envelope,
        source: &S,
    ) -> Result<Outcome, Error> {
        loop {
            let lease = self.lease().await.ok_or(Error::MailerClosed)?;
            let mut session = self.open(lease, endpoint).await?;
            let content = match source.open().await {
                Ok(content) => content,
                Err(error) => {
                    session.give_back();
                    return Err(Error::Content(error));
                }
            };
            let began = R::now();
            match S::send(&mut session.connection, envelope.clone(), content).await {
                // It had ended by itself.
                Err(Error::Over { .. }) if session.used => {}
                Err(error) => return Err(error),
                Ok(outcome) => {
                    let took = R::now().saturating_duration_since(began);
                    self.record(|health| health.responded(took));
                    let judged = session.has_judged(&outcome);
                    session.give_back();
                    if judged {
                        return Ok(outcome);
                    }
                }
            }
        }
    }
}

impl<R: Runtime> Session<R> {
    /// How many more messages may be sent over it; others want a connection, too.
    pub(super) fn allowance(&self, turn: u32, is_wanted: bool) -> u32 {
        // Even where it takes long to connect, a message goes over each connection.
        let is_old = self.messages > 0 && self.lease.is_old();
        if self.used_up || is_old || self.connection.failure().is_some() {
            return 0;
        }
        let most = self.lease.allowance();
        if is_wanted { most.min(turn) } else { most }
    }

    /// Takes what became of a message. False when the session ended before it had to do with the message: by itself, as
    /// servers do after a while or after so many messages, or under one that was on its way before it. That was no attempt.
    pub(super) fn has_judged(&mut self, outcome: &Outcome) -> bool {
        self.used_up |= is_used_up(outcome);
        let (stale, unanswered) = (is_stale(outcome), is_unanswered(outcome));
        if (stale && self.used) || (unanswered && self.ended) {
            return false;
        }
        self.ended |= unanswered;
        if !stale {
            self.used = true;
            self.messages = self.messages.saturating_add(1);
        }
        true
    }

    /// Gives the connection back if it is in order. No message may be on its way.
    pub(super) fn give_back(self) {
        if self.connection.failure().is_none() {
            self.lease.give_back(self.connection, if self.used_up { u32::MAX } else { self.messages });
        }
    }
}

/// Whether the session was over before the server saw anything of the message.
fn is_stale(outcome: &Outcome) -> bool {
    outcome.recipients.iter().all(|recipient| match recipient {
        RecipientOutcome::Failed(
            SessionError::Disconnected { phase: Phase::Mail | Phase::Command }
            | SessionError::ServiceClosing { phase: Phase::Mail | Phase::Command, .. }
            | SessionError::GivenUp
            | SessionError::SessionUsedUp,
        ) => true,
        RecipientOutcome::Refused { phase: Phase::Mail, reply } => reply.is_service_closing(),
        _ => false,
    })
}

/// Whether the session ended, and the server has neither answered nor taken the message.
fn is_unanswered(outcome: &Outcome) -> bool {
    outcome.recipients.iter().all(|recipient| {
        let ended = |error: &SessionError| {
            matches!(error, SessionError::Disconnected { .. } | SessionError::ServiceClosing { .. })
        };
        matches!(recipient, RecipientOutcome::Failed(error) if ended(error))
    })
}

/// Whether the server takes no more over this connection.
fn is_used_up(outcome: &Outcome) -> bool {
    let used_up = |recipient| matches!(recipient, &RecipientOutcome::Failed(SessionError::SessionUsedUp));
    outcome.recipients.iter().any(used_up)
}

/// Where the content of a message comes from, in each attempt anew.
pub(super) trait Source<R: Runtime> {
    /// Content for one attempt.
    type Content;

    fn open(&self) -> impl Future<Output = io::Result<Self::Content>>;

    fn send(
        connection: &mut Connection<R>,
        envelope: Envelope,
        content: Self::Content,
    ) -> impl Future<Output = Result<Outcome, Error>>;
}

/// Content that is in memory.
pub(super) struct Whole(pub(super) Bytes);

impl<R: Runtime> Source<R> for Whole {
    type Content = Bytes;

    async fn open(&self) -> io::Result<Bytes> {
        Ok(self.0.clone())
    }

    async fn send(connection: &mut Connection<R>, envelope: Envelope, content: Bytes) -> Result<Outcome, Error> {
        connection.send(envelope, content).await
    }
}

/// Content that is read while it is sent.
pub(super) struct Opened<F> {
    pub(super) size: Option<u64>,
    pub(super) open: F,
}

impl<R, C, F, O> Source<R> for Opened<F>
where
    R: Runtime + Reads<C>,
    F: Fn() -> O,
    O: Future<Output = io::Result<C>>,
{
    type Content = (C, Option<u64>);

    async fn open(&self) -> io::Result<Self::Content> {
        Ok(((self.open)().await?, self.size))
    }

    async fn send(
        connection: &mut Connection<R>,
        envelope: Envelope,
        (content, size): Self::Content,
    ) -> Result<Outcome, Error> {
        connection.send_from(envelope, content, size).await
    }
}
