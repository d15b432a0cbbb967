//! Tests of TLS in memory: what is wrong is told, what is right gets through.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use super::*;
use crate::adapter::{TlsFailure, TlsProblem};
use crate::tls::TlsInfo;

/// One direction of a connection.
#[derive(Default)]
struct Wire {
    octets: VecDeque<u8>,
    closed: bool,
    /// Octets that it takes before the reader takes some.
    room: Option<usize>,
}

/// An end of a connection in memory that does not block.
struct End {
    incoming: Rc<RefCell<Wire>>,
    outgoing: Rc<RefCell<Wire>>,
}

fn pipe() -> (End, End) {
    let (a, b) = (Rc::<RefCell<Wire>>::default(), Rc::<RefCell<Wire>>::default());
    (End { incoming: Rc::clone(&a), outgoing: Rc::clone(&b) }, End { incoming: b, outgoing: a })
}

impl Read for End {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.incoming.borrow_mut();
        match wire.octets.read(octets)? {
            0 if !wire.closed => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for End {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut wire = self.outgoing.borrow_mut();
        let room = wire.room.map_or(usize::MAX, |room| room - wire.octets.len());
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = &octets[..octets.len().min(room)];
        wire.octets.extend(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut parameters = CertificateParams::default();
        let name = format!("Authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> ServerTls {
        let (certificate, key) = self.issue(name, change);
        ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    fn client(&self) -> ClientTls {
        ClientTls::with_ca_pem(self.pem().as_bytes()).unwrap()
    }
}

/// Both ends of a connection.
struct Both {
    client: (Tunnel, End),
    server: (Tunnel, End),
    /// What the server is given before it reads.
    early: BytesMut,
}

type Shaken = (io::Result<TlsInfo>, io::Result<TlsInfo>);

impl Both {
    fn new(client: ClientTls, peer: &str, server: ServerTls) -> Self {
        let (ours, theirs) = pipe();
        Self {
            client: (TlsSide::Client(Some(client)).begin(peer).unwrap(), ours),
            server: (TlsSide::Server(Some(server)).begin("a client").unwrap(), theirs),
            early: BytesMut::new(),
        }
    }

    /// The handshake, up to its end on both sides.
    fn shake(&mut self) -> Shaken {
        let (mut client, mut server) = (None, None);
        while client.is_none() || server.is_none() {
            client = client.or_else(|| done(self.client.0.handshake(&mut self.client.1, &mut BytesMut::new())));
            server = server.or_else(|| done(self.server.0.handshake(&mut self.server.1, &mut self.early)));
            // What is left of the handshake goes with what follows.
            _ = (self.client.0.flush(&mut self.client.1), self.server.0.flush(&mut self.server.1));
            if client.as_ref().is_some_and(Result::is_err) {
                self.client.1.outgoing.borrow_mut().closed = true;
            }
        }
        (client.unwrap(), server.unwrap())
    }

    fn shaken(client: ClientTls, peer: &str, server: ServerTls) -> (Self, TlsInfo, TlsInfo) {
        let mut both = Self::new(client, peer, server);
        let (ours, theirs) = both.shake();
        (both, ours.unwrap(), theirs.unwrap())
    }

    fn say(&mut self, words: &[u8]) -> io::Result<usize> {
        self.client.0.write_vectored(&mut self.client.1, &[IoSlice::new(words)])
    }

    fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut heard = BytesMut::new();
        self.server.0.read(&mut self.server.1, &mut heard).map(|_| heard.to_vec())
    }
}

fn done<T>(result: io::Result<T>) -> Option<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

fn problem<T: std::fmt::Debug>(result: io::Result<T>) -> TlsProblem {
    result.unwrap_err().downcast::<TlsFailure>().unwrap().problem
}

/// What the client and the server say when the client connects to `peer`.
fn problems(client: ClientTls, peer: &str, server: ServerTls) -> (TlsProblem, TlsProblem) {
    let (client, server) = Both::new(client, peer, server).shake();
    (problem(client), problem(server))
}

#[test]
fn both_sides_know_the_same_connection() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    let (mut both, ours, theirs) = Both::shaken(authority.client(), "mail.example.:25", server);
    assert_eq!((ours.version.as_str(), theirs.version.as_str()), ("TLSv1.3", "TLSv1.3"));
    assert!(ours.cipher_suite.starts_with("TLS_AES_"), "{ours:?}");
    assert_eq!(ours.cipher_suite, theirs.cipher_suite);
    assert!(ours.verified && !theirs.verified);
    assert_eq!((ours.peer_certificates.len(), theirs.peer_certificates.len()), (1, 0));
    assert_eq!(ours.server_name.as_deref(), Some("mail.example"));
    assert_eq!(theirs.server_name, ours.server_name);
    let [binding] = &ours.channel_bindings[..] else { panic!("{ours:?}") };
    assert_eq!((binding.name(), binding.data().len()), ("tls-exporter", 32));
    assert_eq!(theirs.channel_bindings, ours.channel_bindings);
    both.say(b"EHLO me\r\n").unwrap();
    assert_eq!(both.hear().unwrap(), b"EHLO me\r\n");
    both.client.0.close(&mut both.client.1).unwrap();
    assert_eq!(both.hear().unwrap(), b"");
}

#[test]
fn tls_1_2_has_no_channel_binding() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    let mut config = rustls::ServerConfig::builder_with_provider(default_provider().unwrap())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&server.config().cert_resolver));
    config.send_tls13_tickets = 0;
    server.replace_config(Arc::new(config));
    let (_, ours, theirs) = Both::shaken(authority.client(), "mail.example", server);
    assert_eq!(ours.version, "TLSv1.2");
    assert!(ours.cipher_suite.starts_with("TLS_ECDHE_"), "{ours:?}");
    assert!(ours.channel_bindings.is_empty() && theirs.channel_bindings.is_empty());
}

