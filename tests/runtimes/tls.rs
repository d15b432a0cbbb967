//! Sessions under TLS: what is agreed on, how they end, and what is noticed when they do not end as they should.

use std::env;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::adapter::tls::rustls::Connection;
use smtp_proto::adapter::tls::rustls::crypto::{CryptoProvider, ring};
use smtp_proto::adapter::tls::{ClientTls, ServerTls, Trust};
use smtp_proto::adapter::{Error, TlsProblem};
use smtp_proto::client::{self, TlsPolicy, Verdict};
use smtp_proto::server::{self, CloseReason, ResetReason};
use smtp_proto::{Error as SessionError, Phase, TlsInfo};
use smtp_tests::runtime::Runtime;

use super::secured::{
    ALL_VERSIONS, AUTHORITY, CERTIFICATE, End, Secure, Seen, VERSIONS, Watched, asked_for_tls, client_hello,
    client_policy, client_tls, connect_secured, connect_trusting, is_asked_for_tls, is_tls, rustls_client,
    rustls_server, server_policy, server_tls,
};
use super::support::{Raw, envelope, joined, peer};

/// The facts that a server was told about its TLS.
fn facts(seen: &[Seen]) -> TlsInfo {
    seen.iter().filter_map(Seen::hello).find_map(|(_, tls)| tls.cloned()).expect("a hello under TLS")
}

fn implicit() -> client::Config {
    client_policy(TlsPolicy::Implicit)
}

fn both_sides_agree_on_the_best_version_that_they_have(runtime: Runtime) {
    // TLS-017
    let [twelve, thirteen] = VERSIONS.map(|(_, version)| version);
    let choices: [&'static [_]; 3] = [
        std::slice::from_ref(Box::leak(Box::new(twelve))),
        std::slice::from_ref(Box::leak(Box::new(thirteen))),
        ALL_VERSIONS,
    ];
    for (client, server, expected) in [
        (0, 0, Some("TLSv1.2")),
        (0, 2, Some("TLSv1.2")),
        (2, 0, Some("TLSv1.2")),
        (1, 1, Some("TLSv1.3")),
        (1, 2, Some("TLSv1.3")),
        (2, 1, Some("TLSv1.3")),
        (2, 2, Some("TLSv1.3")),
        (0, 1, None),
        (1, 0, None),
    ] {
        let tls = ServerTls::from_config(Arc::new(rustls_server(choices[server])));
        let watched = Watched::with(runtime, server_policy(server::TlsPolicy::Offered), Some(tls));
        let tls = ClientTls::from_config(Arc::new(rustls_client(choices[client])));
        let config = client_policy(TlsPolicy::Required);
        let connected = connect_trusting(runtime, &watched.address(), config, tls);
        let case = format!("client {client}, server {server}");
        if let Some(expected) = expected {
            connected.unwrap_or_else(|error| panic!("{case}: {error}")).quit().unwrap();
            let facts = facts(&watched.session());
            assert_eq!(facts.version, expected, "{case}");
            assert!(facts.cipher_suite.starts_with("TLS_"), "{case}: {facts:?}");
            assert!(!facts.verified && facts.peer_certificates.is_empty(), "{case}: nobody showed a certificate");
            assert_eq!(facts.channel_bindings.is_empty(), expected == "TLSv1.2", "{case}");
        } else {
            let error = connected.err().expect("no version in common");
            assert!(matches!(error.tls_problem(), Some(TlsProblem::Incompatible(_))), "{case}: {error:?}");
            assert!(error.to_string().contains("TLS 1.2 is the least"), "{error}");
            assert_eq!(watched.session().last(), Some(&Seen::Closing(CloseReason::TlsFailed)), "{case}");
        }
    }
}

fn what_this_crate_chooses_is_the_best_version(runtime: Runtime) {
    // TLS-017
    let server = Watched::start(runtime, server::TlsPolicy::Implicit);
    connect_secured(runtime, &server.address(), implicit()).unwrap().quit().unwrap();
    assert_eq!(facts(&server.session()).version, "TLSv1.3");
}

