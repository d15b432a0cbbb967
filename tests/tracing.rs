//! The feature `tracing`: what a session shows, and that no credentials are in it (H-LG-2, H-LG-3).

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp_blocking::Handler;
use smtp_proto::Secret;
use smtp_proto::client::{Authentication, Envelope};
use smtp_proto::sasl::{self, Credentials, Login};
use smtp_proto::server::{Config, Decision, Recipient, Session};
use smtp_proto::wire::Reply;
use smtp_tests::runtime::{self, Connecting, Runtime, Service};
use smtp_tests::secrets::occurs;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const PASSWORD: &str = "Vieux-Montmartre";
const TOKEN: &str = "ya29.vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg";

thread_local! {
    /// The spans that this thread is in.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Writes everything down, each event behind the number of its span.
#[derive(Clone, Default)]
struct Notes {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

/// The fields of a span or event as text.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let number = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.lines.lock().unwrap().push(format!("{number}: span {}{}", span.metadata().name(), fields.0));
        Id::from_u64(number)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.lines.lock().unwrap().push(fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let inside = INSIDE.with_borrow(|inside| inside.last().copied());
        let span = event.parent().map(Id::into_u64).or(inside).unwrap_or_default();
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.lines.lock().unwrap().push(format!("{span}: {}{}", event.metadata().level(), fields.0));
    }

    fn enter(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| assert_eq!(inside.pop(), Some(span.into_u64())));
    }
}

/// Knows jane and says so inside the hook.
struct Submission;

impl Handler for Submission {
    fn authenticate(&mut self, _: &Session, credentials: Credentials) -> Decision {
        tracing::info!("a hook runs");
        match credentials.evidence() {
            sasl::Evidence::Token(_) => credentials.verify_token(&Secret::from(TOKEN)).into(),
            _ => credentials.verify_password(&Secret::from(PASSWORD)).into(),
        }
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        match recipient.index {
            0 => Decision::Accept,
            _ => Reply::from_static("550 5.1.1 No such user").into(),
        }
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        Decision::Accept
    }
}

/// Says these lines, each when the one before is answered.
fn talk(address: &str, lines: &[String]) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = BufReader::new(stream);
    let mut reply = String::new();
    for line in [String::new()].iter().chain(lines) {
        if !line.is_empty() {
            stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        }
        reply.clear();
        while reply.as_bytes().get(3) != Some(&b' ') {
            reply.clear();
            assert!(stream.read_line(&mut reply).unwrap() > 0, "an answer to {line:?}");
        }
    }
    assert!(reply.starts_with("221"), "{reply}");
}

