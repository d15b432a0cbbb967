//! Logging in, between all clients and all servers.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp_blocking::Handler;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::tls::{ClientTls, ServerTls};
use smtp_proto::client::{self, Authentication, TlsPolicy};
use smtp_proto::sasl::{self, Credentials, Login, Mechanism};
use smtp_proto::server::{self, Abuse, AuthenticationFailure, CloseReason, Decision, Session};
use smtp_proto::{AuthenticationError, Error as SessionError};
use smtp_tests::runtime::{Runtime, Service};
use smtp_tests::secrets::occurs;

use super::delivery::pairs;
use super::secured::{
    Secure, Seen, VERSIONS, Watched, client_policy, connect_secured, connect_trusting, rustls_client, rustls_server,
    server_policy, server_tls,
};
use super::support::{PATIENCE, envelope, joined, limited, peer};

const PASSWORD: &str = "Vingt-trois-à-la-douzaine";

fn judge(credentials: &Credentials) -> Decision {
    credentials.verify_password(&PASSWORD.into()).into()
}

/// A server that one can log in to.
fn with_login(runtime: Runtime, mechanisms: &[&'static dyn Mechanism], tls: ServerTls) -> Watched {
    let mut config = server_policy(server::TlsPolicy::Required);
    config.mechanisms = mechanisms.to_vec();
    config.require_auth = true;
    Watched::judging(runtime, config, Some(tls), judge)
}

/// A client that must log in.
fn logging_in(password: &str, mechanisms: &[&'static dyn Mechanism]) -> client::Config {
    let mut config = client_policy(TlsPolicy::Required);
    let mut login = Login::password("jane", password).unwrap();
    if !mechanisms.is_empty() {
        login = login.mechanisms(mechanisms.iter().copied());
    }
    config.authentication = Authentication::Required(login);
    config
}

/// By which mechanism somebody was let in.
fn let_in(seen: &[Seen]) -> Option<&str> {
    seen.iter().find_map(|seen| if let Seen::Authenticated(who) = seen { Some(&*who.mechanism) } else { None })
}

fn all() -> [&'static dyn Mechanism; 4] {
    [sasl::PLAIN, sasl::LOGIN, sasl::SCRAM_SHA_256, sasl::SCRAM_SHA_256_PLUS]
}

#[test]
fn everybody_logs_in_everywhere_by_every_mechanism() {
    // SASL-014: both sides come to the same channel binding.
    limited(|| {
        for (client, server, pair) in pairs() {
            for mechanism in all() {
                let server = with_login(server, &[mechanism], server_tls());
                let case = format!("{pair}, {}", mechanism.name());
                let mailer = connect_secured(client, &server.address(), logging_in(PASSWORD, &[]));
                let mut mailer = mailer.unwrap_or_else(|error| panic!("{case}: {error}"));
                let outcome = mailer.send(envelope("jane", &["joe"]), "Hi\r\n".into()).unwrap();
                assert!(outcome.is_delivered(), "{case}: {outcome:?}");
                mailer.quit().unwrap();
                let seen = server.session();
                assert_eq!(let_in(&seen), Some(mechanism.name()), "{case}");
                assert!(seen.contains(&Seen::End(4)), "{case}");
                // AUTH-019
                assert_eq!(occurs(PASSWORD.as_bytes(), &format!("{seen:?} {seen:#?}")), None, "{case}");
            }
        }
    });
}

fn a_login_is_tied_to_the_connection_where_that_can_be(runtime: Runtime) {
    // AUTH-018, SASL-011, SASL-014, SASL-015
    for ((name, version), expected) in VERSIONS.into_iter().zip([sasl::SCRAM_SHA_256, sasl::SCRAM_SHA_256_PLUS]) {
        let tls = ServerTls::from_config(Arc::new(rustls_server(&[version])));
        let server = with_login(runtime, &all(), tls);
        let client = ClientTls::from_config(Arc::new(rustls_client(&[version])));
        let connect = |config| connect_trusting(runtime, &server.address(), config, client.clone());
        connect(logging_in(PASSWORD, &[])).unwrap().quit().unwrap();
        assert_eq!(let_in(&server.session()), Some(expected.name()), "{name}");
        // Who insists is let in or told, but never logs in without.
        match connect(logging_in(PASSWORD, &[sasl::SCRAM_SHA_256_PLUS])) {
            Ok(mailer) => {
                mailer.quit().unwrap();
                assert_eq!(name, "TLSv1.3");
            }
            Err(error) => {
                let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else {
                    panic!("{name}: {error:?}");
                };
                let offered = "PLAIN LOGIN SCRAM-SHA-256".to_owned();
                assert_eq!(*source, AuthenticationError::NoMechanism { offered });
                assert_eq!(name, "TLSv1.2");
            }
        }
    }
}

/// Somebody in between who has a certificate that the client trusts, and passes on what both sides say.
fn passes_on(client: TcpStream, server: &str) {
    let mut server = Secure::connect(server);
    let mut client = Secure::serve(client);
    loop {
        client.say(server.whole_reply().replace('\n', "\r\n"));
        let line = client.line().expect("a command");
        server.say(format!("{line}\r\n"));
        if line == "QUIT" {
            return;
        }
    }
}

fn somebody_in_between_cannot_pass_on_a_login_that_is_tied_to_the_connection(runtime: Runtime) {
    // SASL-009, SASL-014
    for (mechanism, passes) in [(sasl::SCRAM_SHA_256, true), (sasl::SCRAM_SHA_256_PLUS, false)] {
        let mut config = server_policy(server::TlsPolicy::Implicit);
        config.mechanisms = all().to_vec();
        let server = Watched::judging(runtime, config, Some(server_tls()), judge);
        let behind = server.address();
        let (address, between) = peer(move |peer| passes_on(peer.into_stream(), &behind));
        let mut config = logging_in(PASSWORD, &[mechanism]);
        config.tls = TlsPolicy::Implicit;
        let connected = connect_secured(runtime, &address, config);
        if passes {
            // It does where the connection is left out of it.
            connected.unwrap().quit().unwrap();
        } else {
            let error = connected.err().expect("not let in");
            let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else { panic!("{error:?}") };
            assert!(matches!(source, AuthenticationError::Refused { .. }), "{source:?}");
        }
        joined(between);
        assert_eq!(let_in(&server.session()), passes.then_some(mechanism.name()));
    }
}

fn a_wrong_password_is_refused(runtime: Runtime) {
    for mechanism in all() {
        let server = with_login(runtime, &[mechanism], server_tls());
        let error = connect_secured(runtime, &server.address(), logging_in("wrong", &[])).err().expect("refused");
        let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else { panic!("{error:?}") };
        let AuthenticationError::Refused { mechanism: tried, reply, .. } = source else { panic!("{source:?}") };
        assert_eq!((&**tried, &*reply.to_string()), (mechanism.name(), "535 5.7.8 Authentication credentials invalid"));
        assert!(!error.is_transient() && error.to_string().contains("535 5.7.8"), "{error}");
        let seen = server.session();
        let failures: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::AuthenticationFailed(_))).collect();
        let [Seen::AuthenticationFailed(failure)] = failures[..] else { panic!("{seen:?}") };
        assert_eq!((failure.username.as_deref(), failure.failures), (Some("jane"), 1));
        assert_eq!(let_in(&seen), None);
    }
}

