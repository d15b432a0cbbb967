//! A session with a server: send, ask, quit.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::connector::Connector;
use super::outcomes::Outcomes;
use super::runtime::{Drive, Drives, Reads, Runtime};
use super::trace::Trace;
use crate::adapter::Error;
use crate::adapter::serving::Next;
use crate::client::{self, Config, Content, Envelope, Event, Outcome};
use crate::delivery::Url;
use crate::error::ApiMisuse;
use crate::tls::TlsInfo;
use crate::wire::{Capabilities, Reply};

/// Octets of content read at a time.
const PIECE: usize = 64 * 1024;

/// A session with a server.
///
/// Dropping one of its futures half-way withdraws the message as far as that is possible
/// ([`smtp_proto::client::Client::cancel`](client::Client::cancel)); the session can be used on unless it was in the
/// middle of streamed content.
pub struct Client<R: Drives<S>, S> {
    /// In a box, so that futures that hold a client are not large.
    pub(super) driver: Box<R::Driver>,
    pub(super) trace: Trace,
}

impl<R: Runtime> Client<R, R::Socket> {
    /// Connects to `host:port`, whichever of its addresses is the fastest to answer, and says hello.
    ///
    /// # Errors
    /// When no address takes the connection, or the server no session.
    pub async fn connect(server: &str, config: Config) -> Result<Self, Error> {
        Connector::<R>::new(config).connect(server).await
    }

    /// Connects to where a [`Url`] says, and does what it says up to the first message.
    ///
    /// # Errors
    /// When it is no such URL, no address takes the connection, or the server no session.
    pub async fn connect_url(url: &str) -> Result<Self, Error> {
        let url: Url = url.parse()?;
        Connector::<R>::from_url(&url)?.connect_endpoint(url.endpoint()).await
    }
}

impl<R: Drives<S>, S> Client<R, S> {
    /// Begins a session.
    pub(super) async fn begin(driver: Box<R::Driver>) -> Result<Self, Error> {
        let trace = Trace::new(driver.peer());
        let mut client = Self { driver, trace };
        client.until(|event| matches!(event, Event::Ready).then_some(())).await?;
        client.trace.ready(client.driver.session());
        Ok(client)
    }

    /// Why the session is over, if it is: then connect again.
    pub fn failure(&self) -> Option<&crate::Error> {
        self.driver.session().failure()
    }

    /// What the server offers.
    pub fn capabilities(&self) -> &Capabilities {
        self.driver.session().capabilities()
    }

    /// The TLS under the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.driver.session().tls()
    }

    /// The name of the mechanism by which the client authenticated, if it did.
    pub fn mechanism(&self) -> Option<&str> {
        self.driver.session().mechanism()
    }

    /// Sends a message that is in memory.
    ///
    /// # Errors
    /// When the session was over before, or the envelope is no possible one. Else the outcome tells what became of the
    /// message, also when the session fails under it.
    pub async fn send(&mut self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Outcome, Error> {
        let content = Content::Whole(content.into());
        let id = self.request(|machine| machine.send(envelope, content))?;
        self.until(|event| event.into_outcome(id)).await
    }

    /// Sends a message while it is read. `size` is its size with CRLF line ends, if that is known.
    ///
    /// # Errors
    /// As [`Client::send`]; and when reading fails: then the session is given up.
    pub async fn send_from<C>(
        &mut self,
        envelope: Envelope,
        mut content: C,
        size: Option<u64>,
    ) -> Result<Outcome, Error>
    where
        R: Reads<C>,
    {
        let id = self.request(|machine| machine.send(envelope, Content::Streamed { size }))?;
        let mut piece = BytesMut::new();
        loop {
            let wanted = |event| match event {
                Event::WantContent(wanted) if wanted == id => Some(None),
                event => event.into_outcome(id).map(Some),
            };
            if let Some(outcome) = self.until(wanted).await? {
                return Ok(outcome);
            }
            piece.reserve(PIECE);
            if R::read(&mut content, &mut piece).await.map_err(Error::Content)? > 0 {
                self.call(|machine| machine.content(id, piece.split().freeze()))?;
            } else {
                self.call(|machine| machine.end_content(id))?;
            }
        }
    }

    /// Sends messages one behind the other without waiting for each: as many are on their way as the server and the
    /// configuration allow. The outcomes come in the order of the messages, which are taken as they are needed.
    ///
    /// Where the outcomes are dropped before the last, messages that have not begun are not sent.
    pub fn send_all<I, C>(&mut self, messages: I) -> Outcomes<'_, R, S, I::IntoIter>
    where
        I: IntoIterator<Item = (Envelope, C)>,
        C: Into<Bytes>,
    {
        self.driver.machine().cancel_all();
        Outcomes::new(self, messages.into_iter())
    }

    /// Asks whether the server would take a message for these recipients, and sends none.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        let id = self.request(|machine| machine.probe(envelope))?;
        self.until(|event| event.into_outcome(id)).await
    }

    /// Sends a command as it is, for what there is no call for. A negative reply is no error.
    ///
    /// # Errors
    /// When it cannot be one line of a session, or is one that the client gives by itself, such as MAIL or QUIT; and when
    /// the session fails.
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
                self.trace.closed();
                return Ok(());
            }
        }
    }

    /// What a dropped future left behind is withdrawn first.
    fn request<T>(&mut self, request: impl FnOnce(&mut client::Client) -> Result<T, ApiMisuse>) -> Result<T, Error> {
        self.driver.machine().cancel_all();
        self.call(request)
    }

    pub(super) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut client::Client) -> Result<T, ApiMisuse>,
    ) -> Result<T, Error> {
        call(self.driver.machine())
            .map_err(|misuse| Error::misuse(self.driver.peer(), misuse, self.driver.session().failure()))
    }

    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> Result<T, Error> {
        loop {
            let next = self.driver.next().await;
            match next.inspect_err(|error| self.trace.failed(error))? {
                Next::Event(event) => {
                    if let Event::Outcome { outcome, .. } = &event {
                        self.trace.outcome(outcome);
                    }
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

impl<R: Drives<S>, S> fmt::Debug for Client<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("machine", self.driver.session()).finish_non_exhaustive()
    }
}
