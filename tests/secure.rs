//! TLS and authentication between both machines: nothing said in clear survives, no fault lets anybody in or makes a
//! false outcome.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use smtp_proto::client::{self, Authentication, Client, Envelope, Event as ClientEvent, Outcome};
use smtp_proto::sasl::{self, Credentials, Login, Mechanism, ScramHash, ScramKeys, Verdict};
use smtp_proto::server::{self, Abuse, CloseReason, Decision, Event, Server};
use smtp_proto::{ApiMisuse, Error, Instant, Machine, PeerFault, Secret, Step, TlsInfo};
use smtp_tests::pair::{Fault, Numbers, Pair};

const NOW: Instant = Instant::since_epoch(std::time::Duration::ZERO);

fn facts() -> TlsInfo {
    TlsInfo::new("TLSv1.3", "TLS_AES_256_GCM_SHA384")
}

fn server(tls: server::TlsPolicy) -> Server {
    let mut config = server::Config::new("mx.test").unwrap();
    config.tls = tls;
    config.mechanisms = vec![sasl::PLAIN];
    config.nonces = Some(|| Some([3; 24]));
    Server::new(Arc::new(config), NOW)
}

/// Runs a server that accepts everything until it reads, waits for TLS, or is closed.
fn run(server: &mut Server, rx: &mut BytesMut) -> (String, Vec<Event>, Step<()>) {
    let (mut said, mut events) = (Vec::new(), Vec::new());
    loop {
        match server.step(NOW, rx).unwrap() {
            Step::Event(event) => {
                if event.is_question() {
                    server.decide(Decision::Accept).unwrap();
                }
                events.push(event);
            }
            Step::Write => {
                let count = server.output().remaining();
                said.extend_from_slice(&server.output().copy_to_bytes(count));
            }
            Step::Read => return (String::from_utf8(said).unwrap(), events, Step::Read),
            Step::UpgradeTls => return (String::from_utf8(said).unwrap(), events, Step::UpgradeTls),
            Step::Close => return (String::from_utf8(said).unwrap(), events, Step::Close),
            Step::Decide => panic!("all is decided"),
        }
    }
}

#[test]
fn octets_in_the_segment_of_starttls_end_the_session() {
    // TLS-003, TLS-020
    for behind in ["\r", "N", "NOOP\r\n", "EHLO evil.test\r\nMAIL FROM:<evil@a.test>\r\n", "\u{16}\u{3}\u{1}"] {
        let mut server = server(server::TlsPolicy::Offered);
        let mut rx = BytesMut::from(&*format!("EHLO c.test\r\nSTARTTLS\r\n{behind}"));
        let (said, events, end) = run(&mut server, &mut rx);
        assert!(said.ends_with("554 5.5.1 Nothing may follow STARTTLS before TLS\r\n"), "{said}");
        assert!(!said.contains("220 2.0.0"), "{said}");
        assert_eq!(end, Step::Close);
        assert_eq!(events.last(), Some(&Event::Closing(CloseReason::Abuse(Abuse::BehindStartTls))));
        assert!(!events.iter().any(|event| matches!(event, Event::Mail(_))));
        // And the refusal stays.
        assert_eq!(server.tls_established(&mut BytesMut::new(), facts()), Err(ApiMisuse::NoHandshake));
    }
}

#[test]
fn a_server_takes_no_octets_in_clear_into_tls() {
    // TLS-003, TLS-020, H-TL-1
    let mut server = server(server::TlsPolicy::Offered);
    let mut rx = BytesMut::from("STARTTLS\r\n");
    assert_eq!(run(&mut server, &mut rx).2, Step::UpgradeTls);
    rx.extend_from_slice(b"RSET\r\n");
    assert_eq!(server.tls_established(&mut rx, facts()), Err(ApiMisuse::OctetsInClear));
    let (said, events, end) = run(&mut server, &mut rx);
    assert_eq!((&*said, end), ("", Step::Close));
    assert_eq!(events.last(), Some(&Event::Closing(CloseReason::Abuse(Abuse::BehindStartTls))));
}