fn a_wrong_password_is_refused_whatever_the_server_offers(runtime: Runtime) {
    // Not what becomes of the session when it was tried in too many ways.
    let server = with_login(runtime, &all(), server_tls());
    let error = connect_secured(runtime, &server.address(), logging_in("wrong", &[])).err().expect("refused");
    let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else { panic!("{error:?}") };
    assert!(matches!(source, AuthenticationError::Refused { .. }), "{source:?}");
}

/// The command for a login with the user's name and a password.
fn plain(password: &str) -> String {
    format!("AUTH PLAIN {}", STANDARD.encode(format!("\0jane\0{password}")))
}

fn a_server_takes_three_wrong_passwords_and_no_more(runtime: Runtime) {
    let server = with_login(runtime, &[sasl::PLAIN], server_tls());
    let mut client = Secure::upgrade(&server.address());
    client.ask("EHLO client");
    for _ in 0..3 {
        assert!(client.ask(&plain("wrong")).starts_with("535 5.7.8 "));
    }
    assert_eq!(client.line().as_deref(), Some("421 4.7.0 Too many failed authentications"));
    assert_eq!(client.line(), None);
    let abuse = Abuse::AuthenticationFailures;
    let seen = server.session();
    assert_eq!(seen[seen.len() - 2..], [Seen::Abuse(abuse), Seen::Closing(CloseReason::Abuse(abuse))]);
    // The right one is none the worse for it.
    let mut client = Secure::upgrade(&server.address());
    client.ask("EHLO client");
    assert!(client.ask(&plain("wrong")).starts_with("535 "));
    assert!(client.ask(&plain(PASSWORD)).starts_with("235 2.7.0 "));
    assert!(client.ask("MAIL FROM:<jane@example.org>").starts_with("250 "));
}

