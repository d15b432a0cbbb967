//! What the tests share: limits on waiting, a server that tells what it hears, peers of plain sockets, and content
//! that nobody holds in memory.

use std::any::Any;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use smtp_blocking::Handler;
use smtp_proto::adapter::serving::Handle;
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::adapter::{self, Error};
use smtp_proto::client::{self, Envelope, Outcome};
use smtp_proto::server::{self, CloseReason, Decision, Mail, Recipient, ResetReason, Session};
use smtp_proto::wire::Reply;
use smtp_tests::runtime::{self, Mailer, Runtime, Service};

/// How long a single thing may take before a test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test; one that hangs fails like any other.
pub(super) fn limited(test: impl FnOnce() + Send + 'static) {
    let (done, over) = mpsc::channel();
    let name = thread::current().name().unwrap_or_default().to_owned();
    let test = move || {
        test();
        // Nobody listens when it was too late.
        let _ = done.send(());
    };
    let test = thread::Builder::new().name(name).spawn(test).unwrap();
    match over.recv_timeout(2 * PATIENCE) {
        Err(RecvTimeoutError::Timeout) => panic!("something waits for ever"),
        _ => joined(test),
    }
}

/// The result of a thread, or its panic.
pub(super) fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic))
}

/// What a handler was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    Message(Message),
    Reset(ResetReason),
    Closing(CloseReason),
}

/// A message that was accepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message {
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    pub(super) content: Vec<u8>,
}

/// A handler that tells what it hears, with the number of the connection, and does what the envelope asks for:
/// refuses or panics.
pub(super) struct Ear {
    session: u64,
    tell: Sender<(u64, Heard)>,
    message: Message,
}

impl Ear {
    pub(super) fn new(session: u64, tell: &Sender<(u64, Heard)>) -> Self {
        Self { session, tell: tell.clone(), message: Message::default() }
    }

    fn tell(&self, heard: Heard) {
        // A test may not care for the rest.
        let _ = self.tell.send((self.session, heard));
    }
}

/// What [`Ear`] says to the recipient `refused@example.net`.
pub(super) const NO_SUCH_USER: Reply = Reply::from_static("550 5.1.1 No such user here");

impl Handler for Ear {
    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        let sender = mail.reverse_path.to_string();
        let refused = sender.contains("refused@");
        self.message = Message { sender, ..Message::default() };
        if refused { Reply::from_static("550 5.7.1 Not from you").into() } else { Decision::Accept }
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        if recipient.contains("refused@") {
            return NO_SUCH_USER.into();
        }
        if recipient.contains("panics@") {
            // As a panic, but the hook stays quiet.
            resume_unwind(Box::new("the handler panics"));
        }
        self.message.recipients.push(recipient);
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.message.content.extend_from_slice(&content);
        Decision::Accept
    }

    fn message_end(&mut self, session: &Session, size: u64) -> Decision {
        assert_eq!(size, self.message.content.len() as u64);
        if self.message.content.starts_with(b"Subject: refused") {
            return Reply::from_static("554 5.6.0 Not this").into();
        }
        let message = std::mem::take(&mut self.message);
        self.tell(Heard::Message(message));
        let reply = format!("250 2.0.0 Taken as number {}", session.messages() + 1);
        reply.parse::<Reply>().unwrap().into()
    }

    fn reset(&mut self, _: &Session, reason: ResetReason) {
        // A client says RSET behind each message in chunks.
        if reason != ResetReason::Command || self.message != Message::default() {
            self.tell(Heard::Reset(reason));
        }
    }

    fn closing(&mut self, _: &Session, reason: CloseReason) {
        self.tell(Heard::Closing(reason));
    }
}

/// The same for asynchronous adapters that are driven without the kit.
impl server::Handler for Ear {
    async fn mail(&mut self, session: &Session, mail: Mail) -> Decision {
        Handler::mail(self, session, mail)
    }

    async fn recipient(&mut self, session: &Session, recipient: Recipient) -> Decision {
        Handler::recipient(self, session, recipient)
    }

