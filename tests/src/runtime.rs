//! The three runtimes behind one face, so that a test or a tool is written once.

use std::future::Future;
use std::io;
use std::net::{IpAddr, TcpListener};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use smtp_proto::adapter::serving::{ConnectionLimits, Handle, LocalAddress};
use smtp_proto::adapter::tls::{ClientTls, ServerTls};
use smtp_proto::adapter::{self, Error};
use smtp_proto::client::{self, Envelope, Outcome};
use smtp_proto::sasl::Credentials;
use smtp_proto::server::{
    self, Abuse, AuthenticationFailure, CloseReason, Connection, Decision, Handler as AsyncHandler, Hello, Identity,
    Mail, Recipient, Recipients, ResetReason, Session,
};
use smtp_proto::transcript::Tap;
use smtp_proto::wire::{AbsoluteUri, Attribute, Capabilities, Node, Query, Reply};

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
    addresses: Vec<LocalAddress>,
    handle: Handle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where and how a server listens.
#[derive(Default)]
pub struct Options {
    listeners: Vec<(Listen, adapter::Service)>,
    /// How long the handlers pause before every answer.
    pub pause: Duration,
    /// How many connections there may be at a time.
    pub limits: ConnectionLimits,
}

/// A socket to listen on.
enum Listen {
    /// `host:port`.
    At(String),
    /// `unix:path`.
    #[cfg(unix)]
    Path(PathBuf),
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Options {
    /// Nowhere yet; without pauses.
    pub fn new() -> Self {
        Self::default()
    }

    /// At `host:port`, or `unix:path`.
    #[must_use]
    pub fn at(self, address: &str, service: impl Into<adapter::Service>) -> Self {
        #[cfg(unix)]
        if let Some(path) = address.strip_prefix("unix:") {
            return self.with(Listen::Path(path.into()), service.into());
        }
        self.with(Listen::At(address.to_owned()), service.into())
    }

    /// On a socket that is open already.
    #[must_use]
    pub fn on_tcp(self, listener: TcpListener, service: impl Into<adapter::Service>) -> Self {
        self.with(Listen::Tcp(listener), service.into())
    }

    /// On a socket that is open already.
    #[cfg(unix)]
    #[must_use]
    pub fn on_unix(self, listener: UnixListener, service: impl Into<adapter::Service>) -> Self {
        self.with(Listen::Unix(listener), service.into())
    }

    fn with(mut self, listen: Listen, service: adapter::Service) -> Self {
        self.listeners.push((listen, service));
        self
    }
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
        new_handler: impl FnMut(&Connection) -> H + Send + 'static,
    ) -> io::Result<Self> {
        let mut service = adapter::Service::new(config);
        if let Some(tls) = tls {
            service = service.tls(tls);
        }
        Self::start_with(runtime, Options { pause, ..Options::new().at(listen, service) }, new_handler)
    }

