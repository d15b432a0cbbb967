//! Servers and sessions that are to end within a time.

use std::future::pending;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use smtp_proto::adapter::serving::Handle;
use smtp_proto::server::{self, CloseReason, Connection, Decision, Recipient, Session};
use smtp_tests::runtime::Runtime;

use super::pressure::tight;
use super::support::{Ear, Heard, Raw, Server, joined, limited, on_tokio, serve_under, server_config};

const SHUTTING_DOWN: &str = "421 4.3.2 Service shutting down";

/// A limit that is over at once, or nearly.
const SHORT: Duration = Duration::from_millis(50);

/// One that is not.
const LONG: Duration = Duration::from_secs(3600);

fn in_transaction(server: &str) -> Raw {
    let mut client = Raw::connect(server);
    assert!(client.reply().starts_with("220"));
    for command in ["EHLO client.example.org", "MAIL FROM:<jane@example.org>", "RCPT TO:<joe@example.net>"] {
        assert!(client.ask(command).starts_with("250"));
    }
    client
}

fn is_told(client: &mut Raw) {
    assert_eq!(client.line().as_deref(), Some(SHUTTING_DOWN));
    assert_eq!(client.line(), None);
}

fn a_transaction_is_broken_off_when_the_limit_is_over(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut before_data = in_transaction(&server.address());
    let mut in_data = in_transaction(&server.address());
    assert!(in_data.ask("DATA").starts_with("354"));
    in_data.say("Subject: half");
    server.handle().shut_down_within(SHORT);
    is_told(&mut before_data);
    is_told(&mut in_data);
    drop((before_data, in_data));
    let heard = server.stop();
    assert!(!heard.iter().any(|(_, heard)| matches!(heard, Heard::Message(_))), "{heard:?}");
    let ends = heard.iter().filter(|(_, heard)| *heard == Heard::Closing(CloseReason::ShutDown));
    assert_eq!(ends.count(), 2);
}

fn a_transaction_that_ends_in_time_is_not_broken_off(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut client = in_transaction(&server.address());
    let mut idle = Raw::connect(&server.address());
    assert!(idle.reply().starts_with("220"));
    server.handle().shut_down_within(LONG);
    is_told(&mut idle);
    assert!(client.ask("DATA").starts_with("354"));
    assert!(client.ask("Subject: whole\r\n.").starts_with("250"));
    is_told(&mut client);
    drop((idle, client));
    let heard = server.stop();
    assert_eq!(heard.iter().filter(|(_, heard)| matches!(heard, Heard::Message(_))).count(), 1);
}

fn the_earliest_limit_holds(runtime: Runtime) {
    for limits in [[LONG, SHORT], [SHORT, LONG]] {
        let server = Server::start(runtime);
        let mut client = in_transaction(&server.address());
        // As somebody who asks again and then loses patience.
        server.shut_down();
        for limit in limits {
            server.handle().shut_down_within(limit);
        }
        is_told(&mut client);
        drop(client);
        server.stop();
    }
}

/// A peer that takes nothing is not waited for: neither for as long as it may be silent otherwise.
fn a_goodbye_that_nobody_takes_is_not_insisted_on(runtime: Runtime) {
    let (ours, theirs) = tight();
    let handle = Handle::new();
    let (tell, heard) = mpsc::channel();
    let server = thread::spawn({
        let handle = handle.clone();
        move || {
            let mut config = server_config();
            config.limits.junk_commands = u32::MAX;
            serve_under(&handle, runtime, theirs, config, Ear::new(1, &tell));
        }
    });
    // Until neither side takes any more.
    let mut ours: TcpStream = ours;
    ours.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let stuck = loop {
        if let Err(error) = ours.write_all("EHLO client\r\n".repeat(100).as_bytes()) {
            break error;
        }
    };
    assert!(matches!(stuck.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stuck}");
    assert!(!server.is_finished());
    handle.shut_down_now();
    joined(server);
    assert!(matches!(heard.recv(), Ok((1, Heard::Closing(_)))));
    assert_eq!(handle.counts().open, 0);
    drop(ours);
}

on_each_runtime!(
    a_transaction_is_broken_off_when_the_limit_is_over,
    a_transaction_that_ends_in_time_is_not_broken_off,
    the_earliest_limit_holds,
    a_goodbye_that_nobody_takes_is_not_insisted_on,
);

/// A handler that never comes to a decision about recipients, and tells when it is asked and when it ends.
struct Undecided(mpsc::Sender<&'static str>);

impl server::Handler for Undecided {
    async fn recipient(&mut self, _: &Session, _: Recipient) -> Decision {
        self.0.send("asked").unwrap();
        pending().await
    }

    async fn closing(&mut self, _: &Session, reason: CloseReason) {
        assert_eq!(reason, CloseReason::ApplicationFailed);
        self.0.send("closing").unwrap();
    }
}

/// Has such a session until the limit is over.
fn hangs(client: TcpStream, handle: &Handle, told: &mpsc::Receiver<&'static str>) {
    let mut client = Raw::over(client);
    assert!(client.reply().starts_with("220"));
    for command in ["EHLO client.example.org", "MAIL FROM:<>"] {
        assert!(client.ask(command).starts_with("250"));
    }
    client.say("RCPT TO:<joe@example.net>\r\n");
    assert_eq!(told.recv(), Ok("asked"));
    handle.shut_down_within(SHORT);
    assert_eq!(client.line().as_deref(), Some("421 4.3.0 Local error; try again later"));
    assert_eq!(client.line(), None);
    assert_eq!(told.recv(), Ok("closing"), "the handler is still good for that");
    assert_eq!(handle.counts().failures, 1);
}

// A thread cannot be made to stop what it does: there is no such test for the blocking server.

#[test]
fn a_hook_that_hangs_is_dropped_on_tokio() {
    limited(|| {
        let ((ours, theirs), handle) = (tight(), Handle::new());
        let (tell, told) = mpsc::channel();
        let client = thread::spawn({
            let handle = handle.clone();
            move || hangs(ours, &handle, &told)
        });
        on_tokio(async {
            theirs.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(theirs).unwrap();
            let (connection, handler) = (Connection::new(1, None), Undecided(tell));
            smtp_tokio::serve_connection(stream, connection, server_config(), handler, &handle).await.unwrap();
        });
        joined(client);
    });
}

#[test]
fn a_hook_that_hangs_is_dropped_on_async_std() {
    limited(|| {
        let ((ours, theirs), handle) = (tight(), Handle::new());
        let (tell, told) = mpsc::channel();
        let client = thread::spawn({
            let handle = handle.clone();
            move || hangs(ours, &handle, &told)
        });
        theirs.set_nonblocking(true).unwrap();
        let (stream, connection, handler) = (theirs.into(), Connection::new(1, None), Undecided(tell));
        let stream: async_std::net::TcpStream = stream;
        let served = smtp_async_std::serve_connection(stream, connection, server_config(), handler, &handle);
        async_std::task::block_on(served).unwrap();
        joined(client);
    });
}