    async fn body(&mut self, session: &Session, content: Bytes) -> Decision {
        Handler::body(self, session, content)
    }

    async fn message_end(&mut self, session: &Session, size: u64) -> Decision {
        Handler::message_end(self, session, size)
    }

    async fn reset(&mut self, session: &Session, reason: ResetReason) {
        Handler::reset(self, session, reason);
    }

    async fn closing(&mut self, session: &Session, reason: CloseReason) {
        Handler::closing(self, session, reason);
    }
}

/// A server with [`Ear`]s.
pub(super) struct Server {
    service: Service,
    heard: Receiver<(u64, Heard)>,
}

impl Server {
    pub(super) fn start(runtime: Runtime) -> Self {
        Self::with(runtime, server_config())
    }

    pub(super) fn with(runtime: Runtime, config: server::Config) -> Self {
        Self::at("127.0.0.1:0", runtime, config)
    }

    pub(super) fn at(address: &str, runtime: Runtime, config: server::Config) -> Self {
        Self::new(address, runtime, config, None)
    }

    /// With a certificate.
    pub(super) fn secured(runtime: Runtime, config: server::Config, tls: ServerTls) -> Self {
        Self::new("127.0.0.1:0", runtime, config, Some(tls))
    }

    fn new(address: &str, runtime: Runtime, config: server::Config, tls: Option<ServerTls>) -> Self {
        let (tell, heard) = mpsc::channel();
        let ear = move |connection: &server::Connection| Ear::new(connection.id, &tell);
        let service = Service::start_with_tls(runtime, address, config, tls, Duration::ZERO, ear).unwrap();
        Self { service, heard }
    }

    pub(super) fn port(&self) -> u16 {
        self.service.address().tcp().unwrap().port()
    }

    pub(super) fn address(&self) -> String {
        self.service.address().to_string()
    }

    /// What is heard next, in whichever session.
    pub(super) fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("the handler hears nothing more").1
    }

    /// All that is heard up to the end of a session.
    pub(super) fn session(&self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while !matches!(heard.last(), Some(Heard::Closing(_))) {
            heard.push(self.next());
        }
        heard
    }

    pub(super) fn shut_down(&self) {
        self.service.shut_down();
    }

    pub(super) fn handle(&self) -> &Handle {
        self.service.handle()
    }

    /// Shuts down and waits for the end; gives what was heard until then and not looked at.
    pub(super) fn stop(self) -> Vec<(u64, Heard)> {
        self.service.shut_down();
        self.service.wait();
        self.heard.try_iter().collect()
    }
}

/// Serves one connection.
pub(super) fn serve<H>(runtime: Runtime, stream: TcpStream, service: impl Into<adapter::Service>, handler: H)
where
    H: server::Handler + Handler,
{
    serve_under(&Handle::new(), runtime, stream, service, handler);
}

/// Serves one connection until a handle ends it.
pub(super) fn serve_under<H>(
    handle: &Handle,
    runtime: Runtime,
    stream: TcpStream,
    service: impl Into<adapter::Service>,
    handler: H,
) where
    H: server::Handler + Handler,
{
    stream.set_nonblocking(runtime != Runtime::Blocking).unwrap();
    let (connection, service) = (server::Connection::new(1, None), service.into());
    let served = match runtime {
        Runtime::Tokio => on_tokio(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            smtp_tokio::serve_connection(stream, connection, service, handler, handle).await
        }),
        Runtime::AsyncStd => {
            let stream = async_std::net::TcpStream::from(stream);
            async_std::task::block_on(smtp_async_std::serve_connection(stream, connection, service, handler, handle))
        }
        Runtime::Blocking => smtp_blocking::serve_connection(stream, connection, service, handler, handle),
    };
    served.unwrap();
}

pub(super) fn server_config() -> server::Config {
    server::Config::new("mail.example.net").unwrap()
}

pub(super) fn client_config() -> client::Config {
    smtp_tests::in_clear("client.example.org")
}