    /// The same with as many listeners as there are in the options.
    ///
    /// # Errors
    /// When an address cannot be had.
    pub fn start_with<H: smtp_blocking::Handler + 'static>(
        runtime: Runtime,
        options: Options,
        mut new_handler: impl FnMut(&Connection) -> H + Send + 'static,
    ) -> io::Result<Self> {
        let Options { listeners, pause, limits } = options;
        let (tell, told) = mpsc::channel();
        let mut paused = move |connection: &Connection| Paused { handler: new_handler(connection), pause, runtime };
        let thread = thread::Builder::new().name(format!("server on {}", runtime.name())).spawn(move || {
            macro_rules! listening {
                ($adapter:ident $($wait:tt)*) => {{
                    let mut server = Ok($adapter::Server::new().limits(limits));
                    for (listen, service) in listeners {
                        let Ok(sofar) = server else { break };
                        server = match listen {
                            Listen::At(address) => sofar.bind(address, service) $($wait)*,
                            #[cfg(unix)]
                            Listen::Path(path) => sofar.bind_unix(path, service),
                            Listen::Tcp(listener) => sofar.listen(listener, service),
                            #[cfg(unix)]
                            Listen::Unix(listener) => sofar.listen(listener, service),
                        };
                    }
                    match server {
                        Err(error) => {
                            // The other end waits for this.
                            let _ = tell.send(Err(error));
                            return;
                        }
                        Ok(server) => {
                            let _ = tell.send(Ok((server.local_addresses(), server.handle())));
                            server
                        }
                    }
                }};
            }
            match runtime {
                Runtime::Tokio => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                    Err(error) => drop(tell.send(Err(error))),
                    Ok(tokio) => tokio.block_on(async { listening!(smtp_tokio.await).serve(&mut paused).await }),
                },
                Runtime::AsyncStd => {
                    async_std::task::block_on(async { listening!(smtp_async_std.await).serve(&mut paused).await });
                }
                Runtime::Blocking => listening!(smtp_blocking).serve(&mut paused),
            }
        })?;
        let (addresses, handle) = told.recv().map_err(|_| io::Error::other("the server did not start"))??;
        Ok(Self { addresses, handle, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens first; as text `address:port`, or `unix:path`.
    ///
    /// # Panics
    /// When it listens nowhere.
    pub fn address(&self) -> &LocalAddress {
        &self.addresses[0]
    }

    /// Where it listens, in the order of the options.
    pub fn addresses(&self) -> &[LocalAddress] {
        &self.addresses
    }

    /// The server's handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Begins to shut down; [`Service::wait`] waits for the end.
    pub fn shut_down(&self) {
        self.handle.shut_down();
    }

    /// The same without waiting for transactions that run.
    pub fn shut_down_now(&self) {
        self.handle.shut_down_now();
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

    /// Sends messages one behind the other; what each came to.
    fn send_all(&mut self, messages: &mut dyn Iterator<Item = (Envelope, Bytes)>) -> Vec<Result<Outcome, Error>>;

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

    /// What the server offers.
    fn capabilities(&self) -> &Capabilities;

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
    /// From which address.
    pub source: Option<IpAddr>,
}

/// Connects to where a URL says.
///
/// # Errors
/// As the adapters' `connect_url`.
pub fn connect_url(runtime: Runtime, url: &str) -> Result<Box<dyn Mailer>, Error> {
    Ok(match runtime {
        Runtime::Tokio => {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Content)?;
            let client = tokio.block_on(smtp_tokio::Client::connect_url(url))?;
            Box::new(OnTokio { tokio, client })
        }
        Runtime::AsyncStd => Box::new(OnAsyncStd(async_std::task::block_on(smtp_async_std::Client::connect_url(url))?)),
        Runtime::Blocking => Box::new(OnThreads(smtp_blocking::Client::connect_url(url)?)),
    })
}

/// Connects to a server: `host:port`, or `unix:path`.
///
/// # Errors
/// As the adapters' `connect`.
pub fn connect(
    runtime: Runtime,
    server: &str,
    config: client::Config,
    connecting: Connecting,
) -> Result<Box<dyn Mailer>, Error> {
    let Connecting { timeout, transcript, tls, source } = connecting;
    macro_rules! connect {
        ($adapter:ident $($wait:tt)*) => {{
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
            if let Some(source) = source {
                connector = connector.source_address(source);
            }
            match server.strip_prefix("unix:") {
                #[cfg(unix)]
                Some(path) => connector.connect_unix(path)$($wait)*,
                _ => connector.connect(server)$($wait)*,
            }
        }};
    }
    Ok(match runtime {
        Runtime::Tokio => {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Content)?;
            let client = tokio.block_on(async { connect!(smtp_tokio.await) })?;
            Box::new(OnTokio { tokio, client })
        }
        Runtime::AsyncStd => Box::new(OnAsyncStd(async_std::task::block_on(async { connect!(smtp_async_std.await) })?)),
        Runtime::Blocking => Box::new(OnThreads(connect!(smtp_blocking)?)),
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

    fn send_all(&mut self, messages: &mut dyn Iterator<Item = (Envelope, Bytes)>) -> Vec<Result<Outcome, Error>> {
        self.tokio.block_on(async {
            let (mut outcomes, mut all) = (self.client.send_all(messages), Vec::new());
            while let Some(outcome) = outcomes.next().await {
                all.push(outcome);
            }
            all
        })
    }

    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        self.tokio.block_on(self.client.probe(envelope))
    }

    fn command(&mut self, line: &str) -> Result<Reply, Error> {
        self.tokio.block_on(self.client.command(line))
    }

    fn capabilities(&self) -> &Capabilities {
        self.client.capabilities()
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

    fn send_all(&mut self, messages: &mut dyn Iterator<Item = (Envelope, Bytes)>) -> Vec<Result<Outcome, Error>> {
        async_std::task::block_on(async {
            let (mut outcomes, mut all) = (self.0.send_all(messages), Vec::new());
            while let Some(outcome) = outcomes.next().await {
                all.push(outcome);
            }
            all
        })
    }

    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        async_std::task::block_on(self.0.probe(envelope))
    }

    fn command(&mut self, line: &str) -> Result<Reply, Error> {
        async_std::task::block_on(self.0.command(line))
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
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

    fn send_all(&mut self, messages: &mut dyn Iterator<Item = (Envelope, Bytes)>) -> Vec<Result<Outcome, Error>> {
        self.0.send_all(messages).collect()
    }

    fn probe(&mut self, envelope: Envelope) -> Result<Outcome, Error> {
        self.0.probe(envelope)
    }

    fn command(&mut self, line: &str) -> Result<Reply, Error> {
        self.0.command(line)
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn is_over(&self) -> bool {
        self.0.failure().is_some()
    }

    fn quit(self: Box<Self>) -> Result<(), Error> {
        self.0.quit()
    }
}