#[test]
fn certificates_that_are_no_good_are_told_apart() {
    let authority = Authority::new();
    let expired = authority.server("mail.example", |parameters| parameters.not_after = date_time_ymd(2001, 2, 3));
    let (ours, theirs) = problems(authority.client(), "mail.example", expired);
    assert_eq!(ours, TlsProblem::Expired);
    assert!(matches!(theirs, TlsProblem::CertificateRefused(_)), "{theirs:?}");

    let early = authority.server("mail.example", |parameters| {
        parameters.not_before = date_time_ymd(4000, 2, 3);
        parameters.not_after = date_time_ymd(4001, 2, 3);
    });
    assert_eq!(problems(authority.client(), "mail.example", early).0, TlsProblem::NotYetValid);

    let server = || authority.server("mail.example", |_| {});
    let (ours, _) = problems(authority.client(), "other.example:25", server());
    let certified = vec!["mail.example".to_owned()];
    assert_eq!(ours, TlsProblem::WrongName { expected: "other.example".to_owned(), certified });
    assert!(ours.to_string().contains("not for other.example but for mail.example"), "{ours}");
    assert!(matches!(problems(authority.client(), "192.0.2.1:25", server()).0, TlsProblem::WrongName { .. }));

    assert_eq!(problems(Authority::new().client(), "mail.example", server()).0, TlsProblem::UnknownIssuer);
}

#[test]
fn the_name_to_verify_can_be_another() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    let client = authority.client().server_name("mail.example").unwrap();
    let (_, ours, theirs) = Both::shaken(client, "the other end", server);
    assert!(ours.verified);
    assert_eq!(theirs.server_name.as_deref(), Some("mail.example"));
}

#[test]
fn an_address_is_verified_and_not_asked_for() {
    let authority = Authority::new();
    let server = authority.server("2001:db8::1", |_| {});
    let (_, ours, theirs) = Both::shaken(authority.client(), "[2001:db8::1]:25", server);
    assert!(ours.verified);
    assert_eq!((ours.server_name, theirs.server_name), (None, None));
}

#[test]
fn an_unverified_certificate_is_told_to_be_one() {
    let server = Authority::new().server("mail.example", |_| {});
    let client = ClientTls::accepting_unverified_certificates().unwrap();
    let (_, ours, _) = Both::shaken(client, "other.example", server);
    assert!(!ours.verified);
    assert_eq!(ours.peer_certificates.len(), 1);
}