/// An envelope of local parts.
pub(super) fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    let recipients = recipients.iter().map(|recipient| format!("{recipient}@example.net"));
    Envelope::new(&format!("{sender}@example.org"), recipients).unwrap()
}

pub(super) fn connect(runtime: Runtime, server: &str) -> Box<dyn Mailer> {
    connect_with(runtime, server, client_config()).unwrap_or_else(|error| panic!("{}: {error}", runtime.name()))
}

pub(super) fn connect_with(runtime: Runtime, server: &str, config: client::Config) -> Result<Box<dyn Mailer>, Error> {
    runtime::connect(runtime, server, config, connecting(None))
}

pub(super) fn connecting(transcript: Option<smtp_proto::transcript::Tap>) -> runtime::Connecting {
    runtime::Connecting { timeout: Some(PATIENCE), transcript, ..Default::default() }
}

/// The peer behind a plain socket.
pub(super) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(super) fn connect(server: &str) -> Self {
        Self::over(TcpStream::connect(server).unwrap())
    }

    pub(super) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// The socket, when nothing was read from it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }

    pub(super) fn say(&self, text: impl AsRef<[u8]>) {
        self.stream().write_all(text.as_ref()).unwrap();
    }

    /// The next line without its line end; `None` when the connection has come to its end.
    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("while waiting for a line, having {line:?}: {error}"),
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// The next reply; of one with several lines the last.
    pub(super) fn reply(&mut self) -> String {
        loop {
            let line = self.line().expect("a reply and not the end of the connection");
            if line.as_bytes().get(3) == Some(&b' ') {
                return line;
            }
        }
    }

    /// The reply to a command.
    pub(super) fn ask(&mut self, command: &str) -> String {
        self.say(format!("{command}\r\n"));
        self.reply()
    }

    /// The codes of all replies up to the end of the connection.
    pub(super) fn codes(&mut self) -> Vec<u16> {
        let mut codes = Vec::new();
        while let Some(line) = self.line() {
            if line.as_bytes().get(3) == Some(&b' ') {
                codes.push(line[..3].parse().unwrap());
            }
        }
        codes
    }

    /// Reads this much.
    pub(super) fn take(&mut self, octets: usize) {
        self.0.read_exact(&mut vec![0; octets]).unwrap();
    }

    /// All that still comes, to the end of the connection.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => rest,
        }
    }

    /// Reads what still comes, to the end of the connection.
    pub(super) fn drain(&mut self) {
        // A reset is an end as well.
        let _ = io::copy(&mut self.0, &mut io::sink());
    }

    /// Plays a server: answers the next line.
    pub(super) fn answer(&mut self, reply: &str) {
        self.line().expect("a command and not the end of the connection");
        self.say(format!("{reply}\r\n"));
    }

    /// Plays a server up to the hello.
    pub(super) fn welcome(&mut self, capabilities: &[&str]) {
        self.say("220 raw.example.net ESMTP\r\n");
        let lines: Vec<_> = [&["raw.example.net"], capabilities].concat();
        let (last, others) = lines.split_last().unwrap();
        let others: String = others.iter().map(|line| format!("250-{line}\r\n")).collect();
        self.answer(&format!("{others}250 {last}"));
    }

    /// Plays a server up to the 354, for one recipient.
    pub(super) fn go_ahead(&mut self) {
        self.welcome(&["PIPELINING"]);
        for reply in ["250 OK", "250 OK", "354 Go ahead"] {
            self.answer(reply);
        }
    }

    /// Sends an octet each time that nothing has come; gives the reply that came, or nothing when the connection
    /// came to its end.
    pub(super) fn drip(&mut self, octet: u8) -> Option<String> {
        self.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        loop {
            match self.stream().peek(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    // It may be closed since.
                    let _ = self.stream().write_all(&[octet]);
                }
                _ => break self.line(),
            }
        }
    }
}

