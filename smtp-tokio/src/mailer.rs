//! Mailers: what the adapters share, on tokio.

use std::future::Future;
use std::io;

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::{self, MailObserver, Resolver};
use smtp_proto::client::Envelope;
use smtp_proto::delivery::{Endpoint, Health, Policies, Report};
use tokio::io::AsyncRead;

use crate::client::Connector;
use crate::runtime::Tokio;

/// What becomes of messages that a mailer sends, as they come to their ends.
pub type Reports<M> = sending::Reports<Tokio, M>;

/// Sends messages from as many tasks as there are, to one server or to mail exchangers. Clones are the same.
///
/// It keeps connections and hands them to who asked first, tries again what failed for now, and keeps to a rate, as its
/// [`Policies`] say. A message that is dropped half-way, while it waits or while it is sent, takes its connection with it:
/// nobody else gets that.
///
/// When the last clone is dropped, idle connections are closed behind its back; [`Mailer::close`] waits for that.
#[derive(Debug, Clone)]
pub struct Mailer(sending::Mailer<Tokio>);

impl Mailer {
    /// To this endpoint, which is reached by this connector.
    pub fn new(connector: Connector, endpoint: Endpoint, policies: Policies) -> Self {
        Self(sending::Mailer::new(connector, endpoint, policies))
    }

    /// Without a relay: to the mail exchangers of each recipient's domain, at port 25 (RFC 5321 section 5.1).
    ///
    /// The hosts of a domain are tried in their order until one takes the session; the domains of a message side
    /// by side. Each message has connections of its own, as many at a time as the policy of the pool allows. The name of
    /// the client in the connector's configuration tells whether this host is among those of a domain.
    ///
    /// Few mail exchangers have certificates that can be verified: consider
    /// [`TlsPolicy::Opportunistic`](smtp_proto::client::TlsPolicy).
    pub fn direct(connector: Connector, resolver: impl Resolver, policies: Policies) -> Self {
        Self(sending::Mailer::direct(connector, resolver, policies))
    }

    /// All that a [`Url`](smtp_proto::delivery::Url) says. Nothing is connected yet.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        sending::Mailer::from_url(url).map(Self)
    }

    /// Sends a message, in as many attempts as it takes and the policy allows; what became of it for each recipient.
    ///
    /// # Errors
    /// When no attempt had a session with a server: what the last one failed with. And when the mailer was closed before,
    /// or the envelope is no possible one. All else is in the report.
    pub async fn send(&self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Report, Error> {
        self.0.send(envelope, content).await
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
        C: AsyncRead + Unpin,
        O: Future<Output = io::Result<C>>,
    {
        self.0.send_from(envelope, size, open).await
    }

    /// Sends messages over as many connections as the policy allows, and over each without waiting for one before the
    /// next, as [`Client::send_all`](crate::Client::send_all) does. Attempts, the rate and observers are as with
    /// [`Mailer::send`].
    ///
    /// The reports come as messages come to their ends, in no order. Messages are taken as they are needed.
    pub fn send_all<I, C>(&self, messages: I) -> Reports<I::IntoIter>
    where
        I: IntoIterator<Item = (Envelope, C)>,
        C: Into<Bytes>,
    {
        self.0.send_all(messages)
    }

    /// How sending goes.
    pub fn health(&self) -> Health {
        self.0.health()
    }

    /// Tells this observer of everything from now on; may be called for several.
    pub fn observe(&self, observer: impl MailObserver + 'static) {
        self.0.observe(observer);
    }

    /// Takes no more messages, and waits until those on a connection are done and all connections are closed. What waits
    /// for a connection, or for another attempt, is given up.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Sends a message to where a [`Url`](smtp_proto::delivery::Url) says, and closes the connection.
///
/// # Errors
/// When it was not accepted for all its recipients. [`Error::Undelivered`] has what became of each; other errors say why
/// there was no session in which to send it.
pub async fn send(
    url: &str,
    from: &str,
    to: impl IntoIterator<Item = impl AsRef<str>>,
    message: impl AsRef<[u8]>,
) -> Result<Report, Error> {
    sending::send::<Tokio, _>(url, from, to, message).await
}
