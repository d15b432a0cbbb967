//! The core's deadlines, kept by every adapter. Each is set short where it is the only one that can pass: a slow
//! machine changes nothing.

use std::future::pending;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use smtp_blocking::Handler;
use smtp_proto::adapter::Error;
use smtp_proto::client::{self, RecipientOutcome, Verdict};
use smtp_proto::server::{self, CloseReason, Decision, ResetReason, Session};
use smtp_proto::{Error as SessionError, Phase};
use smtp_tests::runtime::Runtime;

use super::support::{
    Heard, Pattern, Raw, Server, client_config, connect_with, envelope, joined, limited, peer, serve, server_config,
    stream,
};

const SHORT: Duration = Duration::from_millis(200);

type Timeout = fn(&mut client::Timeouts) -> &mut Duration;

/// A client with one deadline that will pass.
fn hurried(timeout: Timeout) -> client::Config {
    let mut config = client_config();
    *timeout(&mut config.timeouts) = SHORT;
    config
}

/// A server that gives these replies, one for each line, and then none. The connection stays until the client ends it.
fn falls_silent(replies: &'static [&'static str]) -> String {
    let (address, _) = peer(move |mut peer| {
        for (number, reply) in replies.iter().enumerate() {
            match number {
                0 => peer.say(format!("{reply}\r\n")),
                _ => peer.answer(reply),
            }
        }
        while peer.line().is_some() {}
    });
    address
}

const REPLIES: [&str; 5] = ["220 raw.example.net", "250 raw.example.net", "250 OK", "250 OK", "354 Go ahead"];

fn a_client_gives_up_on_a_server_that_takes_no_session(runtime: Runtime) {
    let phases: [(Phase, usize, Timeout); 2] =
        [(Phase::Greeting, 0, |timeouts| &mut timeouts.greeting), (Phase::Hello, 1, |timeouts| &mut timeouts.hello)];
    for (phase, replies, timeout) in phases {
        let error = connect_with(runtime, &falls_silent(&REPLIES[..replies]), hurried(timeout)).err();
        let error = error.unwrap_or_else(|| panic!("{phase:?}: a session"));
        assert!(error.is_timeout(), "{phase:?}: {error}");
        let Error::Smtp { source, .. } = error else { panic!("{phase:?}: {error:?}") };
        assert_eq!(source, SessionError::Timeout { phase });
    }
}

fn a_client_gives_up_on_a_server_that_does_not_answer_about_a_message(runtime: Runtime) {
    let phases: [(Phase, usize, Timeout); 4] = [
        (Phase::Mail, 2, |timeouts| &mut timeouts.mail),
        (Phase::Rcpt, 3, |timeouts| &mut timeouts.rcpt),
        (Phase::Data, 4, |timeouts| &mut timeouts.data),
        (Phase::EndOfData, 5, |timeouts| &mut timeouts.end_of_data),
    ];
    for (phase, replies, timeout) in phases {
        let address = falls_silent(&REPLIES[..replies]);
        let mut mailer = connect_with(runtime, &address, hurried(timeout)).unwrap();
        let outcome = mailer.send(envelope("jane", &["joe"]), "x\r\n".into()).unwrap();
        let error = SessionError::Timeout { phase };
        assert_eq!(outcome.error, Some(error.clone()), "{phase:?}");
        if phase == Phase::EndOfData {
            // The server has it all and may yet have taken it.
            assert_eq!(outcome.verdict(), Verdict::Unknown);
            assert_eq!(outcome.recipients, [RecipientOutcome::Unknown(error)]);
        } else {
            assert_eq!(outcome.verdict(), Verdict::Refused, "{phase:?}");
            assert_eq!(outcome.recipients, [RecipientOutcome::Failed(error)]);
        }
    }
}

fn a_client_gives_up_on_a_server_that_takes_no_content(runtime: Runtime) {
    let (address, server) = peer(|mut peer| {
        peer.go_ahead();
        peer
    });
    // More than all buffers on the way can hold.
    let outcome = stream(runtime, &address, hurried(|timeouts| &mut timeouts.content), Pattern::new(10_000));
    let error = SessionError::Timeout { phase: Phase::Content };
    assert_eq!(outcome.error, Some(error.clone()));
    assert_eq!(outcome.recipients, [RecipientOutcome::Failed(error)]);
    joined(server);
}

