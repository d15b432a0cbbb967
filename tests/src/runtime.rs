//! The three runtimes behind one face, so that a test or a tool is written once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::tls::{ClientTls, ServerTls};
use smtp_proto::client::{self, Envelope, Outcome};
use smtp_proto::sasl::Credentials;
use smtp_proto::server::{
    self, Abuse, AuthenticationFailure, CloseReason, Connection, Decision, Handler as AsyncHandler, Hello, Identity,
    Mail, Recipient, Recipients, ResetReason, Session,
};
use smtp_proto::transcript::Tap;
use smtp_proto::wire::{AbsoluteUri, Attribute, Node, Query, Reply};

/// What an adapter runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// tokio.
    Tokio,
    /// async-std.
    AsyncStd,
    /// Threads.
    Blocking,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tokio, Self::AsyncStd, Self::Blocking];

    /// The name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::AsyncStd => "async-std",
            Self::Blocking => "blocking",
        }
    }
}

impl FromStr for Runtime {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name).ok_or("one of tokio, async-std, blocking")
    }
}

/// A server that runs on a thread of its own.
pub struct Service {
    address: SocketAddr,
    shut_down: Box<dyn Fn(bool) + Send + Sync>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Service {
    /// Listens and serves, each connection with a handler of its own that pauses before every answer.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start<H: smtp_blocking::Handler + 'static>(
        runtime: Runtime,
        listen: &str,
        config: server::Config,
        pause: Duration,
        new_handler: impl FnMut(&Connection) -> H + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with_tls(runtime, listen, config, None, pause, new_handler)
    }

