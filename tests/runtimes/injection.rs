//! What somebody in between, or the peer itself, puts where TLS has to begin: none of it survives, on either side.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;

use smtp_proto::adapter::{Error, TlsProblem};
use smtp_proto::client::{self, Authentication};
use smtp_proto::sasl::Login;
use smtp_proto::server::{Abuse, CloseReason, TlsPolicy};
use smtp_proto::{AuthenticationError, Error as SessionError, PeerFault, TlsError};
use smtp_tests::runtime::Runtime;

use super::secured::{
    End, NAME, Secure, Seen, Watched, asked_for_tls, client_hello, client_policy, connect_secured, is_asked_for_tls,
    is_tls, tls_client, tls_server,
};
use super::support::{Raw, envelope, joined, peer};

/// Octets that a client has no business to send in clear where TLS has to begin: whole commands, half ones, the
/// beginning of a handshake, and a handshake behind a command.
fn commands() -> Vec<Vec<u8>> {
    let whole = b"EHLO evil\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<joe@example.net>\r\n";
    vec![
        whole.to_vec(),
        b"NOOP\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"MAIL FROM:<ev".to_vec(),
        b"N".to_vec(),
        client_hello(),
        [&b"RSET\r\n"[..], &client_hello()].concat(),
    ]
}

/// A session in TLS on another connection: what went wrong on one has spoilt nothing.
fn serves_as_ever(server: &Watched) {
    let mut client = Secure::upgrade(&server.address());
    assert!(client.ask("EHLO good").starts_with("250 "));
    assert!(client.ask("MAIL FROM:<jane@example.org>").starts_with("250 "));
    assert!(client.ask("RCPT TO:<joe@example.net>").starts_with("250 "));
    assert!(client.ask("DATA").starts_with("354 "));
    assert_eq!(client.ask("Hi\r\n."), "250 2.0.0 Taken");
    assert!(client.ask("QUIT").starts_with("221 "));
    assert_eq!(client.end(), (String::new(), End::Notice));
    let seen = server.session();
    assert!(seen.contains(&Seen::End(4)), "{seen:?}");
}

/// What a server is told that was asked for TLS.
fn up_to_starttls() -> Vec<Seen> {
    vec![Seen::Connected, Seen::Hello("client".to_owned(), None), Seen::StartTls]
}

fn a_server_takes_no_command_that_comes_with_starttls(runtime: Runtime) {
    // TLS-003, H-TL-1, P13: in the same segment.
    let server = Watched::start(runtime, TlsPolicy::Offered);
    for injected in commands() {
        let mut client = Raw::connect(&server.address());
        client.reply();
        client.ask("EHLO client");
        client.say([&b"STARTTLS\r\n"[..], &injected].concat());
        // The one reply is to STARTTLS, and no 220: the connection ends, and nothing is said about the rest.
        assert_eq!(client.line().as_deref(), Some("554 5.5.1 Nothing may follow STARTTLS before TLS"));
        assert_eq!(client.line(), None);
        let abuse = Abuse::BehindStartTls;
        let told = [up_to_starttls(), vec![Seen::Abuse(abuse), Seen::Closing(CloseReason::Abuse(abuse))]].concat();
        assert_eq!(server.session(), told);
    }
    serves_as_ever(&server);
    assert_eq!(server.stop(), []);
}

fn a_server_takes_no_command_in_clear_behind_its_220(runtime: Runtime) {
    // TLS-003, TLS-008, TLS-019, H-TL-1, P13: in the next segment, before the handshake or in place of it.
    let server = Watched::start(runtime, TlsPolicy::Offered);
    let told = [up_to_starttls(), vec![Seen::Closing(CloseReason::TlsFailed)]].concat();
    for injected in commands() {
        let mut client = asked_for_tls(&server.address());
        client.say(&injected);
        // A whole handshake may follow; what came first was none. It may be refused already.
        let _ = client.stream().write_all(&client_hello());
        let _ = client.stream().shutdown(Shutdown::Write);
        let rest = client.rest();
        assert!(is_tls(&rest), "{injected:?}: {rest:?}");
        // TLS begins where the first octets are those of a handshake, and comes to no end when that comes twice.
        let begins = injected.first() == Some(&22);
        // Else there is an alert, if anything.
        assert!(begins || rest.first().is_none_or(|kind| *kind == 21), "{injected:?}: {rest:?}");
        assert_eq!(server.session(), told, "{injected:?}");
    }
    serves_as_ever(&server);
    assert_eq!(server.stop(), []);
}