#[test]
fn clients_can_show_certificates() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server("mail.example", |_| {}).client_ca_pem(clients.pem().as_bytes()).unwrap();
    let (_, _, theirs) = Both::shaken(authority.client(), "mail.example", server.clone());
    assert!(!theirs.verified, "no certificate is no obstacle");

    let (certificate, key) = clients.issue("jane.example", |_| {});
    let client = authority.client().certificate_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let (_, _, theirs) = Both::shaken(client, "mail.example", server.clone());
    assert!(theirs.verified);
    assert_eq!(theirs.peer_certificates.len(), 1);

    let (certificate, key) = Authority::new().issue("jane.example", |_| {});
    let client = authority.client().certificate_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let mut both = Both::new(client, "mail.example", server);
    let (_, theirs) = both.shake();
    assert_eq!(problem(theirs), TlsProblem::UnknownIssuer);
    // Under TLS 1.3 the client hears of it after the handshake.
    let heard = both.client.0.read(&mut both.client.1, &mut BytesMut::new());
    assert!(matches!(problem(heard), TlsProblem::CertificateRefused(_)));
}

#[test]
fn a_peer_without_tls_is_recognised() {
    let authority = Authority::new();
    for words in [&b"220 mail.example ESMTP\r\n"[..], b"500 what?\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (mut ours, theirs) = pipe();
        let mut client = TlsSide::Client(Some(authority.client())).begin("mail.example").unwrap();
        theirs.outgoing.borrow_mut().octets.extend(words);
        assert_eq!(problem(client.handshake(&mut ours, &mut BytesMut::new())), TlsProblem::NotTls);
        assert_eq!(problem(client.handshake(&mut ours, &mut BytesMut::new())), TlsProblem::NotTls, "it lasts");
        let written = client.write_vectored(&mut ours, &[IoSlice::new(b"QUIT\r\n")]);
        assert_eq!(written.unwrap_err().kind(), ErrorKind::NotConnected);
    }
    let (ours, mut theirs) = pipe();
    let server = authority.server("mail.example", |_| {});
    let mut server = TlsSide::Server(Some(server)).begin("a client").unwrap();
    ours.outgoing.borrow_mut().octets.extend(b"EHLO me\r\n");
    assert_eq!(problem(server.handshake(&mut theirs, &mut BytesMut::new())), TlsProblem::NotTls);
}

#[test]
fn octets_that_were_read_before_are_taken_first() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    for early in [1, 4, 5, 6, 100, usize::MAX] {
        let mut both = Both::new(authority.client(), "mail.example", server.clone());
        // The client's first octets, of which the server's driver has so many already.
        let hello = both.client.0.handshake(&mut both.client.1, &mut BytesMut::new());
        assert_eq!(hello.unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut wire = both.client.1.outgoing.borrow_mut();
        let early = early.min(wire.octets.len());
        both.early.extend(wire.octets.drain(..early));
        drop(wire);
        let (client, server) = both.shake();
        client.unwrap();
        server.unwrap();
        assert!(both.early.is_empty());
        both.say(b"EHLO me\r\n").unwrap();
        assert_eq!(both.hear().unwrap(), b"EHLO me\r\n");
    }
}

#[test]
fn ends_without_notice_are_told() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    let (mut both, _, _) = Both::shaken(authority.client(), "mail.example", server.clone());
    both.say(b"DATA\r\n").unwrap();
    both.client.1.outgoing.borrow_mut().closed = true;
    assert_eq!(both.hear().unwrap(), b"DATA\r\n", "what came before counts");
    assert_eq!(problem(both.hear()), TlsProblem::Truncated);

    let mut both = Both::new(authority.client(), "mail.example", server);
    both.client.1.outgoing.borrow_mut().closed = true;
    assert_eq!(problem(both.server.0.handshake(&mut both.server.1, &mut BytesMut::new())), TlsProblem::HandshakeLost);
}

#[test]
fn what_came_before_a_fault_counts() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    let (mut both, _, _) = Both::shaken(authority.client(), "mail.example", server);
    both.say(b"RSET\r\n").unwrap();
    both.client.1.outgoing.borrow_mut().octets.extend(b"QUIT\r\nin clear");
    assert_eq!(both.hear().unwrap(), b"RSET\r\n");
    assert!(matches!(problem(both.hear()), TlsProblem::Protocol(_)));
}

