//! A program that uses lettre, with a mailer of ours in the place of lettre's.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use lettre::message::Mailbox;
use lettre::{AsyncTransport, Message};
use smtp_proto::adapter::Error;
use smtp_proto::server::{Config, Decision, Handler, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tokio::{Mailer, Server};

#[derive(Clone)]
struct Taker(Sender<String>);

impl Handler for Taker {
    async fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        let refused = recipient.starts_with("refused@");
        self.0.send(recipient).unwrap();
        if refused { Reply::from_static("550 5.1.1 No such user").into() } else { Decision::Accept }
    }

    async fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.0.send(String::from_utf8(content.to_vec()).unwrap()).unwrap();
        Decision::Accept
    }

    async fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        Decision::Accept
    }
}

/// What an application has, whichever transport it uses.
async fn notify<T: AsyncTransport + Sync>(transport: &T, to: &str) -> Result<T::Ok, T::Error> {
    let to: Mailbox = to.parse().unwrap();
    let message = Message::builder().from("jane@example.org".parse().unwrap()).to(to).subject("Hi");
    transport.send(message.body("Hello!".to_owned()).unwrap()).await
}

#[tokio::test]
async fn a_mailer_is_a_transport() {
    let (tell, told) = channel();
    let server = Server::new().bind("127.0.0.1:0", Config::new("mail.example.net").unwrap()).await.unwrap();
    let (address, handle) = (server.local_addresses()[0].to_string(), server.handle());
    let serving = tokio::spawn(server.serve(move |_| Taker(tell.clone())));
    let mailer = Mailer::from_url(&format!("smtp://{address}?tls=none")).unwrap();
    let report = notify(&mailer, "Joe <joe@example.net>").await.unwrap();
    assert_eq!(report.attempts, 1);
    assert_eq!(told.try_recv().unwrap(), "joe@example.net");
    let content: String = told.try_iter().collect();
    assert!(content.contains("\r\nSubject: Hi\r\n") && content.ends_with("\r\n\r\nHello!\r\n"), "{content:?}");
    assert!(matches!(notify(&mailer, "refused@example.net").await, Err(Error::Undelivered(_))));
    AsyncTransport::shutdown(&mailer).await;
    assert!(matches!(notify(&mailer, "joe@example.net").await, Err(Error::MailerClosed)));
    handle.shut_down();
    serving.await.unwrap();
}
