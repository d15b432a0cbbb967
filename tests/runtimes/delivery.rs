//! Messages between all clients and all servers.

use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use bytes::Bytes;
use smtp_blocking::Handler;
use smtp_proto::Phase;
use smtp_proto::client::{RecipientOutcome, Verdict};
use smtp_proto::server::{Connection, Decision, Session};
use smtp_tests::runtime::{Runtime, Service};

use super::support::{
    Heard, Message, NO_SUCH_USER, Pattern, Server, client_config, connect, envelope, limited, server_config, stream,
};

/// Clients and servers of all kinds, with the names of both.
pub(super) fn pairs() -> impl Iterator<Item = (Runtime, Runtime, String)> {
    Runtime::ALL.into_iter().flat_map(|client| {
        let named = move |server: Runtime| (client, server, format!("{} to {}", client.name(), server.name()));
        Runtime::ALL.into_iter().map(named)
    })
}

#[test]
fn a_message_arrives_intact_for_the_recipients_that_are_accepted() {
    const CONTENTS: [(&str, &str); 6] = [
        ("Subject: usual\r\n\r\nHello\r\n", "Subject: usual\r\n\r\nHello\r\n"),
        (".\r\n..\r\n.x\r\n\r\n.\r\n", ".\r\n..\r\n.x\r\n\r\n.\r\n"),
        ("one\ntwo\n.\nthree\n", "one\r\ntwo\r\n.\r\nthree\r\n"),
        ("no line end", "no line end\r\n"),
        (".", ".\r\n"),
        ("", ""),
    ];
    limited(|| {
        for (client, server, pair) in pairs() {
            let server = Server::start(server);
            let mut mailer = connect(client, &server.address());
            for (number, (content, arriving)) in (1..).zip(CONTENTS) {
                let envelope = envelope("jane", &["joe", "refused", "jim"]);
                let outcome = mailer.send(envelope, content.into()).unwrap();
                assert_eq!(outcome.verdict(), Verdict::Partial, "{pair}: {content:?}: {outcome:?}");
                let accepted = |index: usize| outcome.recipients[index].is_accepted();
                assert!(accepted(0) && accepted(2), "{pair}: {outcome:?}");
                let refused = RecipientOutcome::Refused { phase: Phase::Rcpt, reply: NO_SUCH_USER };
                assert_eq!(outcome.recipients[1], refused, "{pair}");
                let reply = outcome.reply.expect("the server's reply to the message");
                assert_eq!(reply.to_string(), format!("250 2.0.0 Taken as number {number}"), "{pair}");
                let arrived = Message {
                    sender: "jane@example.org".to_owned(),
                    recipients: vec!["joe@example.net".to_owned(), "jim@example.net".to_owned()],
                    content: arriving.into(),
                };
                assert_eq!(server.next(), Heard::Message(arrived), "{pair}");
            }
            mailer.quit().unwrap();
            server.stop();
        }
    });
}

#[test]
fn thousands_of_recipients_are_each_told_apart() {
    limited(|| {
        for (client, server, pair) in pairs() {
            let mut config = server_config();
            config.limits.recipients = 2000;
            let server = Server::with(server, config);
            let names: Vec<_> = (0..2000).map(|number| format!("recipient-{number}")).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let outcome = connect(client, &server.address()).send(envelope("list", &names), "To many\r\n".into());
            assert!(outcome.unwrap().is_delivered(), "{pair}");
            let Heard::Message(message) = server.next() else { panic!("{pair}: no message") };
            assert!(message.recipients.iter().zip(&names).all(|(path, name)| *path == format!("{name}@example.net")));
            assert_eq!(message.recipients.len(), 2000, "{pair}");
        }
    });
}

/// Looks at content and keeps none of it.
struct Checker {
    ahead: Pattern,
    intact: bool,
    tell: Sender<(u64, bool)>,
}

impl Handler for Checker {
    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        self.intact &= self.ahead.goes_on_with(&content);
        Decision::Accept
    }

    fn message_end(&mut self, _: &Session, size: u64) -> Decision {
        self.tell.send((size, self.intact && self.ahead.is_at_end())).unwrap();
        Decision::Accept
    }
}

fn a_large_message_streams_through_intact(runtime: Runtime) {
    let content = Pattern::new((64 << 20) / Pattern::new(1).size() + 1);
    assert!(content.size() >= 64 << 20);
    let mut config = server_config();
    config.limits.message_size = None;
    let (tell, told) = mpsc::channel();
    let ahead = content.clone();
    let checker = move |_: &Connection| Checker { ahead: ahead.clone(), intact: true, tell: tell.clone() };
    let service = Service::start(runtime, "127.0.0.1:0", config, Duration::ZERO, checker).unwrap();
    let outcome = stream(runtime, &service.address().to_string(), client_config(), content.clone());
    assert!(outcome.is_delivered(), "{outcome:?}");
    assert_eq!(told.recv(), Ok((content.size(), true)));
}

on_each_runtime!(a_large_message_streams_through_intact);