fn a_server_knows_what_binds_authentication_to_the_connection(runtime: Runtime) {
    // SASL-014: the other end comes to the same.
    let server = Watched::start(runtime, server::TlsPolicy::Implicit);
    let mut client = Secure::connect(&server.address());
    client.reply();
    client.ask("EHLO client");
    let Connection::Client(connection) = client.connection() else { panic!("it is a client") };
    let exported = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
    client.ask("QUIT");
    let facts = facts(&server.session());
    let [binding] = &facts.channel_bindings[..] else { panic!("{facts:?}") };
    assert_eq!((binding.name(), binding.data()), ("tls-exporter", &exported[..]));
}

fn a_client_says_that_it_ends(runtime: Runtime) {
    // TLS-018
    for reply in ["221 Bye", "500 What?"] {
        let (address, server) = peer(move |peer| {
            let mut peer = Secure::serve(peer.into_stream());
            peer.say("220 raw.example.net\r\n");
            peer.answer("250 raw.example.net");
            peer.answer(reply);
            peer.end()
        });
        connect_secured(runtime, &address, implicit()).unwrap().quit().unwrap();
        assert_eq!(joined(server), (String::new(), End::Notice));
    }
}

const SHORT: Duration = Duration::from_millis(200);

fn a_server_says_that_it_ends(runtime: Runtime) {
    // TLS-018: whatever the reason. A reason that is told is told under TLS.
    let reasons: [(&str, CloseReason); 4] = [
        ("221 ", CloseReason::Quit),
        ("421 4.4.2 Timed out", CloseReason::Timeout(Phase::Command)),
        ("421 ", CloseReason::ShutDown),
        ("", CloseReason::Disconnected),
    ];
    for (words, reason) in reasons {
        let mut config = server_policy(server::TlsPolicy::Implicit);
        if matches!(reason, CloseReason::Timeout(_)) {
            config.timeouts.command = SHORT;
        }
        let server = Watched::with(runtime, config, Some(server_tls()));
        let mut client = Secure::connect(&server.address());
        assert!(client.reply().starts_with("220 "));
        assert_eq!(server.next(), Seen::Connected);
        match reason {
            CloseReason::Quit => client.say("QUIT\r\n"),
            CloseReason::ShutDown => server.shut_down_now(),
            CloseReason::Disconnected => client.notify(),
            _ => {}
        }
        let (said, end) = client.end();
        assert!(said.starts_with(words) && said.lines().count() <= 1, "{reason:?}: {said}");
        assert_eq!(end, End::Notice, "{reason:?}");
        assert_eq!(server.session(), [Seen::Closing(reason)]);
    }
}

/// A client of ours with a server that plays this once TLS is there and the hello is said.
fn served_by(
    runtime: Runtime,
    script: impl FnOnce(&mut Secure) + Send + 'static,
) -> (Box<dyn smtp_tests::runtime::Mailer>, std::thread::JoinHandle<()>) {
    let (address, server) = peer(|mut peer| {
        is_asked_for_tls(&mut peer, &[]);
        peer.say("220 Go ahead\r\n");
        let mut peer = Secure::serve(peer.into_stream());
        peer.answer("250 raw.example.net");
        script(&mut peer);
    });
    (connect_secured(runtime, &address, client_policy(TlsPolicy::Required)).unwrap(), server)
}

fn cut_off(peer: &Secure) {
    peer.stream().shutdown(Shutdown::Write).unwrap();
}