/// Says that something is not tested here, past the capture of what tests print.
pub(super) fn skip(reason: &str) {
    io::stderr().write_all(format!("SKIP runtimes: {reason}\n").as_bytes()).unwrap();
}

/// A server of a plain socket that serves one connection; gives its address.
pub(super) fn peer<T: Send + 'static>(script: impl FnOnce(Raw) -> T + Send + 'static) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, thread::spawn(move || script(Raw::over(listener.accept().unwrap().0))))
}

/// Content that is made while it is read: a round of lines, again and again.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    round: Bytes,
    position: u64,
    end: u64,
    /// How much a single read gives.
    pub(super) piece: usize,
    /// Whether every other read of an asynchronous reader has to wait.
    pub(super) pauses: bool,
    paused: bool,
}

impl Pattern {
    /// So many rounds, each of some 66 KB.
    pub(super) fn new(rounds: u64) -> Self {
        Self::of(360, rounds)
    }

    /// So many rounds of so many lines.
    pub(super) fn of(lines: usize, rounds: u64) -> Self {
        let mut round = Vec::new();
        // Lines of many lengths, some with dots in front: what is lost, doubled or shifted shows.
        for number in 0..lines {
            let line = format!("{}{number} ", if number % 7 == 0 { "." } else { "" });
            round.extend_from_slice(line.as_bytes());
            round.extend((0..number).map(|letter| b'a' + (letter % 26) as u8));
            round.extend_from_slice(b"\r\n");
        }
        let (end, round) = (rounds * round.len() as u64, round.into());
        Self { round, position: 0, end, piece: usize::MAX, pauses: false, paused: false }
    }

    pub(super) fn size(&self) -> u64 {
        self.end
    }

    /// All of it.
    pub(super) fn whole(mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        self.read_to_end(&mut whole).unwrap();
        whole
    }

    /// Whether this is what comes next. It is then behind.
    pub(super) fn goes_on_with(&mut self, mut content: &[u8]) -> bool {
        while !content.is_empty() {
            let expected = self.ahead();
            let (piece, rest) = content.split_at(content.len().min(expected.len()));
            if piece.is_empty() || expected[..piece.len()] != *piece {
                return false;
            }
            self.position += piece.len() as u64;
            content = rest;
        }
        true
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.end
    }

    fn ahead(&self) -> Bytes {
        let start = (self.position % self.round.len() as u64) as usize;
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.round.slice(start..self.round.len().min(start.saturating_add(left)))
    }

    fn pause(&mut self, context: &mut Context<'_>) -> bool {
        self.paused = self.pauses && !self.paused;
        if self.paused {
            context.waker().wake_by_ref();
        }
        self.paused
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = self.ahead();
        let length = ahead.len().min(buffer.len()).min(self.piece);
        buffer[..length].copy_from_slice(&ahead[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

impl async_std::io::Read for Pattern {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.pause(context) { Poll::Pending } else { Poll::Ready(self.read(buffer)) }
    }
}

impl tokio::io::AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pause(context) {
            return Poll::Pending;
        }
        let length = self.read(buffer.initialize_unfilled())?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// Sends one message out of a pattern over a connection of its own.
pub(super) fn stream(runtime: Runtime, server: &str, config: client::Config, content: Pattern) -> Outcome {
    let envelope = envelope("stream", &["a"]);
    let size = Some(content.size());
    macro_rules! asynchronous {
        ($adapter:ident) => {
            async { $adapter::Client::connect(server, config).await?.send_from(envelope, content, size).await }
        };
    }
    let outcome = match runtime {
        Runtime::Tokio => on_tokio(asynchronous!(smtp_tokio)),
        Runtime::AsyncStd => async_std::task::block_on(asynchronous!(smtp_async_std)),
        Runtime::Blocking => {
            let client = smtp_blocking::Client::connect(server, config);
            client.and_then(|mut client| client.send_from(envelope, content, size))
        }
    };
    outcome.unwrap_or_else(|error| panic!("{}: {error}", runtime.name()))
}

/// Runs a future on a runtime of its own.
pub(super) fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
