//! What is said on the wire depends on no runtime, and on no boundary of packets.

use std::net::Shutdown;
use std::sync::mpsc;

use smtp_proto::client::RecipientOutcome;
use smtp_tests::runtime::{self, Mailer, Runtime};

use super::support::{Heard, Message, Raw, Server, client_config, connecting, envelope, limited};

type Scenario = (&'static str, fn(&mut dyn Mailer));

const SCENARIOS: [Scenario; 7] = [
    ("messages on one connection", |mailer| {
        for content in ["Subject: 1\r\n\r\n.\r\n", "Subject: 2\n", ""] {
            assert!(mailer.send(envelope("jane", &["joe", "jim"]), content.into()).unwrap().is_delivered());
        }
    }),
    ("a sender that is refused", |mailer| {
        assert!(!mailer.send(envelope("refused", &["joe", "jim"]), "never\r\n".into()).unwrap().is_delivered());
        assert!(mailer.send(envelope("jane", &["joe"]), "then\r\n".into()).unwrap().is_delivered());
    }),
    ("recipients that are all refused", |mailer| {
        assert!(!mailer.send(envelope("jane", &["refused", "refused"]), "never\r\n".into()).unwrap().is_delivered());
        assert!(mailer.send(envelope("jane", &["joe"]), "then\r\n".into()).unwrap().is_delivered());
    }),
    ("a message that is refused at its end", |mailer| {
        assert!(!mailer.send(envelope("jane", &["joe"]), "Subject: refused\r\n".into()).unwrap().is_delivered());
        assert!(mailer.send(envelope("jane", &["joe"]), "then\r\n".into()).unwrap().is_delivered());
    }),
    ("a probe", |mailer| {
        let outcome = mailer.probe(envelope("jane", &["joe", "refused"])).unwrap();
        assert_eq!(outcome.recipients.iter().map(RecipientOutcome::is_accepted).collect::<Vec<_>>(), [true, false]);
        assert!(mailer.send(envelope("jane", &["joe"]), "then\r\n".into()).unwrap().is_delivered());
    }),
    ("commands", |mailer| {
        assert_eq!(mailer.command("NOOP").unwrap().code().value(), 250);
        assert_eq!(mailer.command("XYZZY plugh").unwrap().code().value(), 500);
        assert_eq!(mailer.command("VRFY joe").unwrap().code().value(), 252);
        assert!(mailer.send(envelope("jane", &["joe"]), "then\r\n".into()).unwrap().is_delivered());
    }),
    ("nothing but goodbye", |_| {}),
];

/// The transcript of a scenario with client and server on one runtime.
fn transcript(runtime: Runtime, scenario: fn(&mut dyn Mailer)) -> Vec<String> {
    let server = Server::start(runtime);
    let (tell, told) = mpsc::channel();
    let tap = Box::new(move |entry: smtp_proto::transcript::Entry<'_>| tell.send(entry.to_string()).unwrap());
    let mut mailer = runtime::connect(runtime, &server.address(), client_config(), connecting(Some(tap))).unwrap();
    scenario(&mut *mailer);
    mailer.quit().unwrap();
    told.iter().collect()
}

#[test]
fn the_same_is_said_on_every_runtime() {
    limited(|| {
        for (name, scenario) in SCENARIOS {
            let said = Runtime::ALL.map(|runtime| transcript(runtime, scenario));
            assert_eq!(said[0].last().map(String::as_str), Some("S: 221 2.0.0 Bye"), "{name}: {:#?}", said[0]);
            for (runtime, other) in Runtime::ALL.into_iter().zip(&said) {
                assert_eq!(said[0], *other, "{name}: tokio and {}", runtime.name());
            }
        }
    });
}

const SESSION: &str = "EHLO client.example.org\r\nMAIL FROM:<jane@example.org>\r\nRCPT TO:<joe@example.net>\r\n\
    RCPT TO:<refused@example.net>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\nNOOP\r\nMAIL FROM:<>\r\nRSET\r\n\
    XYZZY\r\nVRFY joe\r\nQUIT\r\n";
const CODES: [u16; 13] = [220, 250, 250, 250, 550, 354, 250, 250, 250, 250, 500, 252, 221];

fn is_served_whole(server: &Server, peer: &mut Raw) {
    assert_eq!(peer.codes(), CODES);
    let arrived = Message {
        sender: "jane@example.org".to_owned(),
        recipients: vec!["joe@example.net".to_owned()],
        content: b"Subject: x\r\n\r\n.\r\n".to_vec(),
    };
    assert_eq!(server.next(), Heard::Message(arrived));
}

fn commands_in_one_write_get_all_replies(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut peer = Raw::connect(&server.address());
    peer.say(SESSION);
    is_served_whole(&server, &mut peer);
}

fn commands_in_writes_of_one_octet_get_all_replies(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut peer = Raw::connect(&server.address());
    for octet in SESSION.bytes() {
        peer.say([octet]);
    }
    is_served_whole(&server, &mut peer);
}

fn a_client_that_closes_its_half_gets_all_replies(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut peer = Raw::connect(&server.address());
    peer.say(SESSION);
    peer.stream().shutdown(Shutdown::Write).unwrap();
    is_served_whole(&server, &mut peer);
}

on_each_runtime!(
    commands_in_one_write_get_all_replies,
    commands_in_writes_of_one_octet_get_all_replies,
    a_client_that_closes_its_half_gets_all_replies,
);
