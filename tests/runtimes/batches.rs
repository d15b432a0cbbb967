//! Many messages through a mailer at once: over several connections, several on their way over each.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use smtp_blocking::Handler;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::MailObserver;
use smtp_proto::client::{Envelope, RecipientOutcome, Transfer, Verdict};
use smtp_proto::delivery::{Policies, Report, Url};
use smtp_proto::server::{Connection, Decision, Mail, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tests::mailer::Mailer;
use smtp_tests::runtime::{Runtime, Service};

use super::connecting::nobody;
use super::support::{Heard, NO_SUCH_USER, Server, client_config, envelope, peer, server_config};

const COUNT: usize = 300;

/// What the recipients of a message are, by its number.
fn recipients(number: usize) -> &'static [&'static str] {
    match number % 5 {
        0 => &["joe", "later"],
        1 => &["later"],
        2 => &["joe", "refused", "jim"],
        _ => &["joe"],
    }
}

fn content(number: usize) -> String {
    format!("Subject: {number}\r\n\r\n.{number}\r\n")
}

fn message(number: usize) -> (Envelope, Bytes) {
    (envelope(&format!("number{number}"), recipients(number)), content(number).into())
}

/// Message and recipient.
type Delivery = (String, String);

/// Refuses `later` for now, once for each message.
struct Fickle {
    asked: Arc<Mutex<BTreeSet<String>>>,
    tell: Sender<(Delivery, Bytes)>,
    sender: String,
    recipients: Vec<String>,
    content: Vec<u8>,
}

impl Handler for Fickle {
    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        self.sender = mail.reverse_path.to_string();
        self.recipients.clear();
        self.content.clear();
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        if recipient.contains("refused") {
            return NO_SUCH_USER.into();
        }
        if recipient.contains("later") && self.asked.lock().unwrap().insert(self.sender.clone()) {
            return Reply::from_static("450 4.2.1 Not now").into();
        }
        self.recipients.push(recipient);
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.content.extend_from_slice(&content);
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        let content = Bytes::from(std::mem::take(&mut self.content));
        for recipient in self.recipients.drain(..) {
            self.tell.send(((self.sender.clone(), recipient), content.clone())).unwrap();
        }
        Decision::Accept
    }
}

fn policies(connections: usize) -> Policies {
    let mut policies = Policies::default();
    (policies.pool.connections, policies.retry.first_delay) = (connections, Duration::from_millis(1));
    policies
}

fn mailer(runtime: Runtime, server: &str, transfer: Transfer, policies: Policies) -> Mailer {
    let url: Url = format!("smtp://{server}").parse().unwrap();
    let mut config = client_config();
    config.transfer = transfer;
    Mailer::new(runtime, config, url.endpoint().clone(), policies).unwrap()
}

fn each_message_is_accounted_for_once(runtime: Runtime) {
    for (transfer, connections, messages) in [(Transfer::Auto, 3, 1000), (Transfer::Data, 2, 7)] {
        let (tell, told) = mpsc::channel();
        let asked = Arc::default();
        let handler = move |_: &Connection| Fickle {
            asked: Arc::clone(&asked),
            tell: tell.clone(),
            sender: String::new(),
            recipients: Vec::new(),
            content: Vec::new(),
        };
        let service = Service::start(runtime, "127.0.0.1:0", server_config(), Duration::ZERO, handler).unwrap();
        let mut policies = policies(connections);
        policies.pool.messages = messages;
        let mailer = mailer(runtime, &service.address().to_string(), transfer, policies);
        let reports: Vec<_> = mailer.send_all((0..COUNT).map(message)).collect();
        assert_eq!(reports.len(), COUNT);
        let reports: BTreeMap<usize, Result<Report, Error>> = reports.into_iter().collect();
        assert_eq!(reports.len(), COUNT, "one was told of twice");
        let mut accepted = BTreeSet::new();
        for (number, report) in reports {
            let report = report.unwrap();
            let outcomes = recipients(number).iter().zip(&report.outcome.recipients);
            for (recipient, outcome) in outcomes {
                assert_eq!(outcome.is_accepted(), *recipient != "refused", "{number}: {report:?}");
                if outcome.is_accepted() {
                    accepted.insert((format!("number{number}@example.org"), format!("{recipient}@example.net")));
                }
            }
            let later = recipients(number).contains(&"later");
            assert_eq!(report.attempts, 1 + u32::from(later), "{number}: {report:?}");
        }
        let health = mailer.health();
        assert_eq!((health.sent, health.failed, health.retried), (240, 60, 120));
        assert!(health.connections >= (COUNT as u64 + 120) / u64::from(messages), "{}", health.connections);
        mailer.close();
        service.shut_down();
        service.wait();
        let mut arrived = BTreeSet::new();
        for ((sender, recipient), octets) in told.try_iter() {
            let number = sender.trim_start_matches("number").trim_end_matches("@example.org").parse().unwrap();
            assert_eq!(octets, content(number));
            assert!(arrived.insert((sender, recipient)), "a message arrived twice");
        }
        assert_eq!(arrived, accepted);
    }
}

