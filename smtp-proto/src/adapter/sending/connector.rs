//! How to reach a server, and what to say first.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
#[cfg(feature = "socks")]
use std::pin::pin;
use std::time::Duration;

use super::client::Client;
use super::racing::race;
use super::runtime::{Drives, Runtime};
#[cfg(feature = "socks")]
use super::socks::Socks5;
use crate::adapter::Error;
#[cfg(feature = "socks")]
use crate::adapter::serving::{Either, either};
use crate::adapter::tls::ClientTls;
use crate::client::{self, Config};
use crate::delivery::{Endpoint, Url};
use crate::error::InvalidArgument;
use crate::transcript::{Entry, SharedTap};

/// The name of a client that knows nothing better, where it has no address either.
const NAMELESS: &str = "[127.0.0.1]";

/// Opens connections to servers. A clone opens the same.
#[derive(Clone)]
pub struct Connector<R> {
    config: Config,
    /// The name in the configuration stands for the address of this end.
    nameless: bool,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
    source_address: Option<IpAddr>,
    #[cfg(feature = "socks")]
    proxy: Option<Socks5>,
    transcript: Option<SharedTap>,
    runtime: PhantomData<R>,
}

impl<R> Connector<R> {
    /// With this configuration, the system's trust for TLS, 30 s for each address of a server, and no transcript.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            nameless: false,
            tls: None,
            connect_timeout: Duration::from_secs(30),
            source_address: None,
            #[cfg(feature = "socks")]
            proxy: None,
            transcript: None,
            runtime: PhantomData,
        }
    }

    /// What a URL says of sessions. Where it has no name for the client, that is the address of this end of the
    /// connection (RFC 5321 section 4.1.4).
    ///
    /// # Errors
    /// None that a URL leads to.
    pub fn from_url(url: &Url) -> Result<Self, InvalidArgument> {
        let mut connector = Self::new(url.client_config(NAMELESS)?);
        connector.nameless = url.hello().is_none();
        connector.connect_timeout = url.connect_timeout().unwrap_or(connector.connect_timeout);
        Ok(connector)
    }

    /// Whom to trust when the session goes under TLS, and what to show. Keep it for further connections: clones share
    /// what makes those faster.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// How long to wait for a connection to one of a server's addresses. Default 30 s.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// From which of this host's addresses to connect. Servers are then reached by that protocol alone, IPv4 or IPv6.
    #[must_use]
    pub fn source_address(self, source_address: IpAddr) -> Self {
        Self { source_address: Some(source_address), ..self }
    }

    /// Goes through a proxy to every server but those at Unix sockets.
    #[cfg(feature = "socks")]
    #[must_use]
    pub fn proxy(self, proxy: Socks5) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// What the client calls itself.
    pub(super) fn hello(&self) -> &str {
        self.config.hello()
    }

    /// Whether a proxy finds the servers.
    pub(super) fn is_proxied(&self) -> bool {
        #[cfg(feature = "socks")]
        return self.proxy.is_some();
        #[cfg(not(feature = "socks"))]
        false
    }

    /// How many messages may be on their way over one connection.
    pub(super) fn messages_in_flight(&self) -> usize {
        self.config.messages_in_flight.max(1)
    }

    /// Hands every command and reply of the sessions to `tap`, such as
    /// [`to_writer`](crate::transcript::to_writer), without what is secret. The sessions of all clones share it;
    /// [`Entry::session`] tells them apart.
    #[must_use]
    pub fn transcript(self, tap: impl FnMut(Entry<'_>) + Send + 'static) -> Self {
        Self { transcript: Some(SharedTap::new(tap)), ..self }
    }
}

impl<R: Runtime> Connector<R> {
    /// Connects to `host:port` and says hello. Of several addresses, the first to answer is taken (RFC 8305). Under TLS,
    /// the server has to prove that it is `host`.
    ///
    /// # Errors
    /// When no address takes the connection, or the server no session.
    pub async fn connect(self, server: &str) -> Result<Client<R, R::Socket>, Error> {
        let addresses = if self.is_proxied() { Vec::new() } else { addresses::<R>(server).await? };
        self.connect_to(server, addresses).await
    }