fn a_server_forgets_what_was_said_in_clear(runtime: Runtime) {
    // TLS-004, P13
    let server = Watched::start(runtime, TlsPolicy::Offered);
    let mut client = Raw::connect(&server.address());
    client.reply();
    client.ask("EHLO evil");
    assert!(client.ask("MAIL FROM:<evil@example.org>").starts_with("250 "));
    assert!(client.ask("STARTTLS").starts_with("220 "));
    let mut client = Secure::over(client.into_stream(), tls_client(NAME)).unwrap();
    for command in ["RCPT TO:<joe@example.net>", "DATA", "MAIL FROM:<jane@example.org>"] {
        assert!(client.ask(command).starts_with("503 "), "{command}");
    }
    assert!(client.ask("QUIT").starts_with("221 "));
    assert!(!server.session().iter().any(|seen| matches!(seen, Seen::Recipient(_) | Seen::Data)));
}

/// What somebody may put behind the server's 220.
const REPLIES: [&str; 5] = [
    "250-raw.example.net\r\n250 AUTH PLAIN LOGIN\r\n",
    "220 raw.example.net ESMTP\r\n250 raw.example.net\r\n250 OK\r\n250 OK\r\n354 Go ahead\r\n250 Taken\r\n",
    "250 AU",
    "2",
    "\r\n",
];

/// A client that must have TLS and would log in.
fn with_login(tls: client::TlsPolicy) -> client::Config {
    let mut config = client_policy(tls);
    config.authentication = Authentication::IfAvailable(Login::password("jane", "s3cret").unwrap());
    config
}

const WITH_STARTTLS: [client::TlsPolicy; 2] = [client::TlsPolicy::Required, client::TlsPolicy::Opportunistic];

fn a_client_takes_no_reply_that_comes_with_the_220(runtime: Runtime) {
    // TLS-011, H-TL-1: in the same segment.
    for policy in WITH_STARTTLS {
        for injected in REPLIES {
            let (address, server) = peer(move |mut peer| {
                is_asked_for_tls(&mut peer, &["AUTH PLAIN LOGIN"]);
                peer.say(format!("220 Go ahead\r\n{injected}"));
                peer.rest()
            });
            let error = connect_secured(runtime, &address, with_login(policy)).err().expect("no session");
            let Error::Smtp { source, .. } = &error else { panic!("{injected:?}: {error:?}") };
            assert_eq!(*source, SessionError::Peer(PeerFault::BehindStartTls), "{injected:?}");
            assert!(error.to_string().contains("octets in clear where TLS has to begin"), "{error}");
            assert!(!error.is_transient() && !error.is_timeout());
            // The client is silent from then on, in clear and otherwise.
            assert_eq!(joined(server), b"", "{injected:?}");
        }
    }
}

fn a_client_takes_no_reply_in_clear_behind_the_220(runtime: Runtime) {
    // TLS-011, TLS-019, H-TL-1: in the next segment, in place of the handshake or before it.
    for policy in WITH_STARTTLS {
        for injected in REPLIES {
            for shakes_hands in [false, true] {
                let (address, server) = peer(move |mut peer| {
                    is_asked_for_tls(&mut peer, &["AUTH PLAIN LOGIN"]);
                    peer.say("220 Go ahead\r\n");
                    // The handshake of the client has begun: what comes now cannot be in the segment of the 220.
                    let answer = answer_to_hello(&peer);
                    peer.say(injected);
                    if shakes_hands {
                        // The client may have gone.
                        let _ = peer.stream().write_all(&answer);
                    } else {
                        let _ = peer.stream().shutdown(Shutdown::Write);
                    }
                    peer.rest()
                });
                let error = connect_secured(runtime, &address, with_login(policy)).err().expect("no session");
                let case = format!("{injected:?}, with a handshake: {shakes_hands}");
                match error.tls_problem() {
                    Some(TlsProblem::NotTls) => {}
                    // Fewer octets than a record's head has.
                    Some(TlsProblem::HandshakeLost) => assert!(injected.len() < 5 && !shakes_hands, "{case}"),
                    _ => panic!("{case}: {error:?}"),
                }
                let said = joined(server);
                assert!(!said.is_empty() && is_tls(&said), "{case}: {said:?}");
            }
        }
    }
}

/// What a server says to the hello of a client's handshake, which is not taken off the connection.
fn answer_to_hello(peer: &Raw) -> Vec<u8> {
    let mut server = tls_server();
    let mut hello = vec![0; 64 * 1024];
    while server.is_handshaking() && !server.wants_write() {
        let length = peer.stream().peek(&mut hello).unwrap();
        server = tls_server();
        server.read_tls(&mut &hello[..length]).unwrap();
        server.process_new_packets().unwrap();
    }
    let mut flight = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut flight).unwrap();
    }
    flight
}

