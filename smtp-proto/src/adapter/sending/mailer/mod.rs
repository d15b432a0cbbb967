//! Many messages from many tasks to one server: connections are kept, failures tried again.

mod direct;
mod observer;
mod places;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

pub use direct::Resolver;
pub use observer::MailObserver;
pub use places::Housekeeping;

use super::connector::Connector;
use super::runtime::{Drive, Runtime};
use crate::adapter::Error;
use crate::client::{Envelope, Outcome, RecipientOutcome};
use crate::delivery::{
    Delivery, Endpoint, Health, HealthRecorder, NextAttempt, Policies, RateLimit, Report, Retry, Url,
};
use crate::error::{Error as SessionError, Phase};
use crate::time::Instant;
use direct::AnyResolver;
use observer::Observers;
use places::{Connection, Lease, Places};

/// Sends messages from as many tasks or threads as there are, to one server or to mail exchangers. Clones are the same.
///
/// It keeps connections and hands them to who asked first, tries again what failed for now, and keeps to a rate, as its
/// [`Policies`] say. A message that is dropped half-way, while it waits or while it is sent, takes its connection with it:
/// nobody else gets that.
///
/// When the last clone is dropped, idle connections are closed behind its back; [`Mailer::close`] waits for that.
pub struct Mailer<R: Runtime> {
    shared: Arc<Shared<R>>,
}

struct Shared<R: Runtime> {
    connector: Connector<R>,
    route: Route,
    places: Arc<Places<R>>,
    retry: Retry,
    rate: Option<Mutex<RateLimit>>,
    health: Mutex<HealthRecorder>,
    observers: Observers,
    epoch: std::time::Instant,
}

/// Where messages go.
enum Route {
    Endpoint(Endpoint),
    /// To the mail exchangers of each recipient.
    Direct(Box<dyn AnyResolver>),
}

impl<R: Runtime> Mailer<R> {
    /// To this endpoint, which is reached by this connector.
    pub fn new(connector: Connector<R>, endpoint: Endpoint, policies: Policies) -> Self {
        Self::by(connector, Route::Endpoint(endpoint), policies)
    }

    /// Without a relay: to the mail exchangers of each recipient's domain, at port 25 (RFC 5321 section 5.1).
    ///
    /// The hosts of a domain are tried in their order until one takes the session; the domains of a message one after the
    /// other. Each message has connections of its own, as many at a time as the policy of the pool allows. The name of the
    /// client in the connector's configuration tells whether this host is among those of a domain.
    ///
    /// Few mail exchangers have certificates that can be verified: consider
    /// [`TlsPolicy::Opportunistic`](crate::client::TlsPolicy).
    pub fn direct(connector: Connector<R>, resolver: impl Resolver, policies: Policies) -> Self {
        Self::by(connector, Route::Direct(Box::new(resolver)), policies)
    }

