//! Under TLS, too, nobody waits for ever, and what cannot be had is said.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use smtp_proto::adapter::Error;
use smtp_proto::client::TlsPolicy;
use smtp_proto::server::{self, CloseReason};
use smtp_proto::{Error as SessionError, Phase};
use smtp_tests::runtime::Runtime;

use super::secured::{
    End, Secure, Seen, Watched, asked_for_tls, client_hello, client_policy, connect_secured, is_tls, server_policy,
    server_tls,
};
use super::support::{PATIENCE, Raw, connect_with, joined, peer};

const SHORT: Duration = Duration::from_millis(200);

/// The head of a record of a handshake with more octets than will ever come.
const ENDLESS_RECORD: [u8; 5] = [22, 3, 3, 0x3f, 0];

/// Sends octets, each when nothing has come for a while, until something comes.
fn drip(mut stream: &TcpStream, octets: impl IntoIterator<Item = u8>) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    for octet in octets {
        match stream.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // It may be closed since.
                let _ = stream.write_all(&[octet]);
            }
            _ => break,
        }
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn a_server_does_not_wait_for_a_handshake_that_drips(runtime: Runtime) {
    // P19
    let mut config = server_policy(server::TlsPolicy::Implicit);
    config.timeouts.handshake = SHORT;
    let server = Watched::with(runtime, config, Some(server_tls()));
    let mut client = Raw::connect(&server.address());
    // The head of a record with more octets than will ever come.
    client.say([22, 3, 1, 0x3f, 0]);
    assert_eq!(client.drip(1), None);
    assert_eq!(server.session(), [Seen::Closing(CloseReason::Timeout(Phase::Handshake))]);
}

fn a_server_that_shuts_down_amid_a_handshake_says_nothing_in_clear(runtime: Runtime) {
    for policy in [server::TlsPolicy::Offered, server::TlsPolicy::Implicit] {
        let server = Watched::start(runtime, policy);
        let mut client = match policy {
            server::TlsPolicy::Implicit => Raw::connect(&server.address()),
            _ => asked_for_tls(&server.address()),
        };
        let hello = client_hello();
        let (one, other) = hello.split_at(hello.len() / 2);
        client.say(one);
        server.shut_down();
        // It may go on with the handshake, to say why it ends, or not.
        let _ = client.stream().write_all(other);
        let _ = client.stream().shutdown(Shutdown::Write);
        let rest = client.rest();
        assert!(is_tls(&rest), "{rest:?}");
        let seen = server.stop();
        assert!(seen.iter().filter_map(Seen::hello).all(|(_, tls)| tls.is_none()), "{seen:?}");
    }
}

fn a_server_without_a_certificate_goes_on_in_clear(runtime: Runtime) {
    // TLS-002
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Offered), None);
    let mut client = Raw::connect(&server.address());
    client.reply();
    client.ask("EHLO client");
    assert!(client.ask("STARTTLS").starts_with("454 4.7.0 "));
    assert!(client.ask("MAIL FROM:<jane@example.org>").starts_with("250 "));
    assert!(client.ask("QUIT").starts_with("221 "));
    assert_eq!(server.session().last(), Some(&Seen::Closing(CloseReason::Quit)));
    // A client that would like TLS does without, one that must have it does not.
    let mut config = client_policy(TlsPolicy::Opportunistic);
    connect_with(runtime, &server.address(), config.clone()).unwrap().quit().unwrap();
    config.tls = TlsPolicy::Required;
    let error = connect_with(runtime, &server.address(), config).err().expect("no TLS");
    assert!(matches!(error, Error::Smtp { source: SessionError::Tls(_), .. }), "{error:?}");
}

fn a_server_without_a_certificate_serves_nobody_who_must_have_tls(runtime: Runtime) {
    // TLS-007
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Required), None);
    let mut client = Raw::connect(&server.address());
    client.reply();
    client.ask("EHLO client");
    assert!(client.ask("STARTTLS").starts_with("454 4.7.0 "));
    assert!(client.ask("MAIL FROM:<jane@example.org>").starts_with("530 5.7.0 "));
    // Where TLS comes first, nothing is said at all.
    let server = Watched::with(runtime, server_policy(server::TlsPolicy::Implicit), None);
    let mut client = Raw::connect(&server.address());
    assert_eq!(client.rest(), b"");
    assert_eq!(server.session(), [Seen::Closing(CloseReason::TlsFailed)]);
}

