//! The client: connect, send, quit.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_std::io::timeout;
use async_std::net::{TcpStream, ToSocketAddrs};
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::AsyncReadExt;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::serving::Next;
use smtp_proto::adapter::tls::{ClientTls, TlsSide};
use smtp_proto::client::{self, Config, Content, Envelope, Event, Outcome};
use smtp_proto::transcript::{Entry, Tap};
use smtp_proto::wire::{Capabilities, Reply};
use smtp_proto::{ApiMisuse, TlsInfo};

use crate::channel::Channel;
use crate::driver::Driver;

/// Octets of content read at a time.
const PIECE: usize = 64 * 1024;

/// Opens connections to servers.
pub struct Connector {
    config: Config,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
    transcript: Option<Tap>,
}

/// A session with a server.
///
/// Dropping one of its futures half-way withdraws the message as far as that is possible
/// ([`smtp_proto::client::Client::cancel`]); the session can be used on unless it was in the middle of streamed content.
pub struct Client<S = TcpStream> {
    driver: Driver<S, client::Client>,
}

impl Connector {
    /// With this configuration, the system's trust for TLS, 30 s for each address of a server, and no transcript.
    pub fn new(config: Config) -> Self {
        Self { config, tls: None, connect_timeout: Duration::from_secs(30), transcript: None }
    }

    /// Whom to trust when the session goes under TLS, and what to show. Keep it for further connections: clones share
    /// what makes those faster.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// How long to wait for a connection to one of a server's addresses.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Hands every command and reply of the session to `tap`.
    #[must_use]
    pub fn transcript(self, tap: impl FnMut(Entry<'_>) + Send + 'static) -> Self {
        Self { transcript: Some(Box::new(tap)), ..self }
    }

    /// Connects to `host:port`, trying all its addresses in turn, and says hello. Under TLS, the server has to prove
    /// that it is `host`.
    ///
    /// # Errors
    /// When no address takes the connection, or the server no session.
    pub async fn connect(self, server: &str) -> Result<Client, Error> {
        let named = || server.to_owned();
        let addresses = server.to_socket_addrs().await;
        let addresses = addresses.map_err(|source| Error::Resolve { server: named(), source })?;
        let mut attempts = Vec::new();
        for address in addresses {
            match open(address, self.connect_timeout).await {
                Ok(stream) => return self.connect_over(stream, server).await,
                Err(error) => attempts.push((address, error)),
            }
        }
        Err(Error::Connect { server: named(), attempts })
    }

    /// Says hello over a connection that stands already. `peer` names the server in error messages; under TLS, the
    /// server has to prove that it is the host in it, `host` or `host:port`.
    ///
    /// # Errors
    /// When the server wants no session.
    pub async fn connect_over<S>(self, stream: S, peer: &str) -> Result<Client<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut machine = client::Client::new(self.config, smtp_proto::Instant::default());
        if let Some(tap) = self.transcript {
            machine.set_transcript(tap);
        }
        let channel = Channel::new(stream, TlsSide::Client(self.tls));
        let mut client = Client { driver: Driver::new(channel, machine, peer.to_owned(), Instant::now()) };
        client.until(|event| matches!(event, Event::Ready).then_some(())).await?;
        Ok(client)
    }
}

async fn open(address: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    let stream = timeout(limit, TcpStream::connect(address)).await?;
    // Small writes are never to wait for the acknowledgement of earlier ones.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Client {
    /// Connects to `host:port`, trying all its addresses in turn, and says hello.
    ///
    /// # Errors
    /// When no address takes the connection, or the server no session.
    pub async fn connect(server: &str, config: Config) -> Result<Self, Error> {
        Connector::new(config).connect(server).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Why the session is over, if it is: then connect again.
    pub fn failure(&self) -> Option<&smtp_proto::Error> {
        self.driver.machine.failure()
    }

    /// What the server offers.
    pub fn capabilities(&self) -> &Capabilities {
        self.driver.machine.capabilities()
    }

    /// The TLS under the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.driver.machine.tls()
    }

    /// The name of the mechanism by which the client authenticated, if it did.
    pub fn mechanism(&self) -> Option<&str> {
        self.driver.machine.mechanism()
    }

    /// Sends a message that is in memory.
    ///
    /// # Errors
    /// When the session was over before. Else the outcome tells what became of the message, also when the session
    /// fails under it.
    pub async fn send(&mut self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Outcome, Error> {
        let content = Content::Whole(content.into());
        let id = self.request(|machine| machine.send(envelope, content))?;
        self.until(|event| event.into_outcome(id)).await
    }

    /// Sends a message while it is read. `size` is its size with CRLF line ends, if that is known.
    ///
    /// # Errors
    /// As [`Client::send`]; and when reading fails: then the session is given up.
    pub async fn send_from<R>(
        &mut self,
        envelope: Envelope,
        mut content: R,
        size: Option<u64>,
    ) -> Result<Outcome, Error>
    where
        R: AsyncRead + Unpin,
    {
        let id = self.request(|machine| machine.send(envelope, Content::Streamed { size }))?;
        let mut piece = vec![0; PIECE];
        loop {
            let wanted = |event| match event {
                Event::WantContent(wanted) if wanted == id => Some(None),
                event => event.into_outcome(id).map(Some),
            };
            if let Some(outcome) = self.until(wanted).await? {
                return Ok(outcome);
            }
            let length = content.read(&mut piece).await.map_err(Error::Content)?;
            if length > 0 {
                let piece = Bytes::copy_from_slice(piece.get(..length).unwrap_or_default());
                self.call(|machine| machine.content(id, piece))?;
            } else {
                self.call(|machine| machine.end_content(id))?;
            }
        }
    }

    /// Asks whether the server would take a message for these recipients, and sends none.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        let id = self.request(|machine| machine.probe(envelope))?;
        self.until(|event| event.into_outcome(id)).await
    }

    /// Sends a command as it is.
    ///
    /// # Errors
    /// When it cannot be one line of a session, or the session fails.
    pub async fn command(&mut self, line: &str) -> Result<Reply, Error> {
        let id = self.request(|machine| machine.command(line))?;
        self.until(|event| event.into_reply(id)).await
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When it had failed before.
    pub async fn quit(mut self) -> Result<(), Error> {
        self.request(client::Client::quit)?;
        loop {
            if let Next::Closed = self.driver.next().await? {
                return Ok(());
            }
        }
    }

    /// What a dropped future left behind is withdrawn first.
    fn request<T>(&mut self, request: impl FnOnce(&mut client::Client) -> Result<T, ApiMisuse>) -> Result<T, Error> {
        self.driver.machine.cancel_all();
        self.call(request)
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut client::Client) -> Result<T, ApiMisuse>) -> Result<T, Error> {
        call(&mut self.driver.machine)
            .map_err(|misuse| Error::misuse(self.driver.peer(), misuse, self.driver.machine.failure()))
    }

    async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> Result<T, Error> {
        loop {
            match self.driver.next().await? {
                Next::Event(event) => {
                    if let Some(found) = wanted(event) {
                        return Ok(found);
                    }
                }
                Next::Decide | Next::Closed => {
                    return Err(Error::misuse(self.driver.peer(), ApiMisuse::Closed, None));
                }
            }
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("machine", &self.driver.machine).finish_non_exhaustive()
    }
}
