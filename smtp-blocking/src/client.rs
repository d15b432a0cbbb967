//! The client: what the adapters share, on threads that wait.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::InvalidArgument;
use smtp_proto::TlsInfo;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending;
#[cfg(feature = "socks")]
use smtp_proto::adapter::sending::Socks5;
#[cfg(feature = "tls")]
use smtp_proto::adapter::tls::ClientTls;
use smtp_proto::client::{Config, Envelope, Outcome};
use smtp_proto::delivery::{Endpoint, Url};
use smtp_proto::transcript::Entry;
use smtp_proto::wire::{Capabilities, Reply};

use crate::runtime::Threads;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::waiting::finished;

/// Opens connections to servers. A clone opens the same.
#[derive(Debug, Clone)]
pub struct Connector(pub(crate) sending::Connector<Threads>);

/// A session with a server.
///
/// When a call fails half-way, the next one withdraws the message as far as that is possible
/// ([`smtp_proto::client::Client::cancel`]).
pub struct Client<S: Stream = Socket>(sending::Client<Threads, S>);

impl Connector {
    /// With this configuration, the system's trust for TLS, 30 s for each address of a server, and no transcript.
    pub fn new(config: Config) -> Self {
        Self(sending::Connector::new(config))
    }

    /// What a URL says of sessions. Where it has no name for the client, that is the address of this end of the
    /// connection (RFC 5321 section 4.1.4).
    ///
    /// # Errors
    /// None that a URL leads to.
    pub fn from_url(url: &Url) -> Result<Self, InvalidArgument> {
        sending::Connector::from_url(url).map(Self)
    }

    /// Whom to trust when the session goes under TLS, and what to show. Keep it for further connections: clones share
    /// what makes those faster.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        Self(self.0.tls(tls))
    }

    /// How long to wait for a connection to one of a server's addresses. Default 30 s.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self(self.0.connect_timeout(connect_timeout))
    }

    /// From which of this host's addresses to connect. Servers are then reached by that protocol alone, IPv4 or IPv6.
    #[must_use]
    pub fn source_address(self, source_address: IpAddr) -> Self {
        Self(self.0.source_address(source_address))
    }

    /// Goes through a proxy to every server but those at Unix sockets.
    #[cfg(feature = "socks")]
    #[must_use]
    pub fn proxy(self, proxy: Socks5) -> Self {
        Self(self.0.proxy(proxy))
    }

    /// Hands every command and reply of the sessions to `tap`, such as
    /// [`to_writer`](smtp_proto::transcript::to_writer), without what is secret. The sessions of all clones share it;
    /// [`Entry::session`] tells them apart.
    #[must_use]
    pub fn transcript(self, tap: impl FnMut(Entry<'_>) + Send + 'static) -> Self {
        Self(self.0.transcript(tap))
    }

    /// Connects to `host:port` and says hello. Of several addresses, the first to answer is taken (RFC 8305). Under TLS,
    /// the server has to prove that it is `host`.
    ///
    /// # Errors
    /// When no address takes the connection, or the server no session.
    pub fn connect(self, server: &str) -> Result<Client, Error> {
        finished(self.0.connect(server)).map(Client)
    }

    /// Connects to a Unix socket and says hello.
    ///
    /// # Errors
    /// When nobody listens there, or the server wants no session.
    #[cfg(unix)]
    pub fn connect_unix(self, path: impl AsRef<Path>) -> Result<Client, Error> {
        finished(self.0.connect_unix(path)).map(Client)
    }

    /// Connects to an endpoint, such as that of a [`Url`], and says hello.
    ///
    /// # Errors
    /// As [`Connector::connect`]. On systems without Unix sockets, these are an error.
    pub fn connect_endpoint(self, endpoint: &Endpoint) -> Result<Client, Error> {
        finished(self.0.connect_endpoint(endpoint)).map(Client)
    }

    /// Says hello over a connection that stands already. `peer` names the server in error messages; under TLS, the
    /// server has to prove that it is the host in it, `host` or `host:port`.
    ///
    /// # Errors
    /// When the server wants no session.
    pub fn connect_over<S: Stream>(self, stream: S, peer: &str) -> Result<Client<S>, Error> {
        finished(self.0.connect_over(stream, peer)).map(Client)
    }
}