#[test]
fn what_was_said_in_clear_changes_nothing_afterwards() {
    // TLS-004, P13: the same dialogue behind TLS whatever came before it.
    let clear = [
        "",
        "EHLO other.test\r\n",
        "HELO other.test\r\n",
        "EHLO other.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n",
        "NONSENSE\r\nNONSENSE\r\nRCPT TO:<>\r\n",
        "NOOP\r\nRSET\r\nVRFY x\r\n",
        "EHLO other.test\r\nAUTH PLAIN AGEAYg==\r\nAUTH NOTHING\r\nAMFuZQ\r\n",
    ];
    let after = "MAIL FROM:<>\r\nAMFUZQ\r\nEHLO c.test\r\nSTARTTLS\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n\
                 DATA\r\nHi\r\n.\r\nNOOP\r\nQUIT\r\n";
    let mut seen = Vec::new();
    for clear in clear {
        let mut server = server(server::TlsPolicy::Offered);
        let mut rx = BytesMut::from(&*format!("{clear}STARTTLS\r\n"));
        assert_eq!(run(&mut server, &mut rx).2, Step::UpgradeTls, "{clear}");
        server.tls_established(&mut rx, facts()).unwrap();
        assert!(server.session().hello().is_none() && server.session().transaction().is_none());
        assert_eq!(server.session().tls().map(|tls| &*tls.version), Some("TLSv1.3"));
        rx.extend_from_slice(after.as_bytes());
        let (said, events, end) = run(&mut server, &mut rx);
        let events: Vec<Event> = events.into_iter().filter(|event| !matches!(event, Event::Reset(_))).collect();
        seen.push((said, events, end));
    }
    assert_eq!(seen[0].2, Step::Close);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
}

/// A client at the handshake, and what it has said.
fn client_at_handshake(tls: client::TlsPolicy) -> (Client, BytesMut) {
    let mut config = client::Config::new("c.test").unwrap();
    config.tls = tls;
    let mut client = Client::new(config, NOW);
    let mut rx = BytesMut::from("220 mx.test\r\n");
    for reply in ["250-mx.test\r\n250 STARTTLS\r\n", "220 go\r\n"] {
        while let Ok(step) = client.step(NOW, &mut rx) {
            match step {
                Step::Write => {
                    let count = client.output().remaining();
                    client.output().advance(count);
                }
                Step::Read => break,
                _ => {}
            }
        }
        rx.extend_from_slice(reply.as_bytes());
    }
    (client, rx)
}

#[test]
fn a_client_takes_no_octets_in_clear_into_tls() {
    // TLS-011, TLS-020, H-TL-1
    for behind in ["2", "250 AUTH PLAIN\r\n", "220 mx.test\r\n250 mx.test\r\n"] {
        for late in [false, true] {
            let (mut client, mut rx) = client_at_handshake(client::TlsPolicy::Required);
            client.send(Envelope::new("a@a.test", ["b@b.test"]).unwrap(), "Hi\r\n").unwrap();
            if late {
                assert_eq!(client.step(NOW, &mut rx), Ok(Step::UpgradeTls));
                rx.extend_from_slice(behind.as_bytes());
                assert_eq!(client.tls_established(&mut rx, facts()), Err(ApiMisuse::OctetsInClear));
            } else {
                rx.extend_from_slice(behind.as_bytes());
            }
            let told = client.step(NOW, &mut rx).unwrap();
            assert!(matches!(told, Step::Event(ClientEvent::Outcome { .. })), "{told:?}");
            let fatal = Err(Error::Peer(PeerFault::BehindStartTls));
            assert_eq!(client.step(NOW, &mut rx), fatal);
            assert!(!client.output().has_remaining());
            assert_eq!(client.step(NOW, &mut BytesMut::new()), fatal, "and it stays so");
        }
    }
}

#[test]
fn tls_comes_when_it_is_asked_for_and_at_no_other_time() {
    // TLS-012
    let (mut client, mut rx) = client_at_handshake(client::TlsPolicy::Required);
    assert_eq!(client.step(NOW, &mut rx), Ok(Step::UpgradeTls));
    assert_eq!(client.tls_established(&mut rx, facts()), Ok(()));
    assert_eq!(client.tls_established(&mut rx, facts()), Err(ApiMisuse::NoHandshake));
    assert!(client.capabilities().iter().next().is_none(), "what was offered in clear is forgotten");
    let mut server = server(server::TlsPolicy::Offered);
    assert_eq!(server.tls_established(&mut BytesMut::new(), facts()), Err(ApiMisuse::NoHandshake));
}

