//! Mailers: what the adapters share, on threads that wait.

use std::future::ready;
use std::io::{self, Read};
use std::net::SocketAddr;

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::{self, MailObserver};
use smtp_proto::client::Envelope;
use smtp_proto::delivery::{Endpoint, Health, Policies, Report};

use crate::client::Connector;
use crate::runtime::Threads;
use crate::waiting::finished;

/// Looks up what delivery without a relay has to know.
///
/// An error says that nobody knows, so that the message is tried again later; a name that does not exist has no records.
/// Names come as they are in addresses: those that are not ASCII (RFC 6531) are for the resolver to convert.
pub trait Resolver: Send + Sync + 'static {
    /// Preferences and hosts of the MX records of a domain; none when it has none.
    ///
    /// # Errors
    /// When nobody knows.
    fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>>;

    /// The addresses of a host, with this port; none when it has none.
    ///
    /// # Errors
    /// When nobody knows.
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The same as the shared parts know it.
struct Resolving<T>(T);

impl<T: Resolver> sending::Resolver for Resolving<T> {
    async fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        self.0.mail_exchangers(domain)
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.addresses(host, port)
    }
}

/// Sends messages from as many threads as there are, to one server or to mail exchangers. Clones are the same.
///
/// It keeps connections and hands them to who asked first, tries again what failed for now, and keeps to a rate, as its
/// [`Policies`] say.
///
/// When the last clone is dropped, idle connections are closed by a thread of its own; [`Mailer::close`] waits for that.
#[derive(Debug, Clone)]
pub struct Mailer(sending::Mailer<Threads>);

impl Mailer {
    /// To this endpoint, which is reached by this connector.
    pub fn new(connector: Connector, endpoint: Endpoint, policies: Policies) -> Self {
        Self(sending::Mailer::new(connector.0, endpoint, policies))
    }

    /// Without a relay: to the mail exchangers of each recipient's domain, at port 25 (RFC 5321 section 5.1).
    ///
    /// The hosts of a domain are tried in their order until one takes the session; the domains of a message one after the
    /// other. Each message has connections of its own, as many at a time as the policy of the pool allows. The name of
    /// the client in the connector's configuration tells whether this host is among those of a domain.
    ///
    /// Few mail exchangers have certificates that can be verified: consider
    /// [`TlsPolicy::Opportunistic`](smtp_proto::client::TlsPolicy).
    pub fn direct(connector: Connector, resolver: impl Resolver, policies: Policies) -> Self {
        Self(sending::Mailer::direct(connector.0, Resolving(resolver), policies))
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
    pub fn send(&self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Report, Error> {
        finished(self.0.send(envelope, content))
    }

    /// Sends a message while it is read, such as one in a file: `open` is called for each attempt. `size` is its size with
    /// CRLF line ends, if that is known.
    ///
    /// # Errors
    /// As [`Mailer::send`]. And when the content cannot be opened or read ([`Error::Content`]): that is not tried again.
    pub fn send_from<C: Read>(
        &self,
        envelope: Envelope,
        size: Option<u64>,
        open: impl Fn() -> io::Result<C>,
    ) -> Result<Report, Error> {
        finished(self.0.send_from(envelope, size, || ready(open())))
    }

    /// Sends messages over as many connections as the policy allows, each with a thread of its own, and over each without
    /// waiting for one before the next, as [`Client::send_all`](crate::Client::send_all) does. Attempts, the rate and
    /// observers are as with [`Mailer::send`].
    ///
    /// The reports come as messages come to their ends, in no order. Messages are taken as they are needed.
    pub fn send_all<I, C>(&self, messages: I) -> Reports<I::IntoIter>
    where
        I: IntoIterator<Item = (Envelope, C)>,
        C: Into<Bytes>,
    {
        Reports(self.0.send_all(messages))
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
    pub fn close(&self) {
        finished(self.0.close());
    }
}

/// What becomes of messages that a mailer sends, as they come to their ends: the place of each among them, counted from 0,
/// and what [`Mailer::send`] would give.
///
/// Messages are taken while reports are waited for: a few more than may be on their way, and 1000 or 256 MiB at most that
/// have not been told of. When this is dropped, messages that have not begun are not sent, and those on their way are given up
/// with their connections, each as soon as what it waits for at the moment comes, or does not come in time.
#[must_use = "nothing is sent unless the reports are asked for"]
pub struct Reports<M>(sending::Reports<Threads, M>);

impl<M, C> Iterator for Reports<M>
where
    M: Iterator<Item = (Envelope, C)>,
    C: Into<Bytes>,
{
    type Item = (usize, Result<Report, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        finished(self.0.next())
    }
}

/// Sends a message to where a [`Url`](smtp_proto::delivery::Url) says, and closes the connection.
///
/// # Errors
/// When it was not accepted for all its recipients. [`Error::Undelivered`] has what became of each; other errors say why
/// there was no session in which to send it.
pub fn send(
    url: &str,
    from: &str,
    to: impl IntoIterator<Item = impl AsRef<str>>,
    message: impl AsRef<[u8]>,
) -> Result<Report, Error> {
    finished(sending::send::<Threads, _>(url, from, to, message))
}