fn a_client_notices_that_a_reply_was_cut_off(runtime: Runtime) {
    // TLS-018
    for half in ["", "25", "250-One line\r\n", "250-One line\r\n250 OK"] {
        let (mut mailer, server) = served_by(runtime, move |peer| {
            peer.line();
            peer.say(half);
            cut_off(peer);
            peer.end();
        });
        let error = mailer.command("NOOP").unwrap_err();
        assert_eq!(error.tls_problem(), Some(&TlsProblem::Truncated), "{half:?}: {error:?}");
        assert!(error.to_string().contains("without notice (close_notify)"), "{error}");
        assert!(error.is_transient() && mailer.is_over());
        // It stays so.
        assert!(matches!(mailer.command("NOOP"), Err(Error::Over { .. })));
        drop(mailer);
        joined(server);
    }
}

fn a_client_tells_an_end_from_a_cut(runtime: Runtime) {
    // TLS-018: a server that says that nothing more comes was not cut off.
    let (mut mailer, server) = served_by(runtime, |peer| {
        peer.line();
        peer.notify();
    });
    let error = mailer.command("NOOP").unwrap_err();
    assert_eq!(error.tls_problem(), None, "{error:?}");
    let Error::Smtp { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*source, SessionError::Disconnected { phase: Phase::Command });
    joined(server);
}

fn a_client_takes_no_message_for_accepted_whose_reply_was_cut_off(runtime: Runtime) {
    // TLS-018, TLS-019: by the end of the connection; by a reply in clear behind the end of TLS; by one that somebody
    // has changed.
    let endings: [fn(&mut Secure); 4] = [
        |peer| {
            peer.say("250 2.0.0 OK");
            cut_off(peer);
        },
        |peer| {
            peer.notify();
            peer.say_below("250 2.0.0 OK\r\n");
            cut_off(peer);
        },
        |peer| {
            peer.say_below("250 2.0.0 OK\r\n");
            cut_off(peer);
        },
        |peer| {
            let mut sealed = peer.sealed("250 2.0.0 OK\r\n");
            *sealed.last_mut().unwrap() ^= 1;
            peer.say_below(sealed);
        },
    ];
    for (number, ending) in endings.into_iter().enumerate() {
        let (mut mailer, server) = served_by(runtime, move |peer| {
            for reply in ["250 OK", "250 OK", "354 Go ahead"] {
                peer.answer(reply);
            }
            while peer.line().expect("content") != "." {}
            ending(peer);
            let mut rest = Vec::new();
            let _ = peer.stream().read_to_end(&mut rest);
            assert!(is_tls(&rest), "{rest:?}");
        });
        let outcome = mailer.send(envelope("jane", &["joe"]), "Hi\r\n".into()).unwrap();
        assert_eq!(outcome.verdict(), Verdict::Unknown, "{number}: {outcome:?}");
        assert_eq!(outcome.error, Some(SessionError::Disconnected { phase: Phase::EndOfData }), "{number}");
        assert!(mailer.is_over());
        drop(mailer);
        joined(server);
    }
}

/// A client under TLS that has begun a message: its content may come.
fn amid_content(runtime: Runtime) -> (Watched, Secure) {
    let server = Watched::start(runtime, server::TlsPolicy::Required);
    let mut client = Secure::upgrade(&server.address());
    client.ask("EHLO client");
    for command in ["MAIL FROM:<jane@example.org>", "RCPT TO:<joe@example.net>"] {
        assert!(client.ask(command).starts_with("250 "));
    }
    assert!(client.ask("DATA").starts_with("354 "));
    server.until(|seen| *seen == Seen::Data);
    client.say("Subject: half a message\r\n");
    (server, client)
}