#[test]
fn sessions_are_told_and_credentials_are_not() {
    let record = Notes::default();
    tracing::subscriber::set_global_default(record.clone()).unwrap();
    let encoded = |text: &str| STANDARD.encode(text);
    let plain = encoded(&format!("\0jane\0{PASSWORD}"));
    let bearer = encoded(&format!("user=jane\x01auth=Bearer {TOKEN}\x01\x01"));
    let words = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let dialogues = [
        words(&[
            "EHLO client.example.org",
            &format!("AUTH PLAIN {plain}"),
            "MAIL FROM:<jane@example.org>",
            "RCPT TO:<joe@example.net>",
            "RCPT TO:<nobody@example.net>",
            "DATA",
            "Subject: x\r\n.",
            "QUIT",
        ]),
        words(&["EHLO c", "AUTH LOGIN", &encoded("jane"), &encoded(PASSWORD), "QUIT"]),
        words(&["EHLO c", &format!("AUTH XOAUTH2 {bearer}"), "QUIT"]),
        // What goes wrong.
        words(&["EHLO c", "AUTH PLAIN", &encoded(&format!("\0jane\0{PASSWORD}!")), "QUIT"]),
        words(&["EHLO c", &format!("AUTH PLAIN {PASSWORD}"), &plain, PASSWORD, &encoded(PASSWORD), "QUIT"]),
        words(&["EHLO c", &format!("AUTHPLAIN {plain}"), &format!("AUTH FOO {plain}"), "QUIT"]),
    ];
    for runtime in Runtime::ALL {
        record.lines.lock().unwrap().clear();
        let mut config = Config::new("mail.example.net").unwrap();
        config.mechanisms = vec![sasl::PLAIN, sasl::LOGIN, sasl::XOAUTH2];
        config.allow_clear_text_auth = true;
        let service = Service::start(runtime, "127.0.0.1:0", config, Duration::ZERO, |_| Submission).unwrap();
        for dialogue in &dialogues {
            talk(&service.address().to_string(), dialogue);
        }
        service.shut_down();
        service.wait();

        let lines = record.lines.lock().unwrap().clone();
        let shown = lines.join("\n");
        for secret in [PASSWORD, TOKEN, &plain, &bearer] {
            assert_eq!(occurs(secret.as_bytes(), &shown), None, "{secret} is in {shown}");
        }
        let spans: Vec<_> = lines.iter().filter(|line| line.contains(": span session id=")).collect();
        assert_eq!(spans.len(), dialogues.len(), "{shown}");
        assert!(spans[0].contains(" id=1 listener=0 peer=127.0.0.1:"), "{shown}");
        let span = spans[0].split_once(':').unwrap().0;
        for expected in [
            "DEBUG message=hello name=client.example.org extended=true",
            "DEBUG message=mail sender=jane@example.org",
            "INFO message=a hook runs",
            "INFO message=refused hook=\"recipients\" reply=550 5.1.1 No such user",
            "INFO message=message accepted octets=12",
            "INFO message=closed reason=Quit",
        ] {
            assert!(lines.contains(&format!("{span}: {expected}")), "{expected} is not in {shown}");
        }
        assert_eq!(shown.matches("a hook runs").count(), 4, "{shown}");
        assert!(!lines.iter().any(|line| line.starts_with("0: ")), "a hook ran outside its session: {shown}");
        clients_are_told(runtime, &record);
    }
}

/// The same of a client that authenticates and sends to two, of whom one is refused.
fn clients_are_told(runtime: Runtime, record: &Notes) {
    record.lines.lock().unwrap().clear();
    let mut config = Config::new("mail.example.net").unwrap();
    config.mechanisms = vec![sasl::PLAIN];
    config.allow_clear_text_auth = true;
    let service = Service::start(runtime, "127.0.0.1:0", config, Duration::ZERO, |_| Submission).unwrap();
    let address = service.address().to_string();
    let connect = |password: &str| {
        let mut config = smtp_tests::in_clear("client.example.org");
        config.authentication = Authentication::Required(Login::password("jane", password).unwrap());
        config.allow_clear_text_auth = true;
        runtime::connect(runtime, &address, config, Connecting::default())
    };
    let mut client = connect(PASSWORD).unwrap();
    let envelope = |to: &[&str]| Envelope::new("jane@example.org", to).unwrap();
    assert!(client.send(envelope(&["joe@example.net"]), "Subject: x\r\n".into()).unwrap().is_delivered());
    client.send(envelope(&["joe@example.net", "nobody@example.net"]), "Subject: x\r\n".into()).unwrap();
    client.quit().unwrap();
    let wrong = format!("{PASSWORD}!");
    assert!(connect(&wrong).is_err());
    service.shut_down();
    service.wait();
    let lines = record.lines.lock().unwrap().clone();
    let shown = lines.join("\n");
    for secret in [PASSWORD, &STANDARD.encode(format!("\0jane\0{PASSWORD}"))] {
        assert_eq!(occurs(secret.as_bytes(), &shown), None, "{secret} is in {shown}");
    }
    let mut spans = lines.iter().filter_map(|line| line.strip_suffix(&format!(": span client peer={address:?}")));
    let (first, second) = (spans.next().expect(&shown), spans.next().expect(&shown));
    for (span, expected) in [
        (first, "DEBUG message=ready mechanism=\"PLAIN\""),
        (first, "INFO message=message accepted recipients=1 reply=250 "),
        (first, "WARN message=message not accepted for all recipients=2 accepted=1 first=refused while"),
        (first, "DEBUG message=closed"),
        (second, "WARN message=failed error=session with 127.0.0.1:"),
    ] {
        let line = format!("{span}: {expected}");
        assert!(lines.iter().any(|told| told.starts_with(&line)), "{line} is not in {shown}");
    }
}