fn a_client_does_not_wait_for_a_handshake_that_drips(runtime: Runtime) {
    // P19
    let (address, server) = peer(|mut peer| {
        let mut head = [0; 5];
        while peer.stream().peek(&mut head).unwrap() < head.len() {}
        peer.take(5 + usize::from(u16::from_be_bytes([head[3], head[4]])));
        peer.say(ENDLESS_RECORD);
        assert_eq!(peer.drip(2), None);
    });
    let mut config = client_policy(TlsPolicy::Implicit);
    config.timeouts.handshake = SHORT;
    let error = connect_secured(runtime, &address, config).err().expect("no session");
    let Error::Smtp { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*source, SessionError::Timeout { phase: Phase::Handshake });
    joined(server);
}

fn a_server_does_not_wait_for_a_record_that_drips(runtime: Runtime) {
    // P19
    let mut config = server_policy(server::TlsPolicy::Implicit);
    config.timeouts.command = SHORT;
    let server = Watched::with(runtime, config, Some(server_tls()));
    let mut client = Secure::connect(&server.address());
    client.reply();
    let record = client.sealed("NOOP\r\n".repeat(2000));
    drip(client.stream(), record);
    let (said, end) = client.end();
    assert_eq!((&*said, end), ("421 4.4.2 Timed out\r\n", End::Notice));
    assert_eq!(server.session(), [Seen::Connected, Seen::Closing(CloseReason::Timeout(Phase::Command))]);
}

fn a_client_does_not_wait_for_a_record_that_drips(runtime: Runtime) {
    // P19
    let (address, server) = peer(|peer| {
        let mut peer = Secure::serve(peer.into_stream());
        peer.say("220 raw.example.net\r\n");
        peer.answer("250 raw.example.net");
        peer.line();
        let record = peer.sealed("250-Go on\r\n".repeat(1000));
        drip(peer.stream(), record);
    });
    let mut config = client_policy(TlsPolicy::Implicit);
    config.timeouts.command = SHORT;
    let mut mailer = connect_secured(runtime, &address, config).unwrap();
    let error = mailer.command("NOOP").unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    drop(mailer);
    joined(server);
}

fn a_server_that_shuts_down_does_not_wait_for_a_handshake(runtime: Runtime) {
    for at_once in [false, true] {
        for policy in [server::TlsPolicy::Offered, server::TlsPolicy::Implicit] {
            let mut config = server_policy(policy);
            // Nothing but the shutdown ends it.
            config.timeouts.handshake = 10 * PATIENCE;
            let server = Watched::with(runtime, config, Some(server_tls()));
            let mut client = match policy {
                server::TlsPolicy::Implicit => Raw::connect(&server.address()),
                _ => asked_for_tls(&server.address()),
            };
            client.say(ENDLESS_RECORD);
            if at_once {
                server.shut_down_now();
            } else {
                server.shut_down();
            }
            let rest = client.rest();
            assert!(is_tls(&rest), "{rest:?}");
            drop(client);
            let seen = server.stop();
            assert!(matches!(seen.last(), None | Some(Seen::Closing(CloseReason::ShutDown))), "{seen:?}");
        }
    }
}

on_each_runtime!(
    a_server_does_not_wait_for_a_handshake_that_drips,
    a_client_does_not_wait_for_a_handshake_that_drips,
    a_server_does_not_wait_for_a_record_that_drips,
    a_client_does_not_wait_for_a_record_that_drips,
    a_server_that_shuts_down_amid_a_handshake_says_nothing_in_clear,
    a_server_that_shuts_down_does_not_wait_for_a_handshake,
    a_server_without_a_certificate_goes_on_in_clear,
    a_server_without_a_certificate_serves_nobody_who_must_have_tls,
);
