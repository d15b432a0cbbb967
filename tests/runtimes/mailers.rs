//! Mailers: connections that are kept, messages that are tried again.

use std::future::ready;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use smtp_blocking::Handler;
use smtp_proto::Error as SessionError;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::MailObserver;
use smtp_proto::client::{Envelope, RecipientOutcome};
use smtp_proto::delivery::{Policies, Report};
use smtp_proto::server::{CloseReason, Connection, Decision, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tests::mailer::{Mailer, send};
use smtp_tests::runtime::{Runtime, Service};

use super::connecting::nobody;
use super::support::{Heard, NO_SUCH_USER, PATIENCE, Pattern, Server, client_config, envelope, peer, server_config};

fn mailer(runtime: Runtime, server: &str, options: &str) -> Mailer {
    Mailer::from_url(runtime, &format!("smtp://{server}?tls=none{options}")).unwrap()
}

fn content(number: usize) -> String {
    format!("Subject: {number}\r\n\r\n.{number}\r\n")
}

/// What closed each of the sessions, and the content of the messages.
fn heard(server: Server) -> (Vec<CloseReason>, Vec<String>) {
    let (mut ends, mut contents) = (Vec::new(), Vec::new());
    for (_, heard) in server.stop() {
        match heard {
            Heard::Message(message) => contents.push(String::from_utf8(message.content).unwrap()),
            Heard::Closing(reason) => ends.push(reason),
            Heard::Reset(_) => {}
        }
    }
    (ends, contents)
}

fn many_threads_share_few_connections(runtime: Runtime) {
    const THREADS: usize = 8;
    const EACH: usize = 10;
    let server = Server::start(runtime);
    let mailer = mailer(runtime, &server.address(), "&connections=2");
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let mailer = mailer.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    let report = mailer.send(envelope("jane", &["joe"]), content(thread * EACH + number)).unwrap();
                    assert!(report.outcome.is_delivered(), "{report:?}");
                    assert_eq!(report.attempts, 1);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    mailer.close();
    let health = mailer.health();
    assert_eq!((health.sent, health.failed, health.retried, health.last_error), ((THREADS * EACH) as u64, 0, 0, None));
    assert!((1..=2).contains(&health.connections), "{} connections", health.connections);
    assert_eq!(health.response_times.count, THREADS * EACH);
    match mailer.send(envelope("jane", &["joe"]), content(0)) {
        Err(error @ Error::MailerClosed) => assert!(error.is_permanent()),
        other => panic!("{other:?}"),
    }
    let (ends, mut contents) = heard(server);
    assert_eq!(ends, vec![CloseReason::Quit; health.connections as usize]);
    contents.sort_unstable();
    let mut expected: Vec<_> = (0..THREADS * EACH).map(content).collect();
    expected.sort_unstable();
    assert_eq!(contents, expected);
}

fn a_connection_ends_after_its_messages_and_with_the_last_clone(runtime: Runtime) {
    let server = Server::start(runtime);
    let mailer = mailer(runtime, &server.address(), "&messages=3&connections=1");
    for number in 0..7 {
        mailer.clone().send(envelope("jane", &["joe"]), content(number)).unwrap();
    }
    assert_eq!(mailer.health().connections, 3);
    // A runtime that ended with the mailer would leave no time to say goodbye.
    let kept = match &mailer {
        Mailer::Tokio(_, tokio) => Some(Arc::clone(tokio)),
        _ => None,
    };
    drop(mailer);
    for messages in [3, 3, 1] {
        let session = server.session();
        let count = session.iter().filter(|heard| matches!(heard, Heard::Message(_))).count();
        assert_eq!(count, messages);
        assert_eq!(session.last(), Some(&Heard::Closing(CloseReason::Quit)));
    }
    drop(kept);
    server.stop();
}

fn idle_connections_are_closed(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut policies = Policies::default();
    policies.pool.idle = Duration::from_millis(20);
    let url: smtp_proto::delivery::Url = format!("smtp://{}", server.address()).parse().unwrap();
    let mailer = Mailer::new(runtime, client_config(), url.endpoint().clone(), policies).unwrap();
    for number in 0..2 {
        mailer.send(envelope("jane", &["joe"]), content(number)).unwrap();
        assert_eq!(server.session().last(), Some(&Heard::Closing(CloseReason::Quit)));
    }
    assert_eq!(mailer.health().connections, 2);
    mailer.close();
    server.stop();
}

/// A server that goes away behind the first message, with or without a word, and takes the second over another
/// connection.
fn a_connection_that_went_away_is_not_used(runtime: Runtime) {
    for last_words in ["", "421 4.3.2 Closing\r\n"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (gone, is_gone) = mpsc::channel();
        let server = thread::spawn(move || {
            for number in 0..2 {
                let mut raw = super::support::Raw::over(listener.accept().unwrap().0);
                raw.go_ahead();
                while raw.line().unwrap() != "." {}
                raw.say("250 2.0.0 Taken\r\n");
                if number == 0 {
                    raw.say(last_words);
                    drop(raw);
                    gone.send(()).unwrap();
                } else {
                    raw.answer("221 Bye");
                    raw.drain();
                }
            }
        });
        let mailer = mailer(runtime, &address, "");
        assert!(mailer.send(envelope("jane", &["joe"]), content(1)).unwrap().outcome.is_delivered());
        is_gone.recv_timeout(PATIENCE).unwrap();
        let report = mailer.send(envelope("jane", &["joe"]), content(2)).unwrap();
        assert!(report.outcome.is_delivered(), "{report:?}");
        assert_eq!((report.attempts, mailer.health().retried), (1, 0));
        mailer.close();
        server.join().unwrap();
    }
}

/// Refuses `later` for now, for the first two times.
struct Reluctant {
    asked: Arc<Mutex<usize>>,
    tell: Sender<String>,
    recipients: Vec<String>,
}

impl Handler for Reluctant {
    fn mail(&mut self, _: &Session, _: smtp_proto::server::Mail) -> Decision {
        self.recipients.clear();
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        if recipient.contains("refused") {
            return NO_SUCH_USER.into();
        }
        if recipient.contains("later") {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            if *asked <= 2 {
                return Reply::from_static("450 4.2.1 Not now").into();
            }
        }
        self.recipients.push(recipient);
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        self.recipients.iter().for_each(|recipient| self.tell.send(recipient.clone()).unwrap());
        Decision::Accept
    }
}

#[derive(Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl MailObserver for Diary {
    fn delayed(&self, envelope: &Envelope, delay: Duration) {
        assert!(delay <= Duration::from_millis(4));
        self.0.lock().unwrap().push(format!("delayed {}", envelope.reverse_path));
    }

    fn done(&self, envelope: &Envelope, result: Result<&Report, &Error>, _: Duration) {
        let delivered = result.is_ok_and(|report| report.outcome.is_delivered());
        self.0.lock().unwrap().push(format!("done {} {delivered}", envelope.reverse_path));
    }

    fn idle(&self) {
        self.0.lock().unwrap().push("idle".to_owned());
    }
}