/// Over one connection, messages go in the order in which they are taken, and are taken as they are needed.
fn first_attempts_are_in_order_and_messages_are_taken_as_they_are_needed(runtime: Runtime) {
    let server = Server::start(runtime);
    let mailer = mailer(runtime, &server.address(), Transfer::Auto, policies(1));
    let (taken, told) = (Cell::new(0usize), Cell::new(0usize));
    let messages = (0..COUNT).map(|number| {
        taken.set(number + 1);
        // Those that may be on their way, those that wait, and those whose report has come and was not looked at.
        assert!(taken.get() - told.get() <= 1000);
        (envelope(&format!("number{number}"), &["joe"]), Bytes::from(content(number)))
    });
    let mut reports = mailer.send_all(messages);
    assert_eq!(taken.get(), 0, "nothing is taken before somebody asks");
    for number in 0..COUNT {
        let (index, report) = reports.next().unwrap();
        assert_eq!((index, report.unwrap().outcome.verdict()), (number, Verdict::Delivered));
        told.set(number + 1);
    }
    assert!(reports.next().is_none() && reports.next().is_none());
    drop(reports);
    mailer.close();
    let heard = server.stop();
    let contents = heard.into_iter().filter_map(|(_, heard)| match heard {
        Heard::Message(message) => Some(String::from_utf8(message.content).unwrap()),
        _ => None,
    });
    assert_eq!(contents.collect::<Vec<_>>(), (0..COUNT).map(content).collect::<Vec<_>>());
}

/// A server that never answers the first message: the iterator is not run through.
fn no_more_is_taken_than_can_be_on_its_way(runtime: Runtime) {
    let (server, thread) = peer(|mut raw| {
        raw.welcome(&["PIPELINING"]);
        raw.line().unwrap();
        raw
    });
    let mut policies = policies(1);
    // The session is held against the first message; the others find no server.
    policies.retry.attempts = 1;
    let mailer = mailer(runtime, &server, Transfer::Auto, policies);
    let taken = Arc::new(Mutex::new(0usize));
    let counted = Arc::clone(&taken);
    let mut reports = mailer.send_all((0..1_000_000).map(move |number| {
        *counted.lock().unwrap() += 1;
        message(number)
    }));
    let sending = thread::spawn(move || reports.next().map(|(index, report)| (index, report.unwrap())));
    let raw = thread.join().unwrap();
    drop(raw);
    let (index, report) = sending.join().unwrap().unwrap();
    drop(mailer);
    assert!(index == 0 && !report.outcome.is_delivered());
    assert!(*taken.lock().unwrap() < 1000);
}

fn messages_that_cannot_be_spoil_no_other(runtime: Runtime) {
    let server = Server::start(runtime);
    let mailer = mailer(runtime, &server.address(), Transfer::Auto, policies(2));
    let messages = (0..9).map(|number| {
        let (mut envelope, content) = message(3);
        if number % 3 == 1 {
            envelope.recipients.clear();
        }
        (envelope, content)
    });
    let mut impossible = 0;
    for (index, report) in mailer.send_all(messages) {
        match report {
            Ok(report) => assert!(report.outcome.is_delivered() && index % 3 != 1),
            Err(Error::Argument(_)) => impossible += usize::from(index % 3 == 1),
            Err(other) => panic!("{index}: {other}"),
        }
    }
    assert_eq!(impossible, 3);
    assert!(mailer.send_all(std::iter::empty()).next().is_none());
    mailer.close();
    // Nothing is sent through a mailer that is closed.
    let errors: Vec<_> = mailer.send_all((0..5).map(message)).collect();
    assert_eq!(errors.len(), 5);
    assert!(errors.iter().all(|(_, report)| matches!(report, Err(Error::MailerClosed))), "{errors:?}");
    // None of that was the server's fault.
    let health = mailer.health();
    assert_eq!((health.sent, health.failed, health.last_error), (6, 0, None));
    assert_eq!(server.stop().iter().filter(|(_, heard)| matches!(heard, Heard::Message(_))).count(), 6);
}

