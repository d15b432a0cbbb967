//! The clients of the library delivering to servers that keep what they get, compared there.
//!
//! - [`contents`]: what is sent.
//! - [`far_end`]: what a server is here; [`queues`] and [`stores`] are the servers.

mod contents;
mod far_end;
mod queues;
mod stores;

use std::mem;
use std::sync::{Arc, Mutex};

use smtp_proto::client::{Config, Envelope, Outcome, RecipientOutcome, Timeouts, Transfer};
use smtp_proto::transcript::{Speaker, Tap};
use smtp_proto::wire::{EnvelopeId, Notify, OriginalRecipient, Ret};
use smtp_proto::{Error, NonAscii, Phase, Unsendable};
use smtp_tests::runtime::{Connecting, Mailer, Runtime, connect};

use crate::support::messages::assert_same;
use crate::support::process::DEADLINE;
use contents::Content;
use far_end::{FULL, FarEnd, KNOWN, Kept, UNKNOWN};

/// Makes each of the tests with each of the servers, which are given with the functions that start them.
macro_rules! deliver {
    ($tests:tt to $($server:ident: $start:path),+ $(,)?) => {
        $(mod $server { deliver!(@ $start, $tests); })+
    };
    (@ $start:path, [$($test:ident),+ $(,)?]) => {
        on_each_runtime!($($test),+);
        $(fn $test(runtime: &str) {
            if let Some(far_end) = $start() {
                super::$test(super::Delivery::new(runtime.parse().expect("a runtime"), far_end));
            }
        })+
    };
}

deliver!(
    [
        each_message_arrives_unchanged,
        messages_in_flight_arrive_unchanged_with_refused_recipients_between,
        what_is_streamed_from_a_file_arrives_unchanged,
        addresses_in_utf8_arrive_or_are_not_sent,
        wishes_for_notifications_arrive_or_are_left_out,
    ] to
    postfix: super::queues::postfix,
    exim: super::queues::exim,
    opensmtpd: super::queues::opensmtpd,
    dovecot: super::stores::dovecot,
    aiosmtpd: super::stores::aiosmtpd,
    smtp_server: super::stores::smtp_server,
    smtp_sink: super::stores::smtp_sink,
);

deliver!(
    [each_message_arrives_unchanged, messages_in_flight_arrive_unchanged_with_refused_recipients_between] to
    dovecot_on_a_unix_socket: super::stores::dovecot_on_a_unix_socket,
    smtp_server_with_lmtp: super::stores::smtp_server_with_lmtp,
    smtp_sink_with_lmtp: super::stores::smtp_sink_with_lmtp,
);

/// A far end, and what was sent to it.
struct Delivery {
    runtime: Runtime,
    far_end: Box<dyn FarEnd>,
    /// What it has to have at the end.
    taken: usize,
}

/// A session, and what the client said in it.
struct Session {
    mailer: Box<dyn Mailer>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Session {
    /// What was said since it was last asked, and begins like this.
    fn said(&self, begin: &str) -> Vec<String> {
        let said = mem::take(&mut *self.said.lock().expect("no panic"));
        said.into_iter().filter(|line| line.starts_with(begin)).collect()
    }

    fn offers(&self, keyword: &str) -> bool {
        self.mailer.capabilities().contains(keyword)
    }
}

impl Delivery {
    fn new(runtime: Runtime, far_end: Box<dyn FarEnd>) -> Self {
        Self { runtime, far_end, taken: 0 }
    }

    fn connect(&self, transfer: Transfer) -> Session {
        let mut config: Config = smtp_tests::in_clear("client.example");
        config.lmtp = self.far_end.lmtp();
        config.transfer = transfer;
        config.timeouts = Timeouts::all(DEADLINE);
        let said = Arc::new(Mutex::new(Vec::new()));
        let recorder = Arc::clone(&said);
        let tap: Tap = Box::new(move |entry| {
            if entry.speaker == Speaker::Client {
                recorder.lock().expect("no panic").push(entry.to_string());
            }
        });
        let connecting = Connecting { transcript: Some(tap), ..Connecting::default() };
        let mailer = connect(self.runtime, &self.far_end.server(), config, connecting).expect("a session");
        for extension in self.far_end.offers() {
            assert!(mailer.capabilities().contains(extension), "{extension} in {:?}", mailer.capabilities());
        }
        Session { mailer, said }
    }