fn what_is_refused_for_now_is_tried_again_for_those_alone(runtime: Runtime) {
    let (tell, told) = mpsc::channel();
    let asked = Arc::default();
    let handler =
        move |_: &Connection| Reluctant { asked: Arc::clone(&asked), tell: tell.clone(), recipients: Vec::new() };
    let service = Service::start(runtime, "127.0.0.1:0", server_config(), Duration::ZERO, handler).unwrap();
    let url: smtp_proto::delivery::Url = format!("smtp://{}", service.address()).parse().unwrap();
    let mut policies = Policies::default();
    policies.retry.first_delay = Duration::from_millis(1);
    let mailer = Mailer::new(runtime, client_config(), url.endpoint().clone(), policies).unwrap();
    let diary = Diary::default();
    let entries = Arc::clone(&diary.0);
    mailer.observe(diary);
    let report = mailer.send(envelope("jane", &["joe", "later", "refused"]), content(1)).unwrap();
    let accepted: Vec<_> = report.outcome.recipients.iter().map(RecipientOutcome::is_accepted).collect();
    assert_eq!((accepted, report.attempts), (vec![true, true, false], 3));
    let arrived: Vec<String> = told.try_iter().collect();
    assert_eq!(arrived, ["joe@example.net", "later@example.net"]);
    let jane = "jane@example.org";
    let written = [format!("delayed {jane}"), format!("delayed {jane}"), format!("done {jane} false"), "idle".into()];
    assert_eq!(*entries.lock().unwrap(), written);
    let health = mailer.health();
    assert_eq!((health.sent, health.failed, health.retried, health.connections), (0, 1, 2, 1));
    assert!(health.last_error.unwrap().contains("No such user"));
    mailer.close();
    service.shut_down();
    service.wait();
}