/// A handler that takes its time about a wrong password: until it is told to go on.
struct Patient {
    tell: Sender<AuthenticationFailure>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl Handler for Patient {
    fn authentication_failed(&mut self, _: &Session, failure: AuthenticationFailure) {
        self.tell.send(failure).unwrap();
        self.go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    }
}

fn an_application_may_let_the_client_wait_for_the_bad_news(runtime: Runtime) {
    let ((tell, told), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    let mut config = server_policy(server::TlsPolicy::Implicit);
    config.mechanisms = vec![sasl::PLAIN];
    let go_on = Arc::new(Mutex::new(go_on));
    let handler = move |_: &server::Connection| Patient { tell: tell.clone(), go_on: Arc::clone(&go_on) };
    let tls = Some(server_tls());
    let service = Service::start_with_tls(runtime, "127.0.0.1:0", config, tls, Duration::ZERO, handler).unwrap();
    let mut client = Secure::connect(&service.address().to_string());
    client.reply();
    client.ask("EHLO client");
    client.say(format!("{}\r\nNOOP\r\n", plain("wrong")));
    let failure = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&*failure.mechanism, failure.username.as_deref(), failure.failures), ("PLAIN", Some("jane"), 1));
    assert_eq!(occurs(b"wrong", &format!("{failure:?}")), None);
    // The server can have said nothing yet.
    client.stream().set_nonblocking(true).unwrap();
    assert_eq!(client.stream().peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.stream().set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    assert!(client.reply().starts_with("535 5.7.8 "));
    assert!(client.reply().starts_with("250 "));
}

fn an_exchange_that_is_cut_off_lets_nobody_in(runtime: Runtime) {
    // TLS-018: all but the last octet, and all in clear behind the end of TLS.
    let endings: [fn(&mut Secure); 3] = [
        |client| client.say(plain(PASSWORD) + "\r"),
        |client| client.say_below(plain(PASSWORD) + "\r\n"),
        |client| {
            client.notify();
            let _ = client.stream().write_all((plain(PASSWORD) + "\r\n").as_bytes());
        },
    ];
    for ending in endings {
        let server = with_login(runtime, &[sasl::PLAIN], server_tls());
        let mut client = Secure::upgrade(&server.address());
        client.ask("EHLO client");
        ending(&mut client);
        client.stream().shutdown(std::net::Shutdown::Write).unwrap();
        let seen = server.session();
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Authenticate(_) | Seen::Authenticated(_))), "{seen:?}");
    }
}

on_each_runtime!(
    a_login_is_tied_to_the_connection_where_that_can_be,
    somebody_in_between_cannot_pass_on_a_login_that_is_tied_to_the_connection,
    a_wrong_password_is_refused,
    a_wrong_password_is_refused_whatever_the_server_offers,
    a_server_takes_three_wrong_passwords_and_no_more,
    an_application_may_let_the_client_wait_for_the_bad_news,
    an_exchange_that_is_cut_off_lets_nobody_in,
);