fn a_server_takes_no_message_that_was_cut_off(runtime: Runtime) {
    // TLS-018, TLS-019
    let endings: [fn(&mut Secure); 5] = [
        |client| cut_off(client),
        |client| {
            client.notify();
            cut_off(client);
        },
        // The rest in clear, behind the end of TLS or without one.
        |client| {
            client.notify();
            client.say_below("More\r\n.\r\nMAIL FROM:<evil@example.org>\r\n");
            cut_off(client);
        },
        |client| client.say_below("More\r\n.\r\nMAIL FROM:<evil@example.org>\r\n"),
        // The rest under TLS, but somebody has changed it.
        |client| {
            let mut sealed = client.sealed("More\r\n.\r\nMAIL FROM:<evil@example.org>\r\n");
            *sealed.last_mut().unwrap() ^= 1;
            client.say_below(sealed);
        },
    ];
    for (number, ending) in endings.into_iter().enumerate() {
        let (server, mut client) = amid_content(runtime);
        ending(&mut client);
        let seen = server.session();
        let (content, end): (Vec<_>, Vec<_>) = seen.into_iter().partition(|seen| matches!(seen, Seen::Body(_)));
        assert_eq!(end, [Seen::Reset(ResetReason::Closing), Seen::Closing(CloseReason::Disconnected)], "{number}");
        let content: Vec<u8> = content
            .iter()
            .flat_map(|seen| if let Seen::Body(piece) = seen { piece.to_vec() } else { vec![] })
            .collect();
        assert!(b"Subject: half a message\r\n".starts_with(&content), "{number}: {content:?}");
        // Nothing is said about it, least of all in clear.
        let mut rest = Vec::new();
        match client.stream().read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{number}: {error}"),
            _ => assert!(is_tls(&rest), "{number}: {rest:?}"),
        }
        assert_eq!(server.stop(), [], "{number}");
    }
}

fn a_server_notices_a_client_that_is_cut_off_between_commands(runtime: Runtime) {
    // TLS-018, TLS-019
    let endings: [fn(&mut Secure); 3] = [
        |client| client.say("MAIL FROM:<evil@exam"),
        |client| client.say_below("MAIL FROM:<evil@example.org>\r\n"),
        |client| {
            client.notify();
            client.say_below("MAIL FROM:<evil@example.org>\r\n");
        },
    ];
    for ending in endings {
        let server = Watched::start(runtime, server::TlsPolicy::Implicit);
        let mut client = Secure::connect(&server.address());
        client.reply();
        client.ask("EHLO client");
        ending(&mut client);
        cut_off(&client);
        let seen = server.session();
        let [Seen::Connected, Seen::Hello(..), Seen::Closing(reason)] = &seen[..] else { panic!("{seen:?}") };
        assert_ne!(*reason, CloseReason::Quit);
    }
}

fn a_server_does_not_wait_for_a_handshake_for_ever(runtime: Runtime) {
    // P19
    let hello = client_hello();
    let (half, _) = hello.split_at(hello.len() / 2);
    for policy in [server::TlsPolicy::Offered, server::TlsPolicy::Implicit] {
        for beginning in [&b""[..], half, &hello] {
            let mut config = server_policy(policy);
            config.timeouts.handshake = SHORT;
            let server = Watched::with(runtime, config, Some(server_tls()));
            let mut client = match policy {
                server::TlsPolicy::Implicit => Raw::connect(&server.address()),
                _ => asked_for_tls(&server.address()),
            };
            client.say(beginning);
            // Not a word in clear.
            let rest = client.rest();
            assert!(is_tls(&rest), "{rest:?}");
            let seen = server.session();
            assert_eq!(seen.last(), Some(&Seen::Closing(CloseReason::Timeout(Phase::Handshake))), "{seen:?}");
        }
    }
}

fn a_client_does_not_wait_for_a_handshake_for_ever(runtime: Runtime) {
    // P19
    for policy in [TlsPolicy::Required, TlsPolicy::Implicit] {
        for answers in [false, true] {
            let (address, server) = peer(move |mut peer| {
                if policy == TlsPolicy::Required {
                    is_asked_for_tls(&mut peer, &[]);
                    peer.say("220 Go ahead\r\n");
                }
                if answers {
                    peer.stream().peek(&mut [0]).unwrap();
                    peer.say([22, 3, 3, 1, 0, 2, 0]);
                }
                peer.rest()
            });
            let mut config = client_policy(policy);
            config.timeouts.handshake = SHORT;
            let error = connect_secured(runtime, &address, config).err().expect("no session");
            assert!(error.is_timeout() && error.is_transient(), "{error:?}");
            let Error::Smtp { source, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*source, SessionError::Timeout { phase: Phase::Handshake });
            let said = joined(server);
            assert!(!said.is_empty() && is_tls(&said), "{said:?}");
        }
    }
}

