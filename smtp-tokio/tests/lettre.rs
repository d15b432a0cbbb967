//! A program that uses lettre, with a transport of ours in the place of lettre's.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use lettre::address::{Address, Envelope};
use lettre::message::Mailbox;
use lettre::{AsyncTransport, Message};
use smtp_proto::adapter::Error;
use smtp_proto::client::RecipientOutcome;
use smtp_proto::server::{Config, Decision, Handler, Mail, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tokio::{Handle, LettreTransport, Server};
use tokio::task::JoinHandle;

/// Tells what it is told, a line each.
#[derive(Clone)]
struct Taker(Sender<String>);

impl Taker {
    fn tell(&self, what: String) {
        // A test may have heard enough.
        let _ = self.0.send(what);
    }
}

impl Handler for Taker {
    async fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        let smtputf8 = if mail.parameters.smtputf8 { " SMTPUTF8" } else { "" };
        self.tell(format!("from <{}>{smtputf8}", mail.reverse_path));
        Decision::Accept
    }

    async fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let recipient = recipient.forward_path.to_string();
        let refused = recipient.starts_with("refused@");
        self.tell(format!("to <{recipient}>"));
        if refused { Reply::from_static("550 5.1.1 No such user").into() } else { Decision::Accept }
    }

    async fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.tell(String::from_utf8(content.to_vec()).unwrap());
        Decision::Accept
    }

    async fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        Decision::Accept
    }
}

/// A server, a transport to it, and what the server is told.
async fn office() -> (LettreTransport, Receiver<String>, Handle, JoinHandle<()>) {
    let (tell, told) = channel();
    let server = Server::new().bind("127.0.0.1:0", Config::new("mail.example.net").unwrap()).await.unwrap();
    let (address, handle) = (server.local_addresses()[0].to_string(), server.handle());
    let serving = tokio::spawn(server.serve(move |_| Taker(tell.clone())));
    let transport = LettreTransport::from_url(&format!("smtp://{address}?tls=none")).unwrap();
    (transport, told, handle, serving)
}

fn message(to: &str) -> Message {
    let to: Mailbox = to.parse().unwrap();
    let message = Message::builder().from("jane@example.org".parse().unwrap()).to(to).subject("Hi");
    message.body("Hello!".to_owned()).unwrap()
}

/// What an application has, whichever transport it uses.
async fn notify<T: AsyncTransport + Sync>(transport: &T, to: &str) -> Result<T::Ok, T::Error> {
    transport.send(message(to)).await
}

#[tokio::test]
async fn a_mailer_is_a_transport() {
    let (transport, told, handle, serving) = office().await;
    let report = transport.send(message("Joe <joe@example.net>")).await.unwrap();
    assert_eq!((report.attempts, report.outcome.is_delivered()), (1, true));
    let told: Vec<String> = told.try_iter().collect();
    assert_eq!(told[..2], ["from <jane@example.org>", "to <joe@example.net>"]);
    let content = told[2..].concat();
    assert!(content.contains("\r\nSubject: Hi\r\n") && content.ends_with("\r\n\r\nHello!\r\n"), "{content:?}");

    let error = notify(&transport, "refused@example.net").await.unwrap_err();
    assert!(error.is_permanent() && error.reply().is_some_and(|reply| reply.code().value() == 550));
    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
    assert!(error.to_string().contains("No such user"), "{error}");

    transport.clone().shutdown().await;
    assert!(matches!(notify(&transport, "joe@example.net").await, Err(Error::MailerClosed)));
    handle.shut_down();
    serving.await.unwrap();
}

#[tokio::test]
async fn addresses_of_lettre_are_those_on_the_wire() {
    let (transport, told, handle, serving) = office().await;
    let addresses =
        ["joe@example.net", "jörg@bücher.example", "\"j d\"@example.net", "joe@[192.0.2.1]", "joe@[IPv6:2001:db8::1]"];
    let to: Vec<Address> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let raw = b"Subject: Hi\r\n\r\n.dot\r\n\xc3\xbc\r\n";
    assert!(transport.send_raw(&Envelope::new(None, to).unwrap(), raw).await.unwrap().outcome.is_delivered());
    let told: Vec<String> = told.try_iter().collect();
    assert_eq!(told[0], "from <> SMTPUTF8");
    assert_eq!(told[1..=addresses.len()], addresses.map(|address| format!("to <{address}>")));
    assert_eq!(told[addresses.len() + 1..].concat().as_bytes(), raw);

    // One that lettre was told not to look at.
    let envelope = Envelope::new(None, vec![Address::new_dangerous("joe", "example.net>\r\nRSET")]).unwrap();
    assert!(matches!(transport.send_raw(&envelope, raw).await, Err(Error::Argument(_))));
    transport.shutdown().await;
    handle.shut_down();
    serving.await.unwrap();
}

#[tokio::test]
async fn one_refused_recipient_of_several_is_an_error_that_tells_who_has_it() {
    let (transport, _told, handle, serving) = office().await;
    let to = ["joe@example.net", "refused@example.net"].map(|address| address.parse().unwrap());
    let envelope = Envelope::new(Some("jane@example.org".parse().unwrap()), to.to_vec()).unwrap();
    match transport.send_raw(&envelope, b"Subject: Hi\r\n").await {
        Err(Error::Undelivered(report)) => {
            let accepted: Vec<bool> = report.outcome.recipients.iter().map(RecipientOutcome::is_accepted).collect();
            assert_eq!(accepted, [true, false]);
        }
        other => panic!("{other:?}"),
    }
    transport.shutdown().await;
    handle.shut_down();
    serving.await.unwrap();
}