impl Client {
    /// Connects to `host:port`, whichever of its addresses is the fastest to answer, and says hello.
    ///
    /// # Errors
    /// When no address takes the connection, or the server no session.
    pub fn connect(server: &str, config: Config) -> Result<Self, Error> {
        Connector::new(config).connect(server)
    }

    /// Connects to where a [`Url`] says, and does what it says up to the first message.
    ///
    /// # Errors
    /// When it is no such URL, no address takes the connection, or the server no session.
    pub fn connect_url(url: &str) -> Result<Self, Error> {
        finished(sending::Client::connect_url(url)).map(Self)
    }
}

impl<S: Stream> Client<S> {
    /// Why the session is over, if it is: then connect again.
    pub fn failure(&self) -> Option<&smtp_proto::Error> {
        self.0.failure()
    }

    /// What the server offers.
    pub fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    /// The TLS under the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.0.tls()
    }

    /// The name of the mechanism by which the client authenticated, if it did.
    pub fn mechanism(&self) -> Option<&str> {
        self.0.mechanism()
    }

    /// Sends a message that is in memory.
    ///
    /// # Errors
    /// When the session was over before, or the envelope is no possible one. Else the outcome tells what became of the
    /// message, also when the session fails under it.
    pub fn send(&mut self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Outcome, Error> {
        finished(self.0.send(envelope, content))
    }

    /// Sends a message while it is read. `size` is its size with CRLF line ends, if that is known.
    ///
    /// # Errors
    /// As [`Client::send`]; and when reading fails: then the session is given up.
    pub fn send_from<C: Read>(&mut self, envelope: Envelope, content: C, size: Option<u64>) -> Result<Outcome, Error> {
        finished(self.0.send_from(envelope, content, size))
    }

    /// Sends messages one behind the other without waiting for each: as many are on their way as the server and the
    /// configuration allow. The outcomes come in the order of the messages, which are taken as they are needed.
    ///
    /// Where the outcomes are dropped before the last, messages that have not begun are not sent.
    pub fn send_all<I, C>(&mut self, messages: I) -> Outcomes<'_, S, I::IntoIter>
    where
        I: IntoIterator<Item = (Envelope, C)>,
        C: Into<Bytes>,
    {
        Outcomes(self.0.send_all(messages))
    }

    /// Asks whether the server would take a message for these recipients, and sends none.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        finished(self.0.probe(envelope))
    }

    /// Sends a command as it is, for what there is no call for. A negative reply is no error.
    ///
    /// # Errors
    /// When it cannot be one line of a session, or is one that the client gives by itself, such as MAIL or QUIT; and when
    /// the session fails.
    pub fn command(&mut self, line: &str) -> Result<Reply, Error> {
        finished(self.0.command(line))
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When it had failed before.
    pub fn quit(self) -> Result<(), Error> {
        finished(self.0.quit())
    }
}

/// What becomes of messages that are sent one behind the other, in their order.
///
/// An error is either about this message alone, when it is no possible message ([`Error::Smtp`] with a misuse), or it is
/// [`Error::Over`]: the session is over, and this message and those behind it have not been taken. It comes once, and
/// nothing comes behind it.
#[must_use = "nothing is sent unless the outcomes are asked for"]
pub struct Outcomes<'a, S: Stream, M: Iterator>(sending::Outcomes<'a, Threads, S, M>);

impl<S, M, C> Outcomes<'_, S, M>
where
    S: Stream,
    M: Iterator<Item = (Envelope, C)>,
    C: Into<Bytes>,
{
    /// Gives back what has not been taken, for another session.
    pub fn into_rest(self) -> impl Iterator<Item = M::Item> {
        self.0.into_rest()
    }
}

impl<S, M, C> Iterator for Outcomes<'_, S, M>
where
    S: Stream,
    M: Iterator<Item = (Envelope, C)>,
    C: Into<Bytes>,
{
    type Item = Result<Outcome, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        finished(self.0.next())
    }
}

impl<S: Stream> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