fn a_client_gives_up_on_a_server_that_does_not_answer_a_command(runtime: Runtime) {
    let address = falls_silent(&REPLIES[..2]);
    let mut mailer = connect_with(runtime, &address, hurried(|timeouts| &mut timeouts.command)).unwrap();
    let error = mailer.command("NOOP").unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

fn a_client_that_says_goodbye_does_not_insist_on_an_answer(runtime: Runtime) {
    let address = falls_silent(&REPLIES[..2]);
    connect_with(runtime, &address, hurried(|timeouts| &mut timeouts.quit)).unwrap().quit().unwrap();
}

const TIMED_OUT: &str = "421 4.4.2 Timed out";

/// A server whose clients have to be quick with commands.
fn impatient(runtime: Runtime) -> (Server, Raw) {
    let mut config = server_config();
    config.timeouts.command = SHORT;
    config.limits.junk_commands = u32::MAX;
    let server = Server::with(runtime, config);
    let peer = Raw::connect(&server.address());
    (server, peer)
}

/// A client in the middle of the content.
fn amid_content(runtime: Runtime, minimum_rate: u64) -> (Server, Raw) {
    let mut config = server_config();
    config.timeouts.content = SHORT;
    config.timeouts.minimum_rate = minimum_rate;
    let server = Server::with(runtime, config);
    let mut peer = Raw::connect(&server.address());
    peer.say("EHLO client\r\nMAIL FROM:<>\r\nRCPT TO:<joe@example.net>\r\nDATA\r\n");
    while !peer.reply().starts_with("354") {}
    (server, peer)
}

fn a_server_cuts_off_a_client_that_says_nothing(runtime: Runtime) {
    let (server, mut peer) = impatient(runtime);
    assert!(peer.reply().starts_with("220"));
    assert_eq!(peer.line().as_deref(), Some(TIMED_OUT));
    assert_eq!(peer.line(), None);
    assert_eq!(server.session(), [Heard::Closing(CloseReason::Timeout(Phase::Command))]);
}

fn a_server_cuts_off_a_client_that_never_ends_a_command(runtime: Runtime) {
    let (server, mut peer) = impatient(runtime);
    assert!(peer.reply().starts_with("220"));
    assert_eq!(peer.drip(b'x').as_deref(), Some(TIMED_OUT));
    assert_eq!(server.session(), [Heard::Closing(CloseReason::Timeout(Phase::Command))]);
}

fn a_server_cuts_off_a_client_that_takes_no_replies(runtime: Runtime) {
    let (server, peer) = impatient(runtime);
    let hellos = "EHLO client\r\n".repeat(1000);
    // Until the buffers of both sides are full and the server has gone.
    let error = loop {
        if let Err(error) = peer.stream().write_all(hellos.as_bytes()) {
            break error;
        }
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert_eq!(server.session(), [Heard::Closing(CloseReason::Timeout(Phase::Command))]);
}

fn a_server_cuts_off_a_client_that_stops_amid_content(runtime: Runtime) {
    let (server, mut peer) = amid_content(runtime, 0);
    peer.say("Subject: half a mess");
    assert_eq!(peer.line().as_deref(), Some(TIMED_OUT));
    assert_eq!(peer.line(), None);
    assert_eq!(server.session(), TIMED_OUT_AMID_CONTENT);
}

fn a_server_cuts_off_a_client_whose_content_drips(runtime: Runtime) {
    let (server, mut peer) = amid_content(runtime, 1_000_000);
    assert_eq!(peer.drip(b'x').as_deref(), Some(TIMED_OUT));
    assert_eq!(server.session(), TIMED_OUT_AMID_CONTENT);
}

const TIMED_OUT_AMID_CONTENT: [Heard; 2] =
    [Heard::Reset(ResetReason::Closing), Heard::Closing(CloseReason::Timeout(Phase::Content))];

/// A handler that never comes to a decision.
struct Undecided;

impl server::Handler for Undecided {
    async fn connected(&mut self, _: &Session) -> Decision {
        pending().await
    }
}

impl Handler for Undecided {}

fn is_cut_off_undecided(runtime: Runtime) {
    limited(move || {
        let (address, server) = peer(move |peer| {
            let mut config = server_config();
            config.timeouts.decision = SHORT;
            serve(runtime, peer.into_stream(), config, Undecided);
        });
        let mut client = Raw::connect(&address);
        assert!(client.reply().starts_with("421 "));
        assert_eq!(client.line(), None);
        joined(server);
    });
}

// A thread cannot be made to stop what it does: there is no such test for the blocking server.

#[test]
fn a_server_does_not_wait_for_a_handler_for_ever_on_tokio() {
    is_cut_off_undecided(Runtime::Tokio);
}

#[test]
fn a_server_does_not_wait_for_a_handler_for_ever_on_async_std() {
    is_cut_off_undecided(Runtime::AsyncStd);
}

on_each_runtime!(
    a_client_gives_up_on_a_server_that_takes_no_session,
    a_client_gives_up_on_a_server_that_does_not_answer_about_a_message,
    a_client_gives_up_on_a_server_that_takes_no_content,
    a_client_gives_up_on_a_server_that_does_not_answer_a_command,
    a_client_that_says_goodbye_does_not_insist_on_an_answer,
    a_server_cuts_off_a_client_that_says_nothing,
    a_server_cuts_off_a_client_that_never_ends_a_command,
    a_server_cuts_off_a_client_that_takes_no_replies,
    a_server_cuts_off_a_client_that_stops_amid_content,
    a_server_cuts_off_a_client_whose_content_drips,
);