fn a_client_uses_nothing_that_was_offered_in_clear(runtime: Runtime) {
    // TLS-010, P13
    let (address, server) = peer(|mut peer| {
        is_asked_for_tls(&mut peer, &["AUTH PLAIN LOGIN", "SIZE 10", "PIPELINING", "8BITMIME", "SMTPUTF8"]);
        peer.say("220 Go ahead\r\n");
        let mut peer = Secure::serve(peer.into_stream());
        let mut lines = vec![peer.answer("250 raw.example.net")];
        for reply in ["250 OK", "250 OK", "354 Go ahead"] {
            lines.push(peer.answer(reply));
        }
        while peer.line().expect("content") != "." {}
        peer.say("250 OK\r\n");
        lines.push(peer.answer("221 Bye"));
        lines
    });
    let mut mailer = connect_secured(runtime, &address, with_login(client::TlsPolicy::Required)).unwrap();
    let outcome = mailer.send(envelope("jane", &["joe"]), "More than ten octets\r\n".into()).unwrap();
    assert!(outcome.is_delivered(), "{outcome:?}");
    mailer.quit().unwrap();
    let expected =
        ["EHLO client.example.org", "MAIL FROM:<jane@example.org>", "RCPT TO:<joe@example.net>", "DATA", "QUIT"];
    assert_eq!(joined(server), expected);
}

fn a_client_that_must_have_tls_says_nothing_without(runtime: Runtime) {
    // TLS-009, TLS-013, AUTH-017: STARTTLS is not offered, or refused, or said to be unknown.
    let refusals = [None, Some("454 4.7.0 TLS not available"), Some("502 5.5.1 What?"), Some("554 5.7.0 Never")];
    for refusal in refusals {
        let (address, server) = peer(move |mut peer| {
            let offers = ["AUTH PLAIN LOGIN", "STARTTLS"];
            peer.welcome(if refusal.is_some() { &offers } else { &offers[..1] });
            if let Some(refusal) = refusal {
                peer.answer(refusal);
            }
            peer.rest()
        });
        let mut config = with_login(client::TlsPolicy::Required);
        // Not even where it may.
        config.allow_clear_text_auth = true;
        let error = connect_secured(runtime, &address, config).err().expect("no session");
        let Error::Smtp { source: SessionError::Tls(source), .. } = &error else { panic!("{error:?}") };
        match (refusal, source) {
            (None, TlsError::NotOffered) => assert!(error.to_string().contains("does not offer STARTTLS"), "{error}"),
            (Some(refusal), TlsError::Refused(reply)) => {
                assert_eq!(reply.to_string(), refusal);
                assert!(error.to_string().contains(refusal), "{error}");
                assert_eq!(error.is_transient(), refusal.starts_with('4'));
            }
            _ => panic!("{refusal:?}: {error:?}"),
        }
        assert_eq!(joined(server), b"QUIT\r\n", "{refusal:?}");
    }
}

fn a_client_that_would_like_tls_goes_on_without(runtime: Runtime) {
    // TLS-013
    for refusal in [None, Some("454 4.7.0 TLS not available"), Some("502 5.5.1 What?")] {
        let (address, server) = peer(move |mut peer| {
            peer.welcome(if refusal.is_some() { &["STARTTLS", "AUTH PLAIN"] } else { &["AUTH PLAIN"] });
            if let Some(refusal) = refusal {
                peer.answer(refusal);
            }
            assert_eq!(peer.line().as_deref(), Some("MAIL FROM:<jane@example.org>"), "nobody logs in in clear");
            peer.say("250 OK\r\n");
            peer.answer("250 OK");
            peer.answer("354 Go ahead");
            while peer.line().expect("content") != "." {}
            peer.say("250 OK\r\n");
        });
        let mut mailer = connect_secured(runtime, &address, with_login(client::TlsPolicy::Opportunistic)).unwrap();
        assert!(mailer.send(envelope("jane", &["joe"]), "Hi\r\n".into()).unwrap().is_delivered());
        joined(server);
    }
}

fn a_client_does_not_log_in_in_clear(runtime: Runtime) {
    // AUTH-017
    let (address, server) = peer(|mut peer| {
        peer.welcome(&["AUTH PLAIN LOGIN"]);
        peer.rest()
    });
    let mut config = with_login(client::TlsPolicy::Opportunistic);
    config.authentication = Authentication::Required(Login::password("jane", "s3cret").unwrap());
    let error = connect_secured(runtime, &address, config).err().expect("no session");
    let Error::Smtp { source: SessionError::Authentication(source), .. } = &error else { panic!("{error:?}") };
    assert!(matches!(source, AuthenticationError::NeedsTls { .. }), "{source:?}");
    assert_eq!(joined(server), b"QUIT\r\n");
}