#[test]
fn policies_are_safe_by_default() {
    // TLS-006, TLS-013, TLS-014, SASL-004, SASL-020
    let client = client::Config::new("c.test").unwrap();
    assert_eq!(client.tls, client::TlsPolicy::Required);
    assert!(!client.allow_clear_text_auth);
    assert_eq!(client::TlsPolicy::for_port(465), client::TlsPolicy::Implicit);
    assert_eq!(client::TlsPolicy::for_port(587), client::TlsPolicy::Required);
    let server = server::Config::new("mx.test").unwrap();
    assert_eq!(server.tls, server::TlsPolicy::None);
    assert!(server.mechanisms.is_empty() && !server.allow_clear_text_auth);
    assert_eq!((server.limits.auth_failures, server.limits.auth_rounds, server.limits.auth_line), (3, 10, 12288));
    assert!(!sasl::strongest_first().iter().any(|mechanism| mechanism.name() == "CRAM-MD5"));
}

#[test]
fn without_a_random_source_mechanisms_that_need_one_are_not_offered() {
    // SASL-022
    for (nonces, expected) in [(None, "250-AUTH PLAIN\r\n"), (Some((|| None) as sasl::Nonces), "250-AUTH PLAIN\r\n")] {
        let mut config = server::Config::new("mx.test").unwrap();
        config.allow_clear_text_auth = true;
        config.mechanisms = vec![sasl::SCRAM_SHA_256, sasl::CRAM_MD5, sasl::PLAIN];
        config.nonces = nonces;
        let mut server = Server::new(Arc::new(config), NOW);
        let mut rx = BytesMut::from("EHLO c.test\r\nAUTH SCRAM-SHA-256\r\n");
        let (said, ..) = run(&mut server, &mut rx);
        assert!(said.contains(expected), "{said}");
        assert!(said.ends_with("504 5.5.4 Mechanism not offered\r\n"), "{said}");
    }
}

#[test]
fn external_is_offered_to_clients_whose_certificate_was_verified() {
    // SASL-019
    for (certificates, verified, offered) in [(0, true, false), (1, false, false), (1, true, true)] {
        let mut config = server::Config::new("mx.test").unwrap();
        config.tls = server::TlsPolicy::Implicit;
        config.mechanisms = vec![sasl::EXTERNAL];
        let mut server = Server::new(Arc::new(config), NOW);
        let mut rx = BytesMut::new();
        assert_eq!(run(&mut server, &mut rx).2, Step::UpgradeTls);
        let mut facts = facts();
        facts.verified = verified;
        facts.peer_certificates = vec![vec![0x30]; certificates];
        server.tls_established(&mut rx, facts).unwrap();
        rx.extend_from_slice(b"EHLO c.test\r\n");
        assert_eq!(run(&mut server, &mut rx).0.contains("AUTH EXTERNAL"), offered);
    }
}

/// A server under TLS that asks about a client's wrong password, and what the client sends behind it.
fn asked_about_credentials(behind: &str) -> (Server, BytesMut) {
    let mut server = server(server::TlsPolicy::Implicit);
    let mut rx = BytesMut::new();
    run(&mut server, &mut rx);
    server.tls_established(&mut rx, facts()).unwrap();
    rx.extend_from_slice(b"EHLO c.test\r\n");
    run(&mut server, &mut rx);
    rx.extend_from_slice(format!("AUTH PLAIN AGphbmUAd3Jvbmc=\r\n{behind}").as_bytes());
    assert!(matches!(server.step(NOW, &mut rx), Ok(Step::Event(Event::Authenticate(_)))));
    (server, rx)
}

#[test]
fn a_failure_is_told_when_the_application_has_taken_its_time() {
    let (mut server, mut rx) = asked_about_credentials("NOOP\r\n");
    server.decide(Verdict::Refused.into()).unwrap();
    let Ok(Step::Event(Event::AuthenticationFailed(failure))) = server.step(NOW, &mut rx) else {
        panic!("the failure is told");
    };
    assert_eq!((failure.username.as_deref(), failure.failures), (Some("jane"), 1));
    assert_eq!(server.step(NOW, &mut rx), Ok(Step::Decide), "nothing moves before");
    assert!(!server.output().has_remaining());
    server.decide(Decision::Accept).unwrap();
    let (said, ..) = run(&mut server, &mut rx);
    assert_eq!(said, "535 5.7.8 Authentication credentials invalid\r\n250 2.0.0 OK\r\n");
}

#[test]
fn accepting_without_looking_lets_nobody_in() {
    let (mut server, mut rx) = asked_about_credentials("");
    assert_eq!(server.decide(Decision::Accept), Err(ApiMisuse::UnfitDecision));
    assert!(run(&mut server, &mut rx).0.starts_with("451 "));
    assert_eq!(server.session().identity(), None);
}

