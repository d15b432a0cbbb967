//! A program that uses lettre, with a mailer of ours in the place of lettre's.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Sender, channel};
use std::thread;

use bytes::Bytes;
use lettre::message::Mailbox;
use lettre::{Message, Transport};
use smtp_blocking::{Handler, Mailer, Server};
use smtp_proto::adapter::Error;
use smtp_proto::server::{Config, Decision, Recipient, Session};
use smtp_proto::wire::Reply;

#[derive(Clone)]
struct Taker(Sender<String>);

impl Handler for Taker {
    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        let refused = recipient.starts_with("refused@");
        self.0.send(recipient).unwrap();
        if refused { Reply::from_static("550 5.1.1 No such user").into() } else { Decision::Accept }
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.0.send(String::from_utf8(content.to_vec()).unwrap()).unwrap();
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        Decision::Accept
    }
}

/// What an application has, whichever transport it uses.
fn notify<T: Transport>(transport: &T, to: &str) -> Result<T::Ok, T::Error> {
    let to: Mailbox = to.parse().unwrap();
    let message = Message::builder().from("jane@example.org".parse().unwrap()).to(to).subject("Hi");
    transport.send(&message.body("Hello!".to_owned()).unwrap())
}

#[test]
fn a_mailer_is_a_transport() {
    let (tell, told) = channel();
    let server = Server::new().bind("127.0.0.1:0", Config::new("mail.example.net").unwrap()).unwrap();
    let (address, handle) = (server.local_addresses()[0].to_string(), server.handle());
    let serving = thread::spawn(move || server.serve(move |_| Taker(tell.clone())));
    let mailer = Mailer::from_url(&format!("smtp://{address}?tls=none")).unwrap();
    let report = notify(&mailer, "Joe <joe@example.net>").unwrap();
    assert_eq!(report.attempts, 1);
    assert_eq!(told.try_recv().unwrap(), "joe@example.net");
    let content: String = told.try_iter().collect();
    assert!(content.contains("\r\nSubject: Hi\r\n") && content.ends_with("\r\n\r\nHello!\r\n"), "{content:?}");
    assert!(matches!(notify(&mailer, "refused@example.net"), Err(Error::Undelivered(_))));
    Transport::shutdown(&mailer);
    assert!(matches!(notify(&mailer, "joe@example.net"), Err(Error::MailerClosed)));
    handle.shut_down();
    serving.join().unwrap();
}