fn a_server_that_is_not_there_is_told_of_each_message(runtime: Runtime) {
    let (_held, port) = nobody();
    let mut policies = policies(2);
    policies.retry.attempts = 2;
    let mailer = mailer(runtime, &format!("127.0.0.1:{port}"), Transfer::Auto, policies);
    let mut indices = BTreeSet::new();
    for (index, report) in mailer.send_all((0..10).map(message)) {
        assert!(matches!(report, Err(Error::Connect { .. })), "{report:?}");
        assert!(indices.insert(index));
    }
    assert_eq!(indices.len(), 10);
    let health = mailer.health();
    assert_eq!((health.failed, health.retried, health.connections), (10, 10, 0));
    mailer.close();
}

/// What is dropped sends nothing that has not begun, and what comes behind it is not disturbed.
fn reports_that_are_dropped_leave_nothing_behind(runtime: Runtime) {
    for transfer in [Transfer::Auto, Transfer::Data] {
        let server = Server::start(runtime);
        let mailer = mailer(runtime, &server.address(), transfer, policies(2));
        let mut reports = mailer.send_all((0..10_000).map(|number| message(5 * number + 3)));
        let told: Vec<usize> = reports.by_ref().take(20).map(|(index, _)| index).collect();
        drop(reports);
        let last = mailer.send(envelope("last", &["joe"]), "Subject: last\r\n").unwrap();
        assert!(last.outcome.is_delivered() && last.attempts == 1, "{last:?}");
        mailer.close();
        let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
        for (_, heard) in server.stop() {
            if let Heard::Message(message) = heard {
                *arrived.entry(message.sender).or_default() += 1;
            }
        }
        assert!(arrived.values().all(|times| *times == 1), "{arrived:?}");
        assert_eq!(arrived.remove("last@example.org"), Some(1));
        assert!(told.iter().all(|index| arrived.contains_key(&format!("number{}@example.org", 5 * index + 3))));
        // Those that had been told of, on their way, or waited to be told of: but not all.
        assert!(arrived.len() < 2000, "{}", arrived.len());
    }
}

/// A server that answers nothing before it has ten messages.
fn whole_messages_are_on_their_way_over_one_connection(runtime: Runtime) {
    const FEW: usize = 10;
    let (server, thread) = peer(|mut raw| {
        raw.welcome(&["PIPELINING", "CHUNKING"]);
        let mut senders = Vec::new();
        for _ in 0..FEW {
            senders.push(raw.line().unwrap());
            assert_eq!(raw.line().unwrap(), "RCPT TO:<joe@example.net>");
            let chunk = raw.line().unwrap();
            let size = chunk.strip_prefix("BDAT ").and_then(|size| size.strip_suffix(" LAST")).unwrap();
            raw.take(size.parse().unwrap());
            assert_eq!(raw.line().unwrap(), "RSET");
        }
        raw.say("250 2.0.0 OK\r\n".repeat(4 * FEW));
        raw.answer("221 2.0.0 Bye");
        senders
    });
    let mailer = mailer(runtime, &server, Transfer::Auto, policies(1));
    let messages = (0..FEW).map(|number| (envelope(&format!("number{number}"), &["joe"]), content(number).into()));
    let reports: Vec<_> = mailer.send_all(messages).collect();
    assert!(reports.iter().all(|(_, report)| report.as_ref().unwrap().outcome.is_delivered()), "{reports:?}");
    assert_eq!(reports.len(), FEW);
    mailer.close();
    let expected: Vec<String> = (0..FEW).map(|number| format!("MAIL FROM:<number{number}@example.org>")).collect();
    assert_eq!(thread.join().unwrap(), expected);
}

struct Nervous;

impl MailObserver for Nervous {
    fn delayed(&self, _: &Envelope, _: Duration) {
        // As a panic, but the hook stays quiet.
        resume_unwind(Box::new("the observer panics"));
    }

    fn done(&self, _: &Envelope, _: Result<&Report, &Error>, _: Duration) {
        resume_unwind(Box::new("the observer panics"));
    }

    fn idle(&self) {
        resume_unwind(Box::new("the observer panics"));
    }
}