fn a_server_that_is_not_there_is_told_as_it_is(runtime: Runtime) {
    let (_held, port) = nobody();
    let url: smtp_proto::delivery::Url = format!("smtp://127.0.0.1:{port}").parse().unwrap();
    let mut policies = Policies::default();
    (policies.retry.first_delay, policies.retry.attempts) = (Duration::from_millis(1), 3);
    let mailer = Mailer::new(runtime, client_config(), url.endpoint().clone(), policies).unwrap();
    match mailer.send(envelope("jane", &["joe"]), content(1)) {
        Err(error @ Error::Connect { .. }) => assert!(error.is_transient()),
        other => panic!("{other:?}"),
    }
    let health = mailer.health();
    assert_eq!((health.failed, health.retried, health.connections), (1, 2, 0));
    let mut nobody = envelope("jane", &["joe"]);
    nobody.recipients.clear();
    assert!(matches!(mailer.send(nobody, content(1)), Err(Error::Argument(_))));
    mailer.close();
}

fn a_single_message_needs_a_single_line(runtime: Runtime) {
    let server = Server::start(runtime);
    let url = format!("smtp://{}?tls=none", server.address());
    let report = send(runtime, &url, "jane@example.org", &["joe@example.net"], content(1)).unwrap();
    assert!(report.outcome.is_delivered());
    assert_eq!(server.session().last(), Some(&Heard::Closing(CloseReason::Quit)));
    let to = ["joe@example.net", "refused@example.net"];
    match send(runtime, &url, "jane@example.org", &to, content(2)) {
        Err(error @ Error::Undelivered(_)) => {
            assert!(error.is_permanent());
            assert_eq!(error.reply(), Some(&NO_SUCH_USER));
            assert!(error.to_string().starts_with("not delivered: to 1 of 2 recipients; the first of them refused"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(send(runtime, &url, "jane", &["joe@example.net"], ""), Err(Error::Argument(_))));
    assert!(matches!(send(runtime, "http://x", "jane@a.test", &["joe@example.net"], ""), Err(Error::Url(_))));
    server.stop();
}

/// The peer never answers the hello of the second connection; the first is in use.
fn who_waits_is_refused_when_the_mailer_closes(runtime: Runtime) {
    let (server, thread) = peer(|mut raw| {
        raw.go_ahead();
        while raw.line().unwrap() != "." {}
        raw
    });
    let mailer = mailer(runtime, &server, "&connections=1");
    let sending = {
        let mailer = mailer.clone();
        thread::spawn(move || mailer.send(envelope("jane", &["joe"]), content(1)))
    };
    let mut raw = thread.join().unwrap();
    let waiting = {
        let mailer = mailer.clone();
        thread::spawn(move || mailer.send(envelope("jane", &["joe"]), content(2)))
    };
    let closing = thread::spawn(move || mailer.close());
    assert!(matches!(waiting.join().unwrap(), Err(Error::MailerClosed)));
    raw.say("250 2.0.0 Taken\r\n");
    assert!(sending.join().unwrap().unwrap().outcome.is_delivered());
    raw.answer("221 2.0.0 Bye");
    closing.join().unwrap();
}

/// A server that takes the message for one recipient, refuses the other for now, and is gone when that is tried again.
fn what_was_accepted_and_said_stays_in_the_report(runtime: Runtime) {
    let (server, thread) = peer(|mut raw| {
        raw.welcome(&["PIPELINING"]);
        for reply in ["250 OK", "250 OK", "450 4.2.1 Not now", "354 Go ahead"] {
            raw.answer(reply);
        }
        while raw.line().unwrap() != "." {}
        raw.say("250 2.0.0 Taken\r\n");
    });
    let url: smtp_proto::delivery::Url = format!("smtp://{server}").parse().unwrap();
    let mut policies = Policies::default();
    (policies.retry.first_delay, policies.retry.attempts) = (Duration::from_millis(1), 3);
    let mailer = Mailer::new(runtime, client_config(), url.endpoint().clone(), policies).unwrap();
    let report = mailer.send(envelope("jane", &["joe", "later"]), content(1)).unwrap();
    thread.join().unwrap();
    let codes: Vec<_> = report.outcome.recipients.iter().map(|one| one.reply().unwrap().code().value()).collect();
    assert_eq!((codes, report.attempts), (vec![250, 450], 3));
    assert!(report.outcome.recipients[0].is_accepted());
    assert_eq!(report.outcome.error, Some(SessionError::NotConnected));
    mailer.close();
}

fn a_file_is_sent_while_it_is_read(runtime: Runtime) {
    let server = Server::start(runtime);
    let mailer = mailer(runtime, &server.address(), "");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("message");
    std::fs::write(&path, content(1)).unwrap();
    assert!(mailer.send_file(envelope("jane", &["joe"]), &path).unwrap().outcome.is_delivered());
    match mailer.send_file(envelope("jane", &["joe"]), &folder.path().join("other")) {
        Err(Error::Content(error)) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        other => panic!("{other:?}"),
    }
    mailer.close();
    let health = mailer.health();
    assert_eq!((health.sent, health.failed, health.retried, health.connections), (1, 0, 0, 1));
    assert_eq!(heard(server), (vec![CloseReason::Quit], vec![content(1)]));
}

on_each_runtime!(
    what_was_accepted_and_said_stays_in_the_report,
    a_file_is_sent_while_it_is_read,
    many_threads_share_few_connections,
    a_connection_ends_after_its_messages_and_with_the_last_clone,
    idle_connections_are_closed,
    a_connection_that_went_away_is_not_used,
    what_is_refused_for_now_is_tried_again_for_those_alone,
    a_server_that_is_not_there_is_told_as_it_is,
    a_single_message_needs_a_single_line,
    who_waits_is_refused_when_the_mailer_closes,
);

/// Futures of clients and mailers can be moved between threads: this compiles.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: impl FnOnce() -> T) {}
    macro_rules! futures {
        ($adapter:ident) => {
            is_send(|| $adapter::send("", "", [""], ""));
            is_send(|| $adapter::Client::connect_url(""));
            is_send(|| $adapter::Connector::new(client_config()).connect(""));
            fn client(client: &mut $adapter::Client) -> impl Future<Output = ()> + Send {
                async {
                    let _ = client.send(envelope("jane", &["joe"]), "").await;
                    let _ = client.send_all([(envelope("jane", &["joe"]), "")]).next().await;
                    let _ = client.command("NOOP").await;
                }
            }
            fn mailer(mailer: &$adapter::Mailer) -> impl Future<Output = ()> + Send {
                async {
                    let _ = mailer.send(envelope("jane", &["joe"]), "").await;
                    let _ = mailer.send_from(envelope("jane", &["joe"]), None, || ready(Ok(Pattern::new(1)))).await;
                    let _ = mailer.send_all([(envelope("jane", &["joe"]), "")]).next().await;
                    mailer.close().await;
                }
            }
            let (_, _) = (client, mailer);
        };
    }
    {
        futures!(smtp_tokio);
    }
    futures!(smtp_async_std);
}