#[test]
fn nothing_is_said_in_clear_where_tls_begins_with_the_connection() {
    for when in [0, 300, 10_000] {
        let mut server = server(server::TlsPolicy::Implicit);
        server.shut_down(server::Shutdown::Now);
        let now = Instant::since_epoch(std::time::Duration::from_secs(when));
        while !matches!(server.step(now, &mut BytesMut::new()), Ok(Step::Close)) {
            assert!(!server.output().has_remaining());
        }
    }
    let mut server = server(server::TlsPolicy::Implicit);
    server.tls_unavailable();
    let (said, events, end) = run(&mut server, &mut BytesMut::new());
    assert_eq!((&*said, end), ("", Step::Close));
    assert_eq!(events, [Event::Closing(CloseReason::TlsFailed)]);
}

#[test]
fn where_there_is_no_certificate_starttls_is_not_offered() {
    // TLS-002
    let mut server = server(server::TlsPolicy::Required);
    server.tls_unavailable();
    let mut rx = BytesMut::from("EHLO c.test\r\nSTARTTLS\r\nMAIL FROM:<>\r\n");
    let (said, ..) = run(&mut server, &mut rx);
    assert!(!said.contains("250-STARTTLS"), "{said}");
    assert!(said.ends_with("454 4.7.0 TLS not available\r\n530 5.7.0 STARTTLS first\r\n"), "{said}");
}

#[test]
fn a_certificate_or_a_token_may_tell_whose_it_is() {
    // SASL-019
    let mut pair = pair(sasl::XOAUTH2, client::TlsPolicy::Required, "token");
    pair.decide = Box::new(|event| match event {
        Event::Authenticate(_) => Verdict::AcceptedAs("joe".to_owned()).into(),
        _ => Decision::Accept,
    });
    pair.run(&mut Numbers::new(1), 1000);
    assert_eq!(pair.server.session().identity().and_then(|identity| identity.username.as_deref()), Some("joe"));
}

#[test]
fn a_verdict_fits_credentials_and_nothing_else() {
    let mut server = server(server::TlsPolicy::None);
    let mut rx = BytesMut::from("HELO a\r\n");
    assert_eq!(server.step(NOW, &mut rx), Ok(Step::Event(Event::Connected)));
    assert_eq!(server.decide(Verdict::Refused.into()), Err(ApiMisuse::UnfitDecision));
    let (said, ..) = run(&mut server, &mut rx);
    assert!(said.starts_with("451 "), "{said}");
}

#[test]
fn nobody_gets_in_by_scram_without_proof() {
    // An application that accepts without looking does not let a client in that has proved nothing.
    let mut config = server::Config::new("mx.test").unwrap();
    config.mechanisms = vec![sasl::SCRAM_SHA_256];
    config.nonces = Some(|| Some([3; 24]));
    let mut server = Server::new(Arc::new(config), NOW);
    let mut rx = BytesMut::from("EHLO c.test\r\nAUTH SCRAM-SHA-256 biwsbj1qYW5lLHI9YWJj\r\n");
    loop {
        match server.step(NOW, &mut rx).unwrap() {
            Step::Event(Event::Authenticate(_)) => break server.decide(Verdict::Accepted.into()).unwrap(),
            Step::Event(event) if event.is_question() => server.decide(Decision::Accept).unwrap(),
            step => assert!(matches!(step, Step::Write | Step::Event(_)), "{step:?}"),
        }
        let count = server.output().remaining();
        server.output().advance(count);
    }
    let (said, ..) = run(&mut server, &mut rx);
    assert!(said.ends_with("535 5.7.8 Authentication credentials invalid\r\n"), "{said}");
    assert_eq!(server.session().identity(), None);
}

fn check(credentials: &Credentials) -> Verdict {
    let password = Secret::from("s3cret");
    match credentials.evidence() {
        sasl::Evidence::Token(_) => credentials.verify_token(&password),
        sasl::Evidence::Anonymous(_) => Verdict::Accepted,
        sasl::Evidence::Scram(claim) => {
            // Fewer iterations than by default: the test makes many sessions.
            let keys = ScramKeys::new(claim.hash(), &password, b"NaCl", ScramKeys::MIN_ITERATIONS).unwrap();
            credentials.verify_keys(&keys)
        }
        _ => credentials.verify_password(&password),
    }
}