fn observers_that_panic_concern_no_message(runtime: Runtime) {
    let (_held, port) = nobody();
    let mailer = mailer(runtime, &format!("127.0.0.1:{port}"), Transfer::Auto, policies(2));
    mailer.observe(Nervous);
    assert_eq!(mailer.send_all((0..5).map(message)).count(), 5);
    assert!(matches!(mailer.send(envelope("jane", &["joe"]), "Hi\r\n"), Err(Error::Connect { .. })));
    mailer.close();
}

/// A server that takes three messages over a connection, then says that it closes: the others go over further ones.
fn a_server_that_closes_in_the_middle_costs_no_attempt(runtime: Runtime) {
    for last_words in ["421 4.3.2 Enough", ""] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let mut senders = Vec::new();
            while senders.len() < 10 {
                let mut raw = super::support::Raw::over(listener.accept().unwrap().0);
                raw.welcome(&["PIPELINING"]);
                for _ in 0..3.min(10 - senders.len()) {
                    let mail = raw.line().unwrap();
                    raw.say("250 OK\r\n");
                    for reply in ["250 OK", "354 Go ahead"] {
                        raw.answer(reply);
                    }
                    while raw.line().unwrap() != "." {}
                    raw.say("250 2.0.0 Taken\r\n");
                    senders.push(mail);
                }
                if senders.len() < 10 {
                    raw.line().unwrap();
                    raw.say(if last_words.is_empty() { String::new() } else { format!("{last_words}\r\n") });
                    // All that was said has to be read, or the end would be a reset that overtakes the last words.
                    raw.stream().shutdown(std::net::Shutdown::Write).unwrap();
                    raw.drain();
                } else {
                    raw.answer("221 Bye");
                }
            }
            senders
        });
        let mailer = mailer(runtime, &address, Transfer::Auto, policies(1));
        let messages =
            (0..10).map(|number| (envelope(&format!("number{number}"), &["joe"]), Bytes::from(content(number))));
        for (number, (index, report)) in mailer.send_all(messages).enumerate() {
            let report = report.unwrap();
            assert_eq!((index, report.attempts, report.outcome.is_delivered()), (number, 1, true), "{report:?}");
        }
        assert_eq!((mailer.health().retried, mailer.health().connections), (0, 4));
        mailer.close();
        let expected: Vec<String> = (0..10).map(|number| format!("MAIL FROM:<number{number}@example.org>")).collect();
        assert_eq!(server.join().unwrap(), expected);
    }
}

/// The mailer closes while a server is at the first of many messages: those that do not wait are done, all are told of.
fn a_mailer_that_closes_tells_of_all(runtime: Runtime) {
    let (server, thread) = peer(|mut raw| {
        raw.go_ahead();
        while raw.line().unwrap() != "." {}
        raw
    });
    let mailer = mailer(runtime, &server, Transfer::Data, policies(1));
    let sending = {
        let mailer = mailer.clone();
        let messages = (0..100).map(|number| message(5 * number + 3));
        thread::spawn(move || mailer.send_all(messages).map(|(_, report)| report).collect::<Vec<_>>())
    };
    let raw = thread.join().unwrap();
    let waiting = {
        let mailer = mailer.clone();
        thread::spawn(move || mailer.send(envelope("jane", &["joe"]), content(0)))
    };
    let closing = thread::spawn(move || mailer.close());
    assert!(matches!(waiting.join().unwrap(), Err(Error::MailerClosed)));
    drop(raw);
    let reports = sending.join().unwrap();
    closing.join().unwrap();
    assert_eq!(reports.len(), 100);
    let unknown = |outcome: &RecipientOutcome| matches!(outcome, RecipientOutcome::Unknown(_));
    let doubtful = reports.iter().flatten().filter(|report| report.outcome.recipients.iter().any(unknown)).count();
    assert_eq!(doubtful, 1);
    assert!(reports.iter().filter(|report| matches!(report, Err(Error::MailerClosed))).count() > 50, "{reports:?}");
}

on_each_runtime!(
    each_message_is_accounted_for_once,
    first_attempts_are_in_order_and_messages_are_taken_as_they_are_needed,
    no_more_is_taken_than_can_be_on_its_way,
    messages_that_cannot_be_spoil_no_other,
    a_server_that_is_not_there_is_told_of_each_message,
    reports_that_are_dropped_leave_nothing_behind,
    a_server_that_closes_in_the_middle_costs_no_attempt,
    a_mailer_that_closes_tells_of_all,
    whole_messages_are_on_their_way_over_one_connection,
    observers_that_panic_concern_no_message,
);