    /// Compares the outcome of a message with what is right, and with what the far end has of it.
    fn check(&mut self, sender: &str, recipients: &[&str], content: &Content, outcome: &Outcome) -> Option<Kept> {
        let context = || format!("{sender}: {outcome:?}");
        let no_message = self.far_end.refuses_what_has_no_header().filter(|_| matches!(content.name, "letter" | "dot"));
        assert_eq!(outcome.recipients.len(), recipients.len(), "{}", context());
        let mut accepted = Vec::new();
        for (&recipient, outcome) in recipients.iter().zip(&outcome.recipients) {
            let is_unknown = recipient == UNKNOWN && self.far_end.refuses_recipients();
            let refusal = self.far_end.refuses_for_full().filter(|_| recipient == FULL).or(no_message);
            match outcome {
                RecipientOutcome::Accepted(reply) if !is_unknown && refusal.is_none() => {
                    assert!(reply.is_positive(), "{}", context());
                    accepted.push(recipient);
                }
                RecipientOutcome::Refused { phase: Phase::Rcpt, reply } if is_unknown => {
                    assert_eq!(reply.code().value(), 550, "{}", context());
                }
                RecipientOutcome::Refused { phase: Phase::EndOfData, reply } if !is_unknown => {
                    let enhanced = reply.enhanced().map(|code| code.to_string()).unwrap_or_default();
                    assert_eq!(Some((reply.code().value(), &*enhanced)), refusal, "{}", context());
                }
                _ => panic!("{recipient}: {}", context()),
            }
        }
        if accepted.is_empty() {
            return None;
        }
        self.taken += 1;
        let mut kept = self.far_end.kept(sender, outcome);
        assert_eq!(kept.sender, sender);
        kept.recipients.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(kept.recipients, accepted, "{}", context());
        let dropped = content.name == "line-end" && self.far_end.drops_a_lone_line_end();
        assert_same(sender, if dropped { &[] } else { &content.arrives }, &kept.content);
        Some(kept)
    }

    /// The far end has as many messages as were taken, and no others.
    fn finish(self, session: Session) {
        session.mailer.quit().expect("a goodbye");
        assert_eq!(self.far_end.count(), self.taken);
    }
}

fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    Envelope::new(sender, recipients).expect("an envelope")
}

/// Over DATA, and in chunks where the server takes them (BDAT-016).
fn each_message_arrives_unchanged(mut delivery: Delivery) {
    let mut session = delivery.connect(Transfer::Data);
    for transfer in [Transfer::Data, Transfer::Bdat] {
        for content in contents::all() {
            let sender = format!("{}-{transfer:?}@example.org", content.name);
            let outcome = session.mailer.send(envelope(&sender, &KNOWN[..2]), content.sent.clone());
            let outcome = outcome.unwrap_or_else(|error| panic!("{sender}: {error}"));
            if transfer == Transfer::Bdat && !session.offers("CHUNKING") {
                let error = Error::Unsendable(Unsendable::NeedsExtension("CHUNKING"));
                assert_eq!(
                    outcome.recipients,
                    [RecipientOutcome::Failed(error.clone()), RecipientOutcome::Failed(error)]
                );
                assert_eq!(session.said("C: "), [""; 0]);
                continue;
            }
            let verb = if transfer == Transfer::Data { "C: DATA" } else { "C: BDAT" };
            assert_eq!(session.said(verb).len(), 1, "{sender}");
            delivery.check(&sender, &KNOWN[..2], content, &outcome);
        }
        if transfer == Transfer::Data {
            session.mailer.quit().expect("a goodbye");
            session = delivery.connect(Transfer::Bdat);
            session.said("");
        }
    }
    delivery.finish(session);
}

fn messages_in_flight_arrive_unchanged_with_refused_recipients_between(mut delivery: Delivery) {
    const RECIPIENTS: [&[&str]; 5] =
        [&[KNOWN[0]], &[UNKNOWN, KNOWN[0]], &[KNOWN[0], UNKNOWN, FULL, KNOWN[1]], &[UNKNOWN], &[FULL]];
    for transfer in [Transfer::Auto, Transfer::Data] {
        let mut session = delivery.connect(transfer);
        // Neighbours differ in both.
        let all: Vec<_> = (0..RECIPIENTS.len())
            .flat_map(|number| {
                contents::all().iter().enumerate().map(move |(index, content)| {
                    let sender = format!("{}-{number}-{transfer:?}@example.org", content.name);
                    (sender, RECIPIENTS[(index + number) % RECIPIENTS.len()], content)
                })
            })
            .collect();
        let mut messages =
            all.iter().map(|(sender, recipients, content)| (envelope(sender, recipients), content.sent.clone()));
        let outcomes = session.mailer.send_all(&mut messages);
        assert_eq!(outcomes.len(), all.len());
        for ((sender, recipients, content), outcome) in all.iter().zip(outcomes) {
            let outcome = outcome.unwrap_or_else(|error| panic!("{sender}: {error}"));
            delivery.check(sender, recipients, content, &outcome);
        }
        if transfer == Transfer::Data || !session.offers("CHUNKING") {
            return delivery.finish(session);
        }
        session.mailer.quit().expect("a goodbye");
    }
}