    /// The same with certificates.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start_with_tls<H: smtp_blocking::Handler + 'static>(
        runtime: Runtime,
        listen: &str,
        config: server::Config,
        tls: Option<ServerTls>,
        pause: Duration,
        mut new_handler: impl FnMut(&Connection) -> H + Send + 'static,
    ) -> io::Result<Self> {
        type Listening = io::Result<(SocketAddr, Box<dyn Fn(bool) + Send + Sync>)>;
        let (tell, told) = mpsc::channel::<Listening>();
        let listen = listen.to_owned();
        let mut paused = move |connection: &Connection| Paused { handler: new_handler(connection), pause, runtime };
        let thread = thread::Builder::new().name(format!("server on {}", runtime.name())).spawn(move || {
            macro_rules! serve {
                ($server:expr, $serve:expr) => {
                    match $server.and_then(|server| Ok((server.local_address()?, server))) {
                        Err(error) => drop(tell.send(Err(error))),
                        Ok((address, server)) => {
                            let handle = server.handle();
                            let server = match tls {
                                Some(tls) => server.tls(tls),
                                None => server,
                            };
                            // The other end waits for this.
                            let _ = tell.send(Ok((
                                address,
                                Box::new(move |now| if now { handle.shut_down_now() } else { handle.shut_down() }),
                            )));
                            $serve(server)
                        }
                    }
                };
            }
            match runtime {
                Runtime::Tokio => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                    Err(error) => drop(tell.send(Err(error))),
                    Ok(tokio) => serve!(
                        tokio.block_on(smtp_tokio::Server::bind(listen.as_str(), config)),
                        |server: smtp_tokio::Server| tokio.block_on(server.serve(&mut paused))
                    ),
                },
                Runtime::AsyncStd => serve!(
                    async_std::task::block_on(smtp_async_std::Server::bind(listen.as_str(), config)),
                    |server: smtp_async_std::Server| async_std::task::block_on(server.serve(&mut paused))
                ),
                Runtime::Blocking => {
                    let server = smtp_blocking::Server::bind(listen.as_str(), config);
                    serve!(server, |server: smtp_blocking::Server| server.serve(&mut paused));
                }
            }
        })?;
        let (address, shut_down) = told.recv().map_err(|_| io::Error::other("the server did not start"))??;
        Ok(Self { address, shut_down, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to shut down; [`Service::wait`] waits for the end.
    pub fn shut_down(&self) {
        (self.shut_down)(false);
    }

    /// The same without waiting for transactions that run.
    pub fn shut_down_now(&self) {
        (self.shut_down)(true);
    }

    /// Waits until it has been shut down and the last session has ended.
    ///
    /// # Panics
    /// When the server did.
    pub fn wait(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            assert!(thread.join().is_ok(), "the server panicked");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// A handler for threads on any runtime, with a pause before every answer.
struct Paused<H> {
    handler: H,
    pause: Duration,
    runtime: Runtime,
}

impl<H> Paused<H> {
    fn pause(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match (self.pause, self.runtime) {
            (Duration::ZERO, _) => Box::pin(std::future::ready(())),
            (pause, Runtime::AsyncStd) => Box::pin(async_std::task::sleep(pause)),
            (pause, _) => Box::pin(tokio::time::sleep(pause)),
        }
    }
}

macro_rules! hooks {
    ($($hook:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl<H: smtp_blocking::Handler> AsyncHandler for Paused<H> {
            $(async fn $hook(&mut self, session: &Session, $($argument: $type),*) -> $answer {
                self.pause().await;
                self.handler.$hook(session, $($argument),*)
            })*

            async fn body(&mut self, session: &Session, content: Bytes) -> Decision {
                self.handler.body(session, content)
            }
        }

        impl<H: smtp_blocking::Handler> smtp_blocking::Handler for Paused<H> {
            $(fn $hook(&mut self, session: &Session, $($argument: $type),*) -> $answer {
                thread::sleep(self.pause);
                self.handler.$hook(session, $($argument),*)
            })*

            fn body(&mut self, session: &Session, content: Bytes) -> Decision {
                self.handler.body(session, content)
            }
        }
    };
}

hooks! {
    connected() -> Decision;
    hello(hello: Hello) -> Decision;
    starttls() -> Decision;
    authenticate(credentials: Credentials) -> Decision;
    authentication_failed(failure: AuthenticationFailure) -> ();
    authenticated(identity: Identity) -> ();
    mail(mail: Mail) -> Decision;
    recipient(recipient: Recipient) -> Decision;
    recipients(recipients: Recipients) -> Vec<Decision>;
    burl(url: AbsoluteUri, last: bool) -> Decision;
    etrn(node: Node) -> Decision;
    xclient(attributes: Vec<Attribute>) -> Decision;
    data() -> Decision;
    message_end(size: u64) -> Decision;
    verify(query: Query) -> Decision;
    expand(query: Query) -> Decision;
    help(topic: String) -> Decision;
    other(verb: String, argument: String) -> Decision;
    reset(reason: ResetReason) -> ();
    abuse(abuse: Abuse) -> ();
    closing(reason: CloseReason) -> ();
}

/// A client's session, driven from a thread whatever it runs on.
pub trait Mailer: Send {
    /// Sends a message that is in memory.
    ///
    /// # Errors
    /// As the adapters' `send`.
    fn send(&mut self, envelope: Envelope, content: Bytes) -> Result<Outcome, Error>;

    /// Sends a message out of a file while it is read.
    ///
    /// # Errors
    /// As the adapters' `send_from`.
    fn send_file(&mut self, envelope: Envelope, file: &Path) -> Result<Outcome, Error>;

    /// Asks about recipients.
    ///
    /// # Errors
    /// As the adapters' `probe`.
    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error>;

    /// Sends a command.
    ///
    /// # Errors
    /// As the adapters' `command`.
    fn command(&mut self, line: &str) -> Result<Reply, Error>;

    /// Whether the session is over and another connection is needed.
    fn is_over(&self) -> bool;

    /// Ends the session.
    ///
    /// # Errors
    /// As the adapters' `quit`.
    fn quit(self: Box<Self>) -> Result<(), Error>;
}

/// How to connect.
#[derive(Default)]
pub struct Connecting {
    /// How long to wait for each address.
    pub timeout: Option<Duration>,
    /// What is told of the dialogue.
    pub transcript: Option<Tap>,
    /// Whom to trust, if not whom the system trusts.
    pub tls: Option<ClientTls>,
}

/// Connects to a server.
///
/// # Errors
/// As the adapters' `connect`.
pub fn connect(
    runtime: Runtime,
    server: &str,
    config: client::Config,
    connecting: Connecting,
) -> Result<Box<dyn Mailer>, Error> {
    let Connecting { timeout, transcript, tls } = connecting;
    macro_rules! connector {
        ($adapter:ident) => {{
            let mut connector = $adapter::Connector::new(config);
            if let Some(timeout) = timeout {
                connector = connector.connect_timeout(timeout);
            }
            if let Some(tls) = tls {
                connector = connector.tls(tls);
            }
            if let Some(mut tap) = transcript {
                connector = connector.transcript(move |entry| tap(entry));
            }
            connector.connect(server)
        }};
    }
    Ok(match runtime {
        Runtime::Tokio => {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Content)?;
            let client = tokio.block_on(connector!(smtp_tokio))?;
            Box::new(OnTokio { tokio, client })
        }
        Runtime::AsyncStd => Box::new(OnAsyncStd(async_std::task::block_on(connector!(smtp_async_std))?)),
        Runtime::Blocking => Box::new(OnThreads(connector!(smtp_blocking)?)),
    })
}

struct OnTokio {
    tokio: tokio::runtime::Runtime,
    client: smtp_tokio::Client,
}

impl Mailer for OnTokio {
    fn send(&mut self, envelope: Envelope, content: Bytes) -> Result<Outcome, Error> {
        self.tokio.block_on(self.client.send(envelope, content))
    }

    fn send_file(&mut self, envelope: Envelope, file: &Path) -> Result<Outcome, Error> {
        self.tokio.block_on(async {
            let file = tokio::fs::File::open(file).await.map_err(Error::Content)?;
            self.client.send_from(envelope, file, None).await
        })
    }

    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        self.tokio.block_on(self.client.probe(envelope))
    }

    fn command(&mut self, line: &str) -> Result<Reply, Error> {
        self.tokio.block_on(self.client.command(line))
    }

    fn is_over(&self) -> bool {
        self.client.failure().is_some()
    }

    fn quit(self: Box<Self>) -> Result<(), Error> {
        self.tokio.block_on(self.client.quit())
    }
}

struct OnAsyncStd(smtp_async_std::Client);

impl Mailer for OnAsyncStd {
    fn send(&mut self, envelope: Envelope, content: Bytes) -> Result<Outcome, Error> {
        async_std::task::block_on(self.0.send(envelope, content))
    }

    fn send_file(&mut self, envelope: Envelope, file: &Path) -> Result<Outcome, Error> {
        async_std::task::block_on(async {
            let file = async_std::fs::File::open(file).await.map_err(Error::Content)?;
            self.0.send_from(envelope, file, None).await
        })
    }

    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        async_std::task::block_on(self.0.probe(envelope))
    }

    fn command(&mut self, line: &str) -> Result<Reply, Error> {
        async_std::task::block_on(self.0.command(line))
    }

    fn is_over(&self) -> bool {
        self.0.failure().is_some()
    }

    fn quit(self: Box<Self>) -> Result<(), Error> {
        async_std::task::block_on(self.0.quit())
    }
}

struct OnThreads(smtp_blocking::Client);

impl Mailer for OnThreads {
    fn send(&mut self, envelope: Envelope, content: Bytes) -> Result<Outcome, Error> {
        self.0.send(envelope, content)
    }

    fn send_file(&mut self, envelope: Envelope, file: &Path) -> Result<Outcome, Error> {
        let file = std::fs::File::open(file).map_err(Error::Content)?;
        self.0.send_from(envelope, file, None)
    }

    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        self.0.probe(envelope)
    }

    fn command(&mut self, line: &str) -> Result<Reply, Error> {
        self.0.command(line)
    }

    fn is_over(&self) -> bool {
        self.0.failure().is_some()
    }

    fn quit(self: Box<Self>) -> Result<(), Error> {
        self.0.quit()
    }
}