#[test]
fn a_slow_stream_loses_nothing() {
    let authority = Authority::new();
    let server = authority.server("mail.example", |_| {});
    let mut both = Both::new(authority.client(), "mail.example", server);
    both.client.1.outgoing.borrow_mut().room = Some(7);
    both.server.1.outgoing.borrow_mut().room = Some(5);
    let (ours, theirs) = both.shake();
    assert_eq!(ours.unwrap().version, theirs.unwrap().version);
    let words: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    let (mut said, mut heard) = (0, Vec::new());
    while heard.len() < words.len() {
        match both.say(&words[said..]) {
            Ok(taken) => said += taken,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if let Some(octets) = done(both.hear()) {
            heard.extend(octets.unwrap());
        }
    }
    assert!(heard == words);
}

#[test]
fn a_certificate_is_replaced_for_connections_to_come() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = old.server("mail.example", |_| {});
    let (mut running, _, _) = Both::shaken(old.client(), "mail.example", server.clone());
    let (certificate, key) = new.issue("mail.example", |_| {});
    let (other, _) = new.issue("mail.example", |_| {});
    assert!(matches!(server.replace_pem(other.as_bytes(), key.as_bytes()), Err(SetupError::KeyMismatch)));
    Both::shaken(old.client(), "mail.example", server.clone());
    server.clone().replace_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    Both::shaken(new.client(), "mail.example", server);
    running.say(b"NOOP\r\n").unwrap();
    assert_eq!(running.hear().unwrap(), b"NOOP\r\n");
}

#[test]
fn all_but_the_certificate_stays_when_it_is_replaced() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("mail.example", |_| {});
    let asking = authority.server("mail.example", |_| {}).client_ca_pem(authority.pem().as_bytes()).unwrap();
    // One that insists on a certificate, too.
    let insisting = {
        let roots =
            Arc::new(crate::adapter::tls::pem::Pem::given(authority.pem().as_bytes(), "").authorities().unwrap());
        let provider = Arc::clone(asking.config().crypto_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::clone(&asking.config().cert_resolver));
        config.alpn_protocols = vec![b"smtp".to_vec()];
        ServerTls::from_config(Arc::new(config))
    };
    for server in [asking, insisting] {
        let protocols = server.config().alpn_protocols.clone();
        server.replace_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(server.config().alpn_protocols, protocols);
        let (shown, its_key) = authority.issue("client.example", |_| {});
        let client = authority.client().certificate_pem(shown.as_bytes(), its_key.as_bytes()).unwrap();
        let (_, _, seen) = Both::shaken(client, "mail.example", server.clone());
        assert!(seen.verified && seen.peer_certificates.len() == 1);
        let mut nobody = Both::new(authority.client(), "mail.example", server);
        let (_, served) = nobody.shake();
        assert_eq!(served.is_ok(), protocols.is_empty(), "{served:?}");
    }
}

#[test]
fn what_cannot_be_set_up_is_told() {
    let (certificate, key) = Authority::new().issue("mail.example", |_| {});
    let with = |certificate: &str, key: &str| ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(with("", &key), SetupError::NoCertificate { .. }));
    assert!(matches!(with(&certificate, &certificate), SetupError::NoKey { .. }));
    assert!(matches!(with(&certificate.replace("END", "end"), &key), SetupError::DamagedPem { .. }));
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert!(matches!(with(&certificate, &encrypted), SetupError::EncryptedKey { .. }));
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n";
    let encrypted = format!("{encrypted}-----END RSA PRIVATE KEY-----\n");
    assert!(matches!(with(&certificate, &encrypted), SetupError::EncryptedKey { .. }));
    assert!(matches!(ClientTls::with_ca_pem(b"no"), Err(SetupError::NoCertificate { .. })));
    let missing = ClientTls::with_ca_file("/nowhere/ca.pem").unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nowhere/ca.pem: "), "{missing}");
    assert!(matches!(problem(TlsSide::Server(None).begin("a client")), TlsProblem::Setup(_)));
    let client = TlsSide::Client(Some(Authority::new().client()));
    let unnamed = problem(client.begin("the other end")).to_string();
    assert!(unnamed.contains("`the other end` is neither a host name nor an IP address"), "{unnamed}");
}