fn pair(mechanism: &'static dyn Mechanism, tls: client::TlsPolicy, secret: &str) -> Pair {
    let mut config = server::Config::new("mx.test").unwrap();
    config.tls = match tls {
        client::TlsPolicy::None => server::TlsPolicy::None,
        client::TlsPolicy::Implicit => server::TlsPolicy::Implicit,
        _ => server::TlsPolicy::Required,
    };
    config.mechanisms = vec![sasl::ANONYMOUS, mechanism];
    config.require_auth = true;
    let mut client = client::Config::new("c.test").unwrap();
    client.tls = tls;
    let login = match mechanism.name() {
        "XOAUTH2" | "OAUTHBEARER" => Login::token("jane", secret),
        "ANONYMOUS" => Login::anonymous("guest"),
        _ => Login::password("jane", secret),
    };
    client.authentication = Authentication::Required(login.unwrap().mechanisms([mechanism]));
    let mut pair = Pair::new(client, config);
    pair.decide = Box::new(|event| match event {
        Event::Authenticate(credentials) => check(credentials).into(),
        _ => Decision::Accept,
    });
    pair.client.send(Envelope::new("a@a.test", ["b@b.test"]).unwrap(), "Hi\r\n").unwrap();
    pair.client.quit().unwrap();
    pair
}

fn mechanisms() -> Vec<&'static dyn Mechanism> {
    let all = sasl::strongest_first().iter().copied().chain([sasl::CRAM_MD5]);
    all.filter(|mechanism| mechanism.name() != "EXTERNAL").collect()
}

fn outcome(pair: &Pair) -> &Outcome {
    let mut outcomes = pair.client_events.iter().filter_map(|event| match event {
        ClientEvent::Outcome { outcome, .. } => Some(outcome),
        _ => None,
    });
    outcomes.next_back().expect("a message has an outcome")
}

#[test]
fn each_mechanism_lets_in_whom_it_should_in_every_segmentation() {
    // P1, P17, SASL-013
    for mechanism in mechanisms() {
        for tls in [client::TlsPolicy::Required, client::TlsPolicy::Opportunistic, client::TlsPolicy::Implicit] {
            for most in [1, 7, 100_000] {
                for secret in ["s3cret", "wrong"] {
                    let mut pair = pair(mechanism, tls, secret);
                    pair.run(&mut Numbers::new(1), most);
                    let name = mechanism.name();
                    if secret == "s3cret" || name == "ANONYMOUS" {
                        assert_eq!(pair.client_end, Some(Ok(())), "{name}");
                        assert_eq!(pair.delivered().len(), 1, "{name}");
                        assert_eq!(pair.client.mechanism(), Some(name));
                        let identity = pair.server.session().identity().expect("an identity");
                        assert_eq!(identity.mechanism, name);
                        assert_eq!(pair.server.session().protocol(), "ESMTPSA");
                    } else {
                        let refused = matches!(
                            pair.client_end,
                            Some(Err(Error::Authentication(smtp_proto::AuthenticationError::Refused { .. })))
                        );
                        assert!(refused, "{name}: {:?}", pair.client_end);
                        assert!(pair.delivered().is_empty() && pair.server.session().identity().is_none());
                    }
                }
            }
        }
    }
}

#[test]
fn no_fault_on_the_way_into_a_session_makes_a_false_outcome() {
    // P17
    let mechanisms = [sasl::SCRAM_SHA_256_PLUS, sasl::LOGIN, sasl::OAUTHBEARER];
    for (mechanism, most) in mechanisms.into_iter().zip([100_000, 30, 100_000]) {
        for fault in [Fault::Reset, Fault::Close, Fault::Silence] {
            for moves in 0.. {
                let mut pair = pair(mechanism, client::TlsPolicy::Required, "s3cret");
                pair.fail_after(moves, fault);
                pair.run(&mut Numbers::new(7), most);
                let delivered = pair.delivered().len();
                let outcome = outcome(&pair);
                assert!(!outcome.is_delivered() || delivered == 1, "{fault:?} after {moves} moves: {outcome:?}");
                if pair.moves < moves {
                    assert!(outcome.is_delivered());
                    break;
                }
            }
        }
    }
}

#[test]
fn keys_of_the_other_hash_let_nobody_in() {
    // SASL-013
    let keys = ScramKeys::new(ScramHash::Sha1, &"s3cret".into(), b"NaCl", ScramKeys::MIN_ITERATIONS).unwrap();
    let mut pair = pair(sasl::SCRAM_SHA_256, client::TlsPolicy::Required, "s3cret");
    pair.decide = Box::new(move |event| match event {
        Event::Authenticate(_) => Verdict::Keys(keys.clone()).into(),
        _ => Decision::Accept,
    });
    pair.run(&mut Numbers::new(1), 1000);
    assert!(pair.delivered().is_empty() && pair.server.session().identity().is_none());
}
