//! What a client still hears when a session ends in haste, and what it hears of a handler that errs.

use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use smtp_blocking::Handler;
use smtp_proto::server::{CloseReason, Config, Decision, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tests::runtime::{Runtime, Service};

use super::support::Raw;

/// Answers recipients with what no recipient can be answered with.
struct Errs(Sender<CloseReason>);

impl Handler for Errs {
    fn recipient(&mut self, _: &Session, _: Recipient) -> Decision {
        Decision::Reply(Reply::from_static("354 go on"))
    }

    fn closing(&mut self, _: &Session, reason: CloseReason) {
        self.0.send(reason).unwrap();
    }
}

fn service(runtime: Runtime) -> (Service, Raw, mpsc::Receiver<CloseReason>) {
    let (tell, told) = mpsc::channel();
    let config = Config::new("mail.example.net").unwrap();
    let service = Service::start(runtime, "127.0.0.1:0", config, Duration::ZERO, move |_| Errs(tell.clone())).unwrap();
    let mut client = Raw::connect(&service.address().to_string());
    assert!(client.reply().starts_with("220"));
    assert!(client.ask("EHLO client.example.org").starts_with("250"));
    assert!(client.ask("MAIL FROM:<jane@example.org>").starts_with("250"));
    (service, client, told)
}

fn a_decision_that_does_not_fit_is_answered_and_the_session_goes_on(runtime: Runtime) {
    let (service, mut client, told) = service(runtime);
    assert!(client.ask("RCPT TO:<joe@example.net>").starts_with("451"));
    assert!(client.ask("NOOP").starts_with("250"));
    assert!(client.ask("QUIT").starts_with("221"));
    assert_eq!(told.recv(), Ok(CloseReason::Quit));
    drop(client);
    service.shut_down();
    service.wait();
}

fn the_last_reply_arrives_although_much_was_said_behind(runtime: Runtime) {
    let (service, mut client, _told) = service(runtime);
    client.say("FOO\r\n".repeat(30_000));
    let replies: Vec<String> = std::iter::from_fn(|| client.line()).collect();
    assert_eq!(replies.len(), 20);
    assert!(replies.last().is_some_and(|reply| reply.starts_with("421")), "{replies:?}");
    drop(client);
    service.shut_down();
    service.wait();
}

fn a_second_word_breaks_off_transactions(runtime: Runtime) {
    let (service, mut client, told) = service(runtime);
    service.shut_down();
    assert!(client.ask("NOOP").starts_with("250"), "the transaction goes on");
    service.shut_down_now();
    assert!(client.line().is_some_and(|line| line.starts_with("421")));
    assert_eq!(told.recv(), Ok(CloseReason::ShutDown));
    drop(client);
    service.wait();
}

on_each_runtime!(
    a_decision_that_does_not_fit_is_answered_and_the_session_goes_on,
    the_last_reply_arrives_although_much_was_said_behind,
    a_second_word_breaks_off_transactions,
);
