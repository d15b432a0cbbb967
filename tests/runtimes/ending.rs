//! How sessions and servers end.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Instant;

use smtp_proto::server::{CloseReason, ResetReason};
use smtp_tests::runtime::Runtime;

use super::support::{Heard, PATIENCE, Raw, Server, joined};

const SHUTTING_DOWN: &str = "421 4.3.2 Service shutting down";

/// A client that was greeted and said hello.
fn client(server: &str) -> Raw {
    let mut client = Raw::connect(server);
    assert!(client.reply().starts_with("220"));
    assert!(client.ask("EHLO client.example.org").starts_with("250"));
    client
}

fn begins_message(client: &mut Raw) {
    assert!(client.ask("MAIL FROM:<jane@example.org>").starts_with("250"));
    assert!(client.ask("RCPT TO:<joe@example.net>").starts_with("250"));
}

/// Waits until the server takes no more connections.
fn refuses_connections(server: &str) {
    let start = Instant::now();
    // Some may still find a listener, that nobody asks any more.
    while TcpStream::connect(server).err().map(|error| error.kind()) != Some(ErrorKind::ConnectionRefused) {
        assert!(start.elapsed() < PATIENCE, "connections find a server after its end");
    }
}

fn shutting_down_ends_idle_sessions_and_lets_transactions_finish(runtime: Runtime) {
    let server = Server::start(runtime);
    let address = server.address();
    let mut fresh = Raw::connect(&address);
    assert!(fresh.reply().starts_with("220"));
    let mut idle = client(&address);
    let mut early = client(&address);
    begins_message(&mut early);
    let mut amid = client(&address);
    begins_message(&mut amid);
    assert!(amid.ask("DATA").starts_with("354"));
    amid.say("Subject: half");

    server.shut_down();
    for client in [&mut fresh, &mut idle] {
        assert_eq!(client.line().as_deref(), Some(SHUTTING_DOWN));
        assert_eq!(client.line(), None);
    }
    refuses_connections(&address);
    let server = thread::spawn(move || server.stop());

    assert!(early.ask("DATA").starts_with("354"));
    for (client, rest) in [(&mut amid, " and half\r\n.\r\n"), (&mut early, "Subject: whole\r\n.\r\n")] {
        assert!(!server.is_finished(), "the server ended before its sessions");
        client.say(rest);
        assert_eq!(client.reply(), "250 2.0.0 Taken as number 1");
        assert_eq!(client.line().as_deref(), Some(SHUTTING_DOWN));
        assert_eq!(client.line(), None);
    }
    let heard = joined(server);
    let messages = heard.iter().filter(|(_, heard)| matches!(heard, Heard::Message(_)));
    assert_eq!(messages.count(), 2, "{heard:?}");
    let ends = heard.iter().filter(|(_, heard)| *heard == Heard::Closing(CloseReason::ShutDown));
    assert_eq!(ends.count(), 4, "there were sessions after the shutdown: {heard:?}");
}

fn content_without_its_end_is_delivered_to_nobody(runtime: Runtime) {
    let server = Server::start(runtime);
    for content in ["", "Subject: half a li", "Subject: whole lines\r\n", "Subject: almost\r\n.", "x\r\n.\r", "x\n.\n"]
    {
        let mut client = client(&server.address());
        begins_message(&mut client);
        assert!(client.ask("DATA").starts_with("354"));
        client.say(content);
        client.stream().shutdown(Shutdown::Write).unwrap();
        let heard = server.session();
        let (end, resets) = heard.split_last().unwrap();
        assert_eq!(*end, Heard::Closing(CloseReason::Disconnected), "{content:?}");
        assert!(matches!(resets, [Heard::Reset(_)]), "{content:?}: {resets:?}");
        if !content.contains("x\n") {
            assert_eq!(resets, [Heard::Reset(ResetReason::Closing)], "{content:?}");
        }
        assert_eq!(client.line(), None, "{content:?}");
    }
}

on_each_runtime!(
    shutting_down_ends_idle_sessions_and_lets_transactions_finish,
    content_without_its_end_is_delivered_to_nobody,
);
