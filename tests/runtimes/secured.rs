//! What the tests of TLS share: certificates, a handler that is told everything, and peers behind plain sockets that
//! speak TLS by themselves.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use smtp_blocking::Handler;
use smtp_proto::TlsInfo;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::tls::rustls::pki_types::pem::PemObject;
use smtp_proto::adapter::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use smtp_proto::adapter::tls::rustls::{
    self, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use smtp_proto::adapter::tls::{ClientTls, ServerTls};
use smtp_proto::client;
use smtp_proto::sasl::Credentials;
use smtp_proto::server::{
    self, Abuse, AuthenticationFailure, CloseReason, Decision, Hello, Identity, Mail, Recipient, ResetReason, Session,
};
use smtp_proto::wire::{Query, Reply};
use smtp_tests::certificates::{Authority, Certificate};
use smtp_tests::runtime::{self, Connecting, Mailer, Runtime, Service};

use super::support::{PATIENCE, Raw, client_config, server_config};

/// The name that certificates are for unless a test is about that.
pub(super) const NAME: &str = "mail.example.test";

pub(super) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new().unwrap());

/// A certificate for [`NAME`] and the address that the servers of the tests have.
pub(super) static CERTIFICATE: LazyLock<Certificate> =
    LazyLock::new(|| AUTHORITY.server(&[NAME, "127.0.0.1"]).unwrap());

pub(super) fn server_tls() -> ServerTls {
    server_tls_with(&CERTIFICATE)
}

pub(super) fn server_tls_with(certificate: &Certificate) -> ServerTls {
    ServerTls::from_pem(certificate.certificate.as_bytes(), certificate.key.as_bytes()).unwrap()
}

/// Trusts [`AUTHORITY`].
pub(super) fn client_tls() -> ClientTls {
    ClientTls::with_ca_pem(AUTHORITY.pem().as_bytes()).unwrap()
}

pub(super) fn server_policy(tls: server::TlsPolicy) -> server::Config {
    let mut config = server_config();
    config.tls = tls;
    config
}

pub(super) fn client_policy(tls: client::TlsPolicy) -> client::Config {
    let mut config = client_config();
    config.tls = tls;
    config
}

/// Connects with trust in [`AUTHORITY`].
pub(super) fn connect_secured(
    runtime: Runtime,
    server: &str,
    config: client::Config,
) -> Result<Box<dyn Mailer>, Error> {
    connect_trusting(runtime, server, config, client_tls())
}

pub(super) fn connect_trusting(
    runtime: Runtime,
    server: &str,
    config: client::Config,
    tls: ClientTls,
) -> Result<Box<dyn Mailer>, Error> {
    runtime::connect(
        runtime,
        server,
        config,
        Connecting { timeout: Some(PATIENCE), tls: Some(tls), ..Connecting::default() },
    )
}

/// All that a handler can be told, and under which TLS.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    Connected,
    Hello(String, Option<TlsInfo>),
    StartTls,
    Authenticate(Credentials),
    AuthenticationFailed(AuthenticationFailure),
    Authenticated(Identity),
    Mail(String),
    Recipient(String),
    Data,
    Body(Bytes),
    End(u64),
    /// VRFY, EXPN, HELP, and commands that are none.
    Other(String),
    Reset(ResetReason),
    Abuse(Abuse),
    Closing(CloseReason),
}

impl Seen {
    pub(super) fn hello(&self) -> Option<(&str, Option<&TlsInfo>)> {
        if let Self::Hello(name, tls) = self { Some((name, tls.as_ref())) } else { None }
    }
}

/// What a handler says about credentials.
pub(super) type Judge = fn(&Credentials) -> Decision;

/// A handler that tells everything, and accepts everything but credentials it was not told to accept.
pub(super) struct Witness {
    tell: Sender<Seen>,
    judge: Judge,
}

impl Witness {
    pub(super) fn new(tell: &Sender<Seen>, judge: Judge) -> Self {
        Self { tell: tell.clone(), judge }
    }

    fn tell(&self, seen: Seen) -> Decision {
        // A test may not care for the rest.
        let _ = self.tell.send(seen);
        Decision::Accept
    }
}

impl Handler for Witness {
    fn connected(&mut self, _: &Session) -> Decision {
        self.tell(Seen::Connected)
    }

    fn hello(&mut self, session: &Session, hello: Hello) -> Decision {
        self.tell(Seen::Hello(hello.name.as_str().to_owned(), session.tls().cloned()))
    }

    fn starttls(&mut self, _: &Session) -> Decision {
        self.tell(Seen::StartTls)
    }

    fn authenticate(&mut self, _: &Session, credentials: Credentials) -> Decision {
        let decision = (self.judge)(&credentials);
        self.tell(Seen::Authenticate(credentials));
        decision
    }

    fn authentication_failed(&mut self, _: &Session, failure: AuthenticationFailure) {
        self.tell(Seen::AuthenticationFailed(failure));
    }