fn a_client_does_not_go_on_in_clear_when_the_handshake_fails(runtime: Runtime) {
    // TLS-008, TLS-013, TLS-019
    // What answers the hello of the handshake; nothing: the connection ends.
    let answers: [(&str, &[u8]); 5] = [
        ("text", b"500 5.5.1 What?\r\n454 4.7.0 No TLS after all\r\n250 OK\r\n"),
        ("an alert", &[21, 3, 3, 0, 2, 2, 40]),
        ("a damaged record", &[22, 3, 3, 0, 5, 99, 0, 0, 1, 0]),
        ("half a record", &[22, 3, 3, 1, 0, 2]),
        ("nothing", b""),
    ];
    for policy in [client::TlsPolicy::Required, client::TlsPolicy::Opportunistic, client::TlsPolicy::Implicit] {
        for (case, answer) in answers {
            let (address, server) = peer(move |mut peer| {
                if policy != client::TlsPolicy::Implicit {
                    is_asked_for_tls(&mut peer, &["AUTH PLAIN LOGIN"]);
                    peer.say("220 Go ahead\r\n");
                }
                peer.stream().peek(&mut [0]).unwrap();
                peer.say(answer);
                let _ = peer.stream().shutdown(Shutdown::Write);
                peer.rest()
            });
            let mut config = with_login(policy);
            config.allow_clear_text_auth = true;
            let error = connect_secured(runtime, &address, config).err().expect("no session");
            let problem = error.tls_problem().unwrap_or_else(|| panic!("{case}: {error:?}"));
            match (case, problem) {
                ("text", TlsProblem::NotTls)
                | ("an alert", TlsProblem::Incompatible(_))
                | ("a damaged record", TlsProblem::Protocol(_))
                | ("half a record" | "nothing", TlsProblem::HandshakeLost) => {}
                _ => panic!("{case}: {problem:?}"),
            }
            let said = joined(server);
            assert!(!said.is_empty() && is_tls(&said), "{policy:?}, {case}: {said:?}");
        }
    }
}

fn a_server_that_speaks_in_clear_where_tls_has_to_begin_is_told_apart(runtime: Runtime) {
    let (address, server) = peer(|mut peer| {
        peer.say("220 raw.example.net ESMTP\r\n");
        peer.rest()
    });
    let error = connect_secured(runtime, &address, client_policy(client::TlsPolicy::Implicit)).err().unwrap();
    assert_eq!(error.tls_problem(), Some(&TlsProblem::NotTls), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("does not speak TLS here") && words.contains("465") && words.contains("587"), "{words}");
    let said = joined(server);
    assert!(!said.is_empty() && is_tls(&said), "{said:?}");
}

fn a_client_that_speaks_in_clear_where_tls_has_to_begin_is_not_answered(runtime: Runtime) {
    // TLS-008, TLS-019
    let server = Watched::start(runtime, TlsPolicy::Implicit);
    let mut client = Raw::connect(&server.address());
    client.say("EHLO client\r\nMAIL FROM:<evil@example.org>\r\n");
    let rest = client.rest();
    assert!(is_tls(&rest), "{rest:?}");
    assert_eq!(server.session(), [Seen::Closing(CloseReason::TlsFailed)]);
}

fn a_client_that_speaks_tls_where_all_is_in_clear_is_not_served(runtime: Runtime) {
    let server = Watched::with(runtime, super::support::server_config(), None);
    // A client of ours finds out by the greeting.
    let error = connect_secured(runtime, &server.address(), client_policy(client::TlsPolicy::Implicit)).err().unwrap();
    assert_eq!(error.tls_problem(), Some(&TlsProblem::NotTls), "{error:?}");
    assert!(matches!(server.session()[..], [Seen::Connected, .., Seen::Closing(_)]));
    // Others may go on for a while. What they send is no hello.
    let client = Raw::connect(&server.address());
    let refused = Secure::over(client.into_stream(), tls_client(NAME)).err().expect("no TLS");
    assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
    let seen = server.session();
    assert!(matches!(seen[..], [Seen::Connected, .., Seen::Closing(_)]), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.hello().is_none()), "{seen:?}");
}

on_each_runtime!(
    a_server_takes_no_command_that_comes_with_starttls,
    a_server_takes_no_command_in_clear_behind_its_220,
    a_server_forgets_what_was_said_in_clear,
    a_client_takes_no_reply_that_comes_with_the_220,
    a_client_takes_no_reply_in_clear_behind_the_220,
    a_client_uses_nothing_that_was_offered_in_clear,
    a_client_that_must_have_tls_says_nothing_without,
    a_client_that_would_like_tls_goes_on_without,
    a_client_does_not_log_in_in_clear,
    a_client_does_not_go_on_in_clear_when_the_handshake_fails,
    a_server_that_speaks_in_clear_where_tls_has_to_begin_is_told_apart,
    a_client_that_speaks_in_clear_where_tls_has_to_begin_is_not_answered,
    a_client_that_speaks_tls_where_all_is_in_clear_is_not_served,
);