    /// The same for a server whose addresses are known; a proxy needs none.
    pub(super) async fn connect_to(
        self,
        server: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<Client<R, R::Socket>, Error> {
        #[cfg(feature = "socks")]
        if let Some(proxy) = self.proxy.clone() {
            let socket = self.through(&proxy, server).await?;
            return self.begin(socket, server).await;
        }
        let socket = race::<R>(server, addresses, self.source_address, self.connect_timeout).await?;
        self.begin(socket, server).await
    }

    /// A connection through a proxy, which looks up the server's name.
    #[cfg(feature = "socks")]
    async fn through(&self, proxy: &Socks5, server: &str) -> Result<R::Socket, Error> {
        let failed = |source| Error::Proxy { proxy: proxy.address().to_owned(), server: server.to_owned(), source };
        let target = server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = target.ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let addresses = addresses::<R>(proxy.address()).await?;
        let socket = race::<R>(proxy.address(), addresses, self.source_address, self.connect_timeout).await?;
        let until = R::now().checked_add(self.connect_timeout);
        match either(pin!(R::through(socket, host, port, proxy, self.connect_timeout)), pin!(R::sleep_until(until)))
            .await
        {
            Either::First(through) => through.map_err(failed),
            Either::Second(()) => Err(failed(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Connects to a Unix socket and says hello.
    ///
    /// # Errors
    /// When nobody listens there, or the server wants no session.
    #[cfg(unix)]
    pub async fn connect_unix(self, path: impl AsRef<Path>) -> Result<Client<R, R::Socket>, Error> {
        let (opened, path) = (R::open_unix(path.as_ref()).await, path.as_ref().display().to_string());
        let socket = opened.map_err(|source| Error::ConnectUnix { path: path.clone(), source })?;
        self.begin(socket, &path).await
    }

    /// Connects to an endpoint, such as that of a [`Url`], and says hello.
    ///
    /// # Errors
    /// As [`Connector::connect`]. On systems without Unix sockets, these are an error.
    pub async fn connect_endpoint(self, endpoint: &Endpoint) -> Result<Client<R, R::Socket>, Error> {
        match endpoint {
            Endpoint::Tcp { host, port } => self.connect(&format!("{host}:{port}")).await,
            #[cfg(unix)]
            Endpoint::Unix(path) => self.connect_unix(path).await,
            #[cfg(not(unix))]
            Endpoint::Unix(path) => {
                Err(Error::ConnectUnix { path: path.clone(), source: std::io::ErrorKind::Unsupported.into() })
            }
        }
    }

    async fn begin(mut self, socket: R::Socket, peer: &str) -> Result<Client<R, R::Socket>, Error> {
        if self.nameless
            && let Some(address) = R::local_address(&socket)
            && let Ok(name) = literal(address).parse()
        {
            self.config.set_hello(name);
        }
        self.connect_over(socket, peer).await
    }
}

impl<R> Connector<R> {
    /// Says hello over a connection that stands already. `peer` names the server in error messages; under TLS, the
    /// server has to prove that it is the host in it, `host` or `host:port`.
    ///
    /// # Errors
    /// When the server wants no session.
    pub async fn connect_over<S>(self, stream: S, peer: &str) -> Result<Client<R, S>, Error>
    where
        R: Drives<S>,
    {
        Client::begin(self.driver(stream, peer)).await
    }

    fn driver<S>(self, stream: S, peer: &str) -> Box<R::Driver>
    where
        R: Drives<S>,
    {
        let mut machine = client::Client::new(self.config, crate::Instant::default());
        if let Some(tap) = self.transcript {
            machine.set_transcript(tap.next_tap());
        }
        Box::new(R::drive(stream, self.tls, machine, peer))
    }
}

async fn addresses<R: Runtime>(server: &str) -> Result<Vec<SocketAddr>, Error> {
    R::addresses(server).await.map_err(|source| Error::Resolve { server: server.to_owned(), source })
}

/// An address as a client's name.
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

impl<R> fmt::Debug for Connector<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}