    fn authenticated(&mut self, _: &Session, identity: Identity) {
        self.tell(Seen::Authenticated(identity));
    }

    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        self.tell(Seen::Mail(mail.reverse_path.to_string()))
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        self.tell(Seen::Recipient(recipient.forward_path.to_string()))
    }

    fn data(&mut self, _: &Session) -> Decision {
        self.tell(Seen::Data)
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.tell(Seen::Body(content))
    }

    fn message_end(&mut self, _: &Session, size: u64) -> Decision {
        self.tell(Seen::End(size));
        Reply::from_static("250 2.0.0 Taken").into()
    }

    fn verify(&mut self, _: &Session, query: Query) -> Decision {
        self.tell(Seen::Other(format!("VRFY {query:?}")))
    }

    fn expand(&mut self, _: &Session, query: Query) -> Decision {
        self.tell(Seen::Other(format!("EXPN {query:?}")))
    }

    fn help(&mut self, _: &Session, topic: String) -> Decision {
        self.tell(Seen::Other(format!("HELP {topic}")))
    }

    fn other(&mut self, _: &Session, verb: String, argument: String) -> Decision {
        self.tell(Seen::Other(format!("{verb} {argument}")))
    }

    fn reset(&mut self, _: &Session, reason: ResetReason) {
        self.tell(Seen::Reset(reason));
    }

    fn abuse(&mut self, _: &Session, abuse: Abuse) {
        self.tell(Seen::Abuse(abuse));
    }

    fn closing(&mut self, _: &Session, reason: CloseReason) {
        self.tell(Seen::Closing(reason));
    }
}

/// A server with [`Witness`]es.
pub(super) struct Watched {
    service: Service,
    seen: Receiver<Seen>,
}

impl Watched {
    /// With a certificate for [`NAME`] under this policy.
    pub(super) fn start(runtime: Runtime, tls: server::TlsPolicy) -> Self {
        Self::with(runtime, server_policy(tls), Some(server_tls()))
    }

    pub(super) fn with(runtime: Runtime, config: server::Config, tls: Option<ServerTls>) -> Self {
        Self::judging(runtime, config, tls, |_| smtp_proto::sasl::Verdict::Accepted.into())
    }

    pub(super) fn judging(runtime: Runtime, config: server::Config, tls: Option<ServerTls>, judge: Judge) -> Self {
        let (tell, seen) = mpsc::channel();
        let witness = move |_: &server::Connection| Witness::new(&tell, judge);
        let service = Service::start_with_tls(runtime, "127.0.0.1:0", config, tls, Duration::ZERO, witness).unwrap();
        Self { service, seen }
    }

    pub(super) fn address(&self) -> String {
        self.service.address().to_string()
    }

    pub(super) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("the handler is told nothing more")
    }

    /// All that is told up to something.
    pub(super) fn until(&self, last: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let mut seen = vec![self.next()];
        while !seen.last().is_some_and(&last) {
            seen.push(self.next());
        }
        seen
    }

    /// All that is told up to the end of a session.
    pub(super) fn session(&self) -> Vec<Seen> {
        self.until(|seen| matches!(seen, Seen::Closing(_)))
    }

    pub(super) fn shut_down(&self) {
        self.service.shut_down();
    }

    pub(super) fn shut_down_now(&self) {
        self.service.shut_down_now();
    }

    /// Shuts down and waits for the end; gives what was told until then and not looked at.
    pub(super) fn stop(self) -> Vec<Seen> {
        self.service.shut_down();
        self.service.wait();
        self.seen.try_iter().collect()
    }
}

/// How a peer's connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By `close_notify`.
    Notice,
    /// Without.
    Cut,
}

