//! What servers tell of themselves: counts and observers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use smtp_proto::adapter::serving::{ConnectionLimits, Observer, TurnedAway};
use smtp_proto::server::{CloseReason, Connection, Decision, Event, Session};
use smtp_tests::runtime::{Options, Runtime, Service};

use super::support::{Ear, PATIENCE, Raw, server_config};

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, connection: &Connection, what: impl std::fmt::Display) {
        self.0.lock().unwrap().push(format!("{} {what}", connection.id));
    }
}

impl Observer for Notes {
    fn opened(&self, connection: &Connection) {
        self.note(connection, "opened");
    }

    fn turned_away(&self, connection: &Connection, reason: TurnedAway) {
        self.note(connection, format_args!("turned away: {reason:?}"));
    }

    fn event(&self, connection: &Connection, session: &Session, event: &Event) {
        if let Event::MessageEnd { size } = event {
            let recipients = session.transaction().unwrap().recipients();
            self.note(connection, format_args!("a message of {size} octets to {recipients}"));
        }
    }

    fn decided(
        &self,
        connection: &Connection,
        _: &Session,
        event: &'static str,
        decision: Option<&Decision>,
        took: Duration,
    ) {
        assert!(took < PATIENCE);
        let decision = match decision {
            Some(Decision::Reply(reply)) => format!(": {reply}"),
            Some(Decision::Each(decisions)) => format!(": {}", decisions.len()),
            _ => String::new(),
        };
        self.note(connection, format_args!("{event}{decision}"));
    }

    fn failed(&self, connection: &Connection, _: &Session, event: &'static str) {
        self.note(connection, format_args!("failed: {event}"));
    }

    fn accepted(&self, connection: &Connection, session: &Session, octets: u64) {
        assert_eq!(session.messages(), 1);
        self.note(connection, format_args!("accepted: {octets}"));
    }

    fn refused(&self, connection: &Connection, _: &Session, count: u64) {
        self.note(connection, format_args!("refused: {count}"));
    }

    fn closed(&self, connection: &Connection, reason: Option<&CloseReason>, lasted: Duration) {
        assert!(lasted < PATIENCE);
        self.note(connection, format_args!("closed: {reason:?}"));
    }
}

/// Panics whenever it is told something.
struct Panics;

impl Observer for Panics {
    fn opened(&self, _: &Connection) {
        std::panic::resume_unwind(Box::new("the observer panics"));
    }

    fn event(&self, _: &Connection, _: &Session, _: &Event) {
        std::panic::resume_unwind(Box::new("the observer panics"));
    }
}

fn start(runtime: Runtime, total: usize) -> Service {
    let mut options = Options::new().at("127.0.0.1:0", server_config());
    options.limits = ConnectionLimits::default();
    options.limits.total = total;
    let (tell, _) = std::sync::mpsc::channel();
    Service::start_with(runtime, options, move |connection| Ear::new(connection.id, &tell)).unwrap()
}

/// A client that says these lines, each when the one before is answered.
fn says(service: &Service, lines: &[&str]) -> Raw {
    let mut client = Raw::connect(&service.address().to_string());
    client.reply();
    for line in lines {
        client.ask(line);
    }
    client
}

const MESSAGE: [&str; 7] = [
    "EHLO client.example.org",
    "MAIL FROM:<jane@example.org>",
    "RCPT TO:<joe@example.net>",
    "RCPT TO:<refused@example.net>",
    "RCPT TO:<ann@example.net>",
    "DATA",
    "Subject: x\r\n\r\nHi\r\n.",
];

fn counts_are_there_at_any_time(runtime: Runtime) {
    let service = start(runtime, 2);
    let counts = || service.handle().counts();
    assert_eq!(counts(), Default::default());
    let mut first = says(&service, &MESSAGE);
    let second = says(&service, &["EHLO c", "MAIL FROM:<refused@example.org>"]);
    assert_eq!(Raw::connect(&service.address().to_string()).codes(), [421]);
    // What the replies say has been counted before they were written.
    let now = counts();
    assert_eq!((now.open, now.sessions, now.turned_away), (2, 2, 1));
    assert_eq!((now.messages, now.octets, now.refused, now.failures), (1, 18, 2, 0));
    assert!(first.ask("QUIT").starts_with("221"));
    drop((first, second));
    service.shut_down();
    service.wait();
    let end = counts();
    assert_eq!((end.open, end.sessions, end.messages), (0, 2, 1));
}

fn an_observer_is_told_in_order(runtime: Runtime) {
    let service = start(runtime, 1);
    let notes = Notes::default();
    service.handle().observe(Panics);
    service.handle().observe(notes.clone());
    let mut client = says(&service, &MESSAGE);
    assert_eq!(Raw::connect(&service.address().to_string()).codes(), [421]);
    for command in ["MAIL FROM:<>", "RCPT TO:<panics@example.net>"] {
        client.ask(command);
    }
    drop(client);
    service.shut_down();
    service.wait();
    let noted = notes.0.lock().unwrap().clone();
    let of = |session: &str| noted.iter().filter_map(|note| note.strip_prefix(session)).collect::<Vec<_>>();
    assert_eq!(of("2 "), ["turned away: Total"]);
    let expected = [
        "opened",
        "connected",
        "hello",
        "mail",
        "recipients: 1",
        "recipients: 1",
        "refused: 1",
        "recipients: 1",
        "data",
        "body",
        "a message of 18 octets to 2",
        "message_end: 250 2.0.0 Taken as number 1",
        "accepted: 18",
        "mail",
        "failed: recipients",
        "closed: Some(ApplicationFailed)",
    ];
    assert_eq!(of("1 "), expected);
    assert!(service.handle().counts().failures > 1, "the other observer's panics are counted");
}

on_each_runtime!(counts_are_there_at_any_time, an_observer_is_told_in_order);