/// Among them one of 25 MiB.
fn what_is_streamed_from_a_file_arrives_unchanged(mut delivery: Delivery) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut session = delivery.connect(Transfer::Auto);
    for content in contents::all().iter().chain([contents::large()]) {
        let file = folder.path().join(content.name);
        std::fs::write(&file, &content.sent).expect("write a message");
        let sender = format!("{}@example.org", content.name);
        let outcome = session.mailer.send_file(envelope(&sender, &KNOWN[..1]), &file);
        let outcome = outcome.unwrap_or_else(|error| panic!("{sender}: {error}"));
        delivery.check(&sender, &KNOWN[..1], content, &outcome);
    }
    delivery.finish(session);
}

/// I18N-010
fn addresses_in_utf8_arrive_or_are_not_sent(mut delivery: Delivery) {
    let mut session = delivery.connect(Transfer::Auto);
    let content = contents::all().iter().find(|content| content.name == "utf-8").expect("it is there");
    session.said("");
    for (sender, recipients, what) in [
        ("absenderin-größe@example.org", [KNOWN[0], KNOWN[1]], NonAscii::Sender),
        ("sender@example.org", [KNOWN[0], KNOWN[3]], NonAscii::Recipient(2)),
    ] {
        let outcome = session.mailer.send(envelope(sender, &recipients), content.sent.clone()).expect("an outcome");
        if session.offers("SMTPUTF8") {
            let mail = session.said("C: MAIL");
            assert!(mail[0].contains(" SMTPUTF8"), "{mail:?}");
            delivery.check(sender, &recipients, content, &outcome);
        } else {
            let error = Error::Unsendable(Unsendable::NeedsSmtpUtf8(what));
            assert_eq!(outcome.recipients, [RecipientOutcome::Failed(error.clone()), RecipientOutcome::Failed(error)]);
            assert_eq!(session.said("C: "), [""; 0]);
        }
    }
    let outcome = session.mailer.send(envelope("ascii@example.org", &KNOWN[..1]), content.sent.clone());
    delivery.check("ascii@example.org", &KNOWN[..1], content, &outcome.expect("an outcome"));
    delivery.finish(session);
}

/// DSN-006 DSN-007
fn wishes_for_notifications_arrive_or_are_left_out(mut delivery: Delivery) {
    let mut session = delivery.connect(Transfer::Auto);
    let content = contents::all().iter().find(|content| content.name == "dots").expect("it is there");
    let recipients = &KNOWN[..2];
    let mut often = envelope("often@example.org", recipients);
    often.ret = Some(Ret::Headers);
    often.envelope_id = Some(EnvelopeId::new("a+b=c").expect("an id"));
    let parameters = &mut often.recipients[0].parameters;
    parameters.notify = Some(Notify { success: true, failure: false, delay: true });
    parameters.original_recipient = Some(OriginalRecipient::new("rfc822", "a+b@example.com").expect("an address"));
    let mut never = envelope("never@example.org", recipients);
    never.ret = Some(Ret::Full);
    never.recipients[1].parameters.notify = Some(Notify::NEVER);

    let shown = delivery.far_end.notifications();
    assert_eq!(session.offers("DSN"), shown.is_some());
    for (sender, envelope, at) in [("often@example.org", often, 0), ("never@example.org", never, 1)] {
        let outcome = session.mailer.send(envelope, content.sent.clone()).expect("an outcome");
        let kept = delivery.check(sender, recipients, content, &outcome).expect("it was taken");
        assert_eq!(outcome.left_out, if shown.is_some() { vec![] } else { vec!["DSN"] });
        for wanted in shown.map_or(&[][..], |shown| shown[at]) {
            assert!(kept.envelope.contains(wanted), "no {wanted:?} in {}", kept.envelope);
        }
    }
    delivery.finish(session);
}
