//! Messages under TLS, small and large, one and many, and peers that take nothing for a while.

use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use smtp_proto::adapter::{Error, Service};
use smtp_proto::client::{Envelope, Outcome, TlsPolicy};
use smtp_proto::server::{self, CloseReason};
use smtp_tests::runtime::Runtime;

use super::delivery::pairs;
use super::pressure::buffering;
use super::secured::{
    End, NAME, Secure, client_policy, client_tls, connect_secured, server_policy, server_tls, tls_client,
};
use super::support::{Ear, Heard, Pattern, Server, envelope, joined, limited, on_tokio, serve};

const WAYS: [(server::TlsPolicy, TlsPolicy); 2] =
    [(server::TlsPolicy::Required, TlsPolicy::Required), (server::TlsPolicy::Implicit, TlsPolicy::Implicit)];

#[test]
fn messages_of_any_size_arrive_intact_under_tls() {
    limited(|| {
        let large = Pattern::new((8 << 20) / Pattern::new(1).size() + 1).whole();
        assert!(large.len() >= 8 << 20);
        let contents = [(&b""[..], &b""[..]), (b"x", b"x\r\n"), (&large, &large)];
        for (client, server_runtime, pair) in pairs() {
            for (server, policy) in WAYS {
                let server = Server::secured(server_runtime, server_policy(server), server_tls());
                let mut mailer = connect_secured(client, &server.address(), client_policy(policy)).unwrap();
                // The large one once for each pair.
                let contents = if policy == TlsPolicy::Implicit { &contents[..2] } else { &contents[..] };
                for (content, arriving) in contents {
                    let outcome = mailer.send(envelope("jane", &["joe"]), content.to_vec().into()).unwrap();
                    assert!(outcome.is_delivered(), "{pair}: {outcome:?}");
                    let Heard::Message(message) = server.next() else { panic!("{pair}: no message") };
                    assert!(message.content == *arriving, "{pair}: {} octets", message.content.len());
                }
                mailer.quit().unwrap();
                assert_eq!(server.session(), [Heard::Closing(CloseReason::Quit)], "{pair}");
            }
        }
    });
}

#[test]
fn many_messages_go_through_one_session_under_tls() {
    limited(|| {
        for (client, server, pair) in pairs() {
            let server = Server::secured(server, server_policy(server::TlsPolicy::Required), server_tls());
            let mut mailer = connect_secured(client, &server.address(), client_policy(TlsPolicy::Required)).unwrap();
            for number in 0..100 {
                let content = format!("Subject: {number}\r\n{}", "x\r\n".repeat(number));
                let outcome = mailer.send(envelope("jane", &["joe", "jim"]), content.clone().into()).unwrap();
                assert!(outcome.is_delivered(), "{pair}: {outcome:?}");
                let Heard::Message(message) = server.next() else { panic!("{pair}: no message") };
                assert!(message.content == content.as_bytes() && message.recipients.len() == 2, "{pair}: {message:?}");
            }
            mailer.quit().unwrap();
        }
    });
}

fn commands_in_one_record_and_in_many_are_all_answered(runtime: Runtime) {
    // PIPE-008
    let server = Server::secured(runtime, server_policy(server::TlsPolicy::Implicit), server_tls());
    let message = "MAIL FROM:<jane@example.org>\r\nRCPT TO:<joe@example.net>\r\nDATA\r\n.Hi\r\n.\r\n";
    // A record for all, and one for each octet.
    for piece in [usize::MAX, 1] {
        let mut client = Secure::connect(&server.address());
        let dialogue = format!("EHLO client\r\n{}QUIT\r\n", message.repeat(20));
        for piece in dialogue.as_bytes().chunks(piece.min(dialogue.len())) {
            client.say(piece);
        }
        let (said, end) = client.end();
        let codes: Vec<&str> = said.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
        let expected = [vec!["220", "250"], ["250", "250", "354", "250"].repeat(20), vec!["221"]].concat();
        assert_eq!((codes, end), (expected, End::Notice));
        assert_eq!(server.session().iter().filter(|heard| matches!(heard, Heard::Message(_))).count(), 20);
    }
}

/// Sends a message over a connection that stands.
fn send_over(runtime: Runtime, stream: TcpStream, envelope: Envelope) -> Result<Outcome, Error> {
    let mut config = client_policy(TlsPolicy::Implicit);
    config.in_flight = usize::MAX;
    let tls = client_tls().server_name(NAME).unwrap();
    stream.set_nonblocking(runtime != Runtime::Blocking).unwrap();
    match runtime {
        Runtime::Tokio => on_tokio(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut client = smtp_tokio::Connector::new(config).tls(tls).connect_over(stream, "raw").await?;
            client.send(envelope, "To many\r\n").await
        }),
        Runtime::AsyncStd => async_std::task::block_on(async {
            let stream = async_std::net::TcpStream::from(stream);
            let mut client = smtp_async_std::Connector::new(config).tls(tls).connect_over(stream, "raw").await?;
            client.send(envelope, "To many\r\n").await
        }),
        Runtime::Blocking => smtp_blocking::Connector::new(config)
            .tls(tls)
            .connect_over(stream, "raw")
            .and_then(|mut client| client.send(envelope, "To many\r\n")),
    }
}

fn a_client_under_tls_does_not_wait_for_a_server_that_waits_for_it(runtime: Runtime) {
    // PIPE-006: as in clear. The server reads nothing while it writes, and has a lot to say.
    let recipients = if runtime == Runtime::Blocking { 600 } else { 2000 };
    let (ours, theirs) = buffering(4 * 1024);
    let server = thread::spawn(move || {
        let mut peer = Secure::serve(theirs);
        peer.say("220 raw.example.net\r\n");
        peer.answer("250-raw.example.net\r\n250 PIPELINING");
        let reply = format!("250 {}", "x".repeat(400));
        for _ in 0..1 + recipients {
            peer.answer(&reply);
        }
        peer.answer("354 Go ahead");
        while peer.line().expect("content") != "." {}
        peer.say("250 OK\r\n");
    });
    let names: Vec<_> = (0..recipients).map(|number| format!("recipient-number-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let outcome = send_over(runtime, ours, envelope("list", &names)).unwrap();
    assert!(outcome.is_delivered(), "{:?}", outcome.error);
    joined(server);
}

fn a_client_under_tls_that_ends_before_it_reads_gets_all_replies(runtime: Runtime) {
    const HELLOS: usize = 400;
    let (ours, theirs) = buffering(8 * 1024);
    let server = thread::spawn(move || {
        let mut config = server_policy(server::TlsPolicy::Implicit);
        config.limits.junk_commands = u32::MAX;
        let (tell, heard) = mpsc::channel();
        serve(runtime, theirs, Service::new(config).tls(server_tls()), Ear::new(1, &tell));
        assert_eq!(heard.recv(), Ok((1, Heard::Closing(CloseReason::Disconnected))));
    });
    let mut client = Secure::over(ours, tls_client(NAME)).unwrap();
    // The replies fill the buffers many times over, the commands do not.
    client.say("EHLO x\r\n".repeat(HELLOS));
    client.notify();
    let (said, end) = client.end();
    assert_eq!(said.lines().filter(|line| line.as_bytes()[3] == b' ').count(), 1 + HELLOS);
    assert_eq!(end, End::Notice);
    drop(client);
    joined(server);
}

on_each_runtime!(
    commands_in_one_record_and_in_many_are_all_answered,
    a_client_under_tls_does_not_wait_for_a_server_that_waits_for_it,
    a_client_under_tls_that_ends_before_it_reads_gets_all_replies,
);