/// A peer behind a plain socket that speaks TLS.
pub(super) struct Secure {
    connection: Connection,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Secure {
    /// Makes the handshake.
    pub(super) fn over(stream: TcpStream, connection: impl Into<Connection>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut this = Self { connection: connection.into(), stream, received: Vec::new() };
        while this.connection.is_handshaking() {
            this.connection.complete_io(&mut this.stream)?;
        }
        this.flush()?;
        Ok(this)
    }

    /// The client of a server with implicit TLS.
    pub(super) fn connect(server: &str) -> Self {
        Self::over(TcpStream::connect(server).unwrap(), tls_client(NAME)).unwrap()
    }

    /// The client of a server with STARTTLS; up to the handshake.
    pub(super) fn upgrade(server: &str) -> Self {
        Self::over(asked_for_tls(server).into_stream(), tls_client(NAME)).unwrap()
    }

    /// The server, on a connection where TLS is due.
    pub(super) fn serve(stream: TcpStream) -> Self {
        Self::over(stream, tls_server()).unwrap()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The socket below.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        self.stream.flush()
    }

    pub(super) fn say(&mut self, text: impl AsRef<[u8]>) {
        for piece in text.as_ref().chunks(16 * 1024) {
            self.connection.writer().write_all(piece).unwrap();
            self.flush().unwrap();
        }
    }

    /// Seals octets and does not send them: the records for them.
    pub(super) fn sealed(&mut self, text: impl AsRef<[u8]>) -> Vec<u8> {
        self.flush().unwrap();
        let mut records = Vec::new();
        self.connection.writer().write_all(text.as_ref()).unwrap();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut records).unwrap();
        }
        records
    }

    pub(super) fn say_below(&self, octets: impl AsRef<[u8]>) {
        (&self.stream).write_all(octets.as_ref()).unwrap();
    }

    /// Takes more of what the other end says; how much, 0 at its notice of the end.
    fn receive(&mut self) -> io::Result<usize> {
        let mut room = [0; 4096];
        loop {
            match self.connection.reader().read(&mut room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => {
                    let count = result?;
                    self.received.extend_from_slice(&room[..count]);
                    return Ok(count);
                }
            }
            self.connection.read_tls(&mut self.stream)?;
            let processed = self.connection.process_new_packets();
            self.flush()?;
            processed.map_err(io::Error::other)?;
        }
    }

    /// The next line without its line end; `None` when the other end has ended the connection, properly.
    pub(super) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if self.receive().unwrap_or_else(|error| panic!("having {:?}: {error}", self.received)) == 0 {
                assert!(self.received.is_empty(), "half a line: {:?}", self.received);
                return None;
            }
        }
    }

    /// The next reply with all its lines.
    pub(super) fn whole_reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = self.line().expect("a reply and not the end of the connection");
            reply = reply + &line + "\n";
            if line.as_bytes().get(3) == Some(&b' ') {
                return reply;
            }
        }
    }

    /// The next reply; of one with several lines the last.
    pub(super) fn reply(&mut self) -> String {
        self.whole_reply().lines().last().unwrap_or_default().to_owned()
    }

    pub(super) fn ask(&mut self, command: &str) -> String {
        self.say(format!("{command}\r\n"));
        self.reply()
    }

    /// Plays a server: answers the next line, and gives that.
    pub(super) fn answer(&mut self, reply: &str) -> String {
        let line = self.line().expect("a command and not the end of the connection");
        self.say(format!("{reply}\r\n"));
        line
    }

    /// Reads to the end: what still came, and how it ended.
    pub(super) fn end(&mut self) -> (String, End) {
        let end = loop {
            match self.receive() {
                Ok(0) => break End::Notice,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                    break End::Cut;
                }
                Err(error) => panic!("{error}"),
            }
        };
        (String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned(), end)
    }

    /// Says that nothing more comes; reads on.
    pub(super) fn notify(&mut self) {
        self.connection.send_close_notify();
        self.flush().unwrap();
    }
}

/// A client in clear that was told to begin TLS.
pub(super) fn asked_for_tls(server: &str) -> Raw {
    let mut client = Raw::connect(server);
    assert!(client.reply().starts_with("220 "));
    assert!(client.ask("EHLO client").starts_with("250 "));
    assert_eq!(client.ask("STARTTLS"), "220 2.0.0 Ready to start TLS");
    client
}

/// Plays a server in clear up to the reply to STARTTLS, which is left to the caller.
pub(super) fn is_asked_for_tls(peer: &mut Raw, capabilities: &[&str]) {
    peer.welcome(&[&["STARTTLS"], capabilities].concat());
    assert_eq!(peer.line().as_deref(), Some("STARTTLS"));
}

pub(super) fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.pem().as_bytes()).unwrap()).unwrap();
    roots
}

pub(super) const VERSIONS: [(&str, &SupportedProtocolVersion); 2] =
    [("TLSv1.2", &rustls::version::TLS12), ("TLSv1.3", &rustls::version::TLS13)];

/// Both versions.
pub(super) const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

pub(super) fn rustls_client(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth()
}

pub(super) fn rustls_server(versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(&CERTIFICATE), key(&CERTIFICATE))
        .unwrap()
}

pub(super) fn chain(certificate: &Certificate) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(certificate.certificate.as_bytes()).map(Result::unwrap).collect()
}

pub(super) fn key(certificate: &Certificate) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap()
}

/// The client's end of a connection to a server of this name.
pub(super) fn tls_client(name: &str) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    ClientConnection::new(Arc::new(rustls_client(ALL_VERSIONS)), name).unwrap()
}

pub(super) fn tls_server() -> ServerConnection {
    ServerConnection::new(Arc::new(rustls_server(ALL_VERSIONS))).unwrap()
}

/// The first octets of a handshake.
pub(super) fn client_hello() -> Vec<u8> {
    let mut octets = Vec::new();
    tls_client(NAME).write_tls(&mut octets).unwrap();
    octets
}

/// Whether octets are records of TLS and nothing else.
pub(super) fn is_tls(mut octets: &[u8]) -> bool {
    while let [20..=23, 3, 0..=4, high, low, rest @ ..] = octets {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(next) = rest.get(length..) else { return false };
        octets = next;
    }
    octets.is_empty()
}
