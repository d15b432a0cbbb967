//! Many messages from many tasks to one server: connections are kept, failures tried again.

mod batch;
mod direct;
mod message;
mod observer;
mod places;
mod reports;
mod session;
mod task;
mod worker;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub use direct::Resolver;
pub use observer::MailObserver;
pub use reports::Reports;
pub use task::Task;

use super::connector::Connector;
use super::runtime::{Reads, Runtime};
use crate::adapter::Error;
use crate::adapter::serving::either;
use crate::client::{Envelope, Outcome};
use crate::delivery::{Endpoint, Health, HealthRecorder, NextAttempt, Policies, RateLimit, Report, Retry, Url};
use crate::time::Instant;
use direct::AnyResolver;
use message::Message;
use observer::Observers;
use places::Places;
use session::{Opened, Source, Whole};

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
    observers: Arc<Observers>,
    /// Connections at a time.
    most: usize,
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
    /// The hosts of a domain are tried in their order until one takes the session; the domains of a message side
    /// by side. Each message has connections of its own, as many at a time as the policy of the pool allows. The name of
    /// the client in the connector's configuration tells whether this host is among those of a domain.
    ///
    /// Few mail exchangers have certificates that can be verified: consider
    /// [`TlsPolicy::Opportunistic`](crate::client::TlsPolicy).
    pub fn direct(connector: Connector<R>, resolver: impl Resolver, policies: Policies) -> Self {
        Self::by(connector, Route::Direct(Box::new(resolver)), policies)
    }

    fn by(connector: Connector<R>, route: Route, policies: Policies) -> Self {
        let Policies { pool, retry, rate } = policies;
        let shared = Shared {
            most: pool.connections.max(1),
            connector,
            route,
            places: Arc::new(Places::new(pool)),
            retry,
            rate: rate.map(Mutex::new),
            health: Mutex::default(),
            observers: Arc::default(),
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
        let message = Message::new(&self.shared, envelope);
        self.shared.deliver(message, &Whole(content.into())).await
    }

    /// Sends a message while it is read, such as one in a file: `open` is called for each attempt. `size` is its size with
    /// CRLF line ends, if that is known.
    ///
    /// # Errors
    /// As [`Mailer::send`]. And when the content cannot be opened or read ([`Error::Content`]): that is not tried again.
    pub async fn send_from<C, O>(
        &self,
        envelope: Envelope,
        size: Option<u64>,
        open: impl Fn() -> O,
    ) -> Result<Report, Error>
    where
        R: Reads<C>,
        O: Future<Output = io::Result<C>>,
    {
        let message = Message::new(&self.shared, envelope);
        self.shared.deliver(message, &Opened { size, open }).await
    }

    /// Sends messages over as many connections as the policy allows, and over each without waiting for one before the
    /// next, as [`Client::send_all`](super::Client::send_all) does. Attempts, the rate and observers are as with
    /// [`Mailer::send`].
    ///
    /// The reports come as messages come to their ends, in no order. Messages are taken as they are needed.
    pub fn send_all<I, C>(&self, messages: I) -> Reports<R, I::IntoIter>
    where
        I: IntoIterator<Item = (Envelope, C)>,
        C: Into<Bytes>,
    {
        Reports::new(Arc::clone(&self.shared), messages.into_iter())
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
    async fn deliver<S: Source<R>>(&self, mut message: Message, source: &S) -> Result<Report, Error> {
        while let Some(due) = message.due() {
            let attempt = match self.admitted().await {
                Ok(()) => self.attempt(&due, source).await,
                Err(closed) => Err(closed),
            };
            // A further attempt finds out by itself that the mailer is closed.
            if let NextAttempt::After(delay) = message.attempted(self, attempt) {
                self.rested(Some(after::<R>(delay))).await;
            }
        }
        message.ended(self)
    }

    /// Waits for a moment, but not when the mailer is closed.
    async fn rested(&self, until: Option<std::time::Instant>) {
        either(pin!(self.places.ending()), pin!(R::sleep_until(until))).await;
    }

    /// Waits for the rate to allow another attempt.
    async fn admitted(&self) -> Result<(), Error> {
        loop {
            if self.places.is_ending() {
                return Err(Error::MailerClosed);
            }
            match self.admit() {
                Ok(()) => return Ok(()),
                Err(later) => self.rested(Some(later)).await,
            }
        }
    }

    /// Counts another attempt, or tells when to ask again.
    fn admit(&self) -> Result<(), std::time::Instant> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let elapsed = R::now().saturating_duration_since(self.epoch);
        let taken = rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::since_epoch(elapsed));
        taken.map_err(|later| after::<R>(later.elapsed().saturating_sub(elapsed)))
    }

    async fn attempt<S: Source<R>>(&self, envelope: &Envelope, source: &S) -> Result<Outcome, Error> {
        match &self.route {
            Route::Endpoint(endpoint) => self.attempt_endpoint(endpoint, envelope, source).await,
            Route::Direct(resolver) => self.attempt_directly(&**resolver, envelope, source).await,
        }
    }

    fn record(&self, record: impl FnOnce(&mut HealthRecorder)) {
        record(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The moment so long from now. What the system cannot tell is a day away: then it is looked at again.
fn after<R: Runtime>(delay: Duration) -> std::time::Instant {
    let now = R::now();
    now.checked_add(delay).or_else(|| now.checked_add(Duration::from_secs(86_400))).unwrap_or(now)
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