    fn by(connector: Connector<R>, route: Route, policies: Policies) -> Self {
        let Policies { pool, retry, rate } = policies;
        let shared = Shared {
            connector,
            route,
            places: Arc::new(Places::new(pool)),
            retry,
            rate: rate.map(Mutex::new),
            health: Mutex::default(),
            observers: Observers::default(),
            epoch: R::now(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All that a [`Url`] says. Nothing is connected yet.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let url: Url = url.parse()?;
        Ok(Self::new(Connector::from_url(&url)?, url.endpoint().clone(), Policies::from(&url)))
    }

    /// Sends a message, in as many attempts as it takes and the policy allows; what became of it for each recipient.
    ///
    /// # Errors
    /// When no attempt had a session with a server: what the last one failed with. And when the mailer was closed before,
    /// or the envelope is no possible one. All else is in the report.
    pub async fn send(&self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Report, Error> {
        let shared = &*self.shared;
        let _under_way = shared.observers.under_way();
        let began = R::now();
        let result = shared.deliver(&envelope, &content.into()).await;
        let took = R::now().saturating_duration_since(began);
        shared.observers.tell(|observer| observer.done(&envelope, result.as_ref(), took));
        result
    }

    /// How sending goes.
    pub fn health(&self) -> Health {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).health()
    }

    /// Tells this observer of everything from now on; may be called for several.
    pub fn observe(&self, observer: impl MailObserver + 'static) {
        self.shared.observers.add(Arc::new(observer));
    }

    /// Takes no more messages, and waits until those on a connection are done and all connections are closed. What waits
    /// for a connection, or for another attempt, is given up.
    pub async fn close(&self) {
        self.shared.places.close();
        self.shared.places.closed().await;
    }
}

impl<R: Runtime> Shared<R> {
    async fn deliver(&self, envelope: &Envelope, content: &Bytes) -> Result<Report, Error> {
        envelope.check()?;
        let mut delivery = Delivery::new(envelope.clone(), self.retry.clone());
        let (mut failure, mut judged) = (None, false);
        while let Some(due) = delivery.envelope() {
            self.admitted().await;
            let attempt = self.attempt(due, content).await;
            let next = match attempt {
                Ok(outcome) => {
                    judged = true;
                    delivery.concluded(outcome, random())
                }
                Err(error) => {
                    self.record(|health| health.error(&error));
                    let next = delivery.failed(error.session_error(), random());
                    failure = Some(error);
                    next
                }
            };
            match next {
                NextAttempt::AtOnce => {}
                NextAttempt::After(delay) => {
                    self.record(HealthRecorder::retried);
                    self.observers.tell(|observer| observer.delayed(envelope, delay));
                    R::sleep_until(R::now().checked_add(delay)).await;
                }
                NextAttempt::Done => break,
            }
        }
        let report = delivery.report();
        self.record(|health| health.concluded(&report.outcome));
        match failure {
            Some(error) if !judged => {
                // It tells more.
                self.record(|health| health.error(&error));
                Err(error)
            }
            _ => Ok(report),
        }
    }

    /// Waits for the rate to allow another attempt.
    async fn admitted(&self) {
        let Some(rate) = &self.rate else { return };
        loop {
            let now = Instant::since_epoch(R::now().saturating_duration_since(self.epoch));
            let taken = rate.lock().unwrap_or_else(PoisonError::into_inner).take(now);
            match taken {
                Ok(()) => return,
                Err(later) => R::sleep_until(self.epoch.checked_add(later.elapsed())).await,
            }
        }
    }

    async fn attempt(&self, envelope: Envelope, content: &Bytes) -> Result<Outcome, Error> {
        let endpoint = match &self.route {
            Route::Endpoint(endpoint) => endpoint,
            Route::Direct(resolver) => return self.attempt_directly(&**resolver, &envelope, content).await,
        };
        loop {
            let Some(mut lease) = Lease::ask(&self.places).await else {
                return Err(Error::MailerClosed);
            };
            let kept = lease.connection.take();
            let used = kept.is_some();
            let mut connection = match kept {
                Some(mut connection) => {
                    connection.driver.glance();
                    if connection.failure().is_some() {
                        // It has ended while nobody looked.
                        continue;
                    }
                    connection
                }
                None => self.connect(endpoint).await?,
            };
            let began = R::now();
            let result = connection.send(envelope.clone(), content.clone()).await;
            if let Ok(outcome) = &result {
                let took = R::now().saturating_duration_since(began);
                self.record(|health| health.responded(took));
                if used && is_stale(outcome) {
                    continue;
                }
            }
            if connection.failure().is_none() {
                let used_up = result.as_ref().is_ok_and(is_used_up);
                lease.give_back(connection, if used_up { u32::MAX } else { 1 });
            }
            return result;
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection<R>, Error> {
        let connection = self.connector.clone().connect_endpoint(endpoint).await?;
        self.record(HealthRecorder::connection_opened);
        Ok(connection)
    }

    fn record(&self, record: impl FnOnce(&mut HealthRecorder)) {
        record(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether the server had ended the session before it saw anything of the message.
fn is_stale(outcome: &Outcome) -> bool {
    outcome.recipients.iter().all(|recipient| match recipient {
        RecipientOutcome::Failed(
            SessionError::Disconnected { phase: Phase::Mail } | SessionError::ServiceClosing { phase: Phase::Mail, .. },
        ) => true,
        RecipientOutcome::Refused { phase: Phase::Mail, reply } => reply.is_service_closing(),
        _ => false,
    })
}

/// Whether the server takes no more over this connection.
fn is_used_up(outcome: &Outcome) -> bool {
    let used_up = |recipient| matches!(recipient, &RecipientOutcome::Failed(SessionError::SessionUsedUp));
    outcome.recipients.iter().any(used_up)
}

/// 64 random bits: good enough to spread attempts.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl<R: Runtime> Drop for Shared<R> {
    fn drop(&mut self) {
        self.places.close();
    }
}

impl<R: Runtime> Clone for Mailer<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<R: Runtime> fmt::Debug for Mailer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = match &self.shared.route {
            Route::Endpoint(endpoint) => Some(endpoint),
            Route::Direct(_) => None,
        };
        f.debug_struct("Mailer").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}