/// A provider that can be told from others: it has but one cipher suite.
fn peculiar() -> CryptoProvider {
    let suites = vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites: suites, ..ring::default_provider() }
}

const PECULIAR: &str = "TLS_CHACHA20_POLY1305_SHA256";

/// The cipher suite of a session between a client and a server.
fn suite(runtime: Runtime, client: ClientTls, server: ServerTls) -> String {
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Implicit), Some(server));
    connect_trusting(runtime, &server.address(), implicit(), client).unwrap().quit().unwrap();
    facts(&server.session()).cipher_suite
}

fn a_crypto_provider_that_is_given_is_the_one_in_use(runtime: Runtime) {
    let authority = AUTHORITY.pem().as_bytes();
    let (certificate, key) = (CERTIFICATE.certificate.as_bytes(), CERTIFICATE.key.as_bytes());
    let provider = Arc::new(peculiar());
    let client = ClientTls::with_provider(Trust::Authorities(authority), Arc::clone(&provider)).unwrap();
    assert_eq!(suite(runtime, client, server_tls()), PECULIAR);
    let server = ServerTls::with_provider(certificate, key, provider).unwrap();
    assert_eq!(suite(runtime, client_tls(), server.clone()), PECULIAR);
    // It is that of certificates that come later, too.
    server.replace_pem(certificate, key).unwrap();
    assert_eq!(suite(runtime, client_tls(), server.clone()), PECULIAR);
    let server = server.client_ca_pem(authority).unwrap();
    assert_eq!(suite(runtime, client_tls(), server), PECULIAR);
}

fn no_crypto_provider_has_to_be_installed(runtime: Runtime) {
    assert_ne!(suite(runtime, client_tls(), server_tls()), PECULIAR);
    // And none is, behind the program's back.
    assert!(CryptoProvider::get_default().is_none() || env::var_os(ALONE).is_some());
}

/// Set in a process that has a provider installed.
const ALONE: &str = "SMTP_TESTS_WITH_PROVIDER";

#[test]
fn a_crypto_provider_that_is_installed_is_the_one_in_use() {
    // What is installed is so for the whole process: this one is for nothing else.
    if env::var_os(ALONE).is_none() {
        let name = std::thread::current().name().unwrap().to_owned();
        let process =
            Command::new(env::current_exe().unwrap()).args(["--exact", &name]).env(ALONE, "1").output().unwrap();
        assert!(process.status.success(), "{}", String::from_utf8_lossy(&process.stdout));
        return;
    }
    peculiar().install_default().unwrap();
    for runtime in Runtime::ALL {
        assert_eq!(suite(runtime, client_tls(), server_tls()), PECULIAR);
    }
}

on_each_runtime!(
    both_sides_agree_on_the_best_version_that_they_have,
    what_this_crate_chooses_is_the_best_version,
    a_server_knows_what_binds_authentication_to_the_connection,
    a_client_says_that_it_ends,
    a_server_says_that_it_ends,
    a_client_notices_that_a_reply_was_cut_off,
    a_client_tells_an_end_from_a_cut,
    a_client_takes_no_message_for_accepted_whose_reply_was_cut_off,
    a_server_takes_no_message_that_was_cut_off,
    a_server_notices_a_client_that_is_cut_off_between_commands,
    a_server_does_not_wait_for_a_handshake_for_ever,
    a_client_does_not_wait_for_a_handshake_for_ever,
    a_crypto_provider_that_is_given_is_the_one_in_use,
    no_crypto_provider_has_to_be_installed,
);
