//! Many messages over one session, one behind the other.

use std::cell::Cell;

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::client::{Envelope, Outcome, Transfer, Verdict};
use smtp_proto::{ApiMisuse, Error as SessionError};
use smtp_tests::runtime::Runtime;

use super::delivery::pairs;
use super::support::{Heard, Server, client_config, connect_with, envelope, limited, peer, server_config};

/// Every fifth is refused for its sender, every seventh for its content, and every third goes to two of whom one is
/// refused.
fn message(number: usize) -> (Envelope, Bytes) {
    let recipients: &[&str] = if number.is_multiple_of(3) { &["joe", "refused"] } else { &["joe"] };
    let sender = if number.is_multiple_of(5) { "refused".to_owned() } else { format!("number{number}") };
    let subject = if number.is_multiple_of(7) { "refused" } else { "taken" };
    (envelope(&sender, recipients), format!("Subject: {subject} {number}\r\n\r\n.{number}\r\n").into())
}

fn expected(number: usize) -> Verdict {
    match number {
        _ if number.is_multiple_of(5) || number.is_multiple_of(7) => Verdict::Refused,
        _ if number.is_multiple_of(3) => Verdict::Partial,
        _ => Verdict::Delivered,
    }
}

#[test]
fn each_of_many_messages_has_its_own_outcome() {
    const COUNT: usize = 100;
    limited(|| {
        for (client, server, pair) in pairs() {
            for (transfer, pipelining) in [(Transfer::Auto, true), (Transfer::Data, true), (Transfer::Data, false)] {
                let mut config = server_config();
                config.pipelining = pipelining;
                let server = Server::with(server, config);
                let mut config = client_config();
                config.transfer = transfer;
                let mut mailer = connect_with(client, &server.address(), config).unwrap();
                let outcomes = mailer.send_all(&mut (1..=COUNT).map(message));
                let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().verdict()).collect();
                assert_eq!(verdicts, (1..=COUNT).map(expected).collect::<Vec<_>>(), "{pair}, {transfer:?}");
                // The session is as good as new.
                assert!(mailer.send(envelope("last", &["joe"]), "Subject: last\r\n".into()).unwrap().is_delivered());
                mailer.quit().unwrap();
                let mut arrived = Vec::new();
                for heard in server.session() {
                    if let Heard::Message(message) = heard {
                        arrived.push(String::from_utf8(message.content).unwrap());
                    }
                }
                let taken = (1..=COUNT).filter(|number| expected(*number) != Verdict::Refused);
                let mut sent: Vec<_> =
                    taken.map(|number| format!("Subject: taken {number}\r\n\r\n.{number}\r\n")).collect();
                sent.push("Subject: last\r\n".to_owned());
                assert_eq!(arrived, sent, "{pair}, {transfer:?}");
                server.stop();
            }
        }
    });
}

fn messages_are_taken_as_they_are_needed(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut config = client_config();
    config.messages_in_flight = 4;
    let mut mailer = connect_with(runtime, &server.address(), config).unwrap();
    let taken = Cell::new(0usize);
    let taken_at_first = Cell::new(0usize);
    let mut messages = (1..=50).map(|number| {
        taken.set(number);
        // None of the first has been answered before one more than is on its way was taken.
        if number == 5 {
            taken_at_first.set(number);
        }
        message(1)
    });
    let outcomes = mailer.send_all(&mut messages);
    assert_eq!((outcomes.len(), taken.get(), taken_at_first.get()), (50, 50, 5));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(outcome) if outcome.is_delivered())));
    server.stop();
}

/// What a message that cannot be is told, and what the others come to.
fn an_impossible_message_spoils_no_other(runtime: Runtime) {
    let server = Server::start(runtime);
    let mut mailer = connect_with(runtime, &server.address(), client_config()).unwrap();
    let mut nobody = message(1);
    nobody.0.recipients.clear();
    let outcomes = mailer.send_all(&mut [message(1), nobody, message(2)].into_iter());
    let [Ok(first), Err(Error::Smtp { source: SessionError::Misuse(ApiMisuse::Argument(_)), .. }), Ok(third)] =
        &outcomes[..]
    else {
        panic!("{outcomes:?}");
    };
    assert!(first.is_delivered() && third.is_delivered());
    server.stop();
}

/// A server that takes two messages and closes before the third.
fn messages_behind_the_end_of_a_session_are_left_alone(runtime: Runtime) {
    let (server, thread) = peer(|mut raw| {
        raw.welcome(&["PIPELINING"]);
        for number in 0..3 {
            for reply in ["250 OK", "250 OK"] {
                raw.answer(reply);
            }
            if number == 2 {
                raw.answer("421 4.3.2 Closing");
                return;
            }
            raw.answer("354 Go ahead");
            while raw.line().unwrap() != "." {}
            raw.say("250 2.0.0 Taken\r\n");
        }
    });
    let mut mailer = connect_with(runtime, &server, client_config()).unwrap();
    let taken = Cell::new(0usize);
    let mut messages = (1..=1000).map(|number| {
        taken.set(number);
        message(1)
    });
    let outcomes = mailer.send_all(&mut messages);
    let (last, before) = outcomes.split_last().unwrap();
    assert!(matches!(last, Err(Error::Over { source: SessionError::ServiceClosing { .. }, .. })), "{last:?}");
    // One message has been looked at and is still there.
    assert_eq!(before.len() + 1, taken.get());
    let before: Vec<&Outcome> = before.iter().map(|outcome| outcome.as_ref().unwrap()).collect();
    assert!(before[0].is_delivered() && before[1].is_delivered());
    assert!(before[2..].iter().all(|outcome| outcome.verdict() == Verdict::Refused), "{before:?}");
    assert!(before[2..].iter().all(|outcome| outcome.recipients[0].is_transient()), "{before:?}");
    assert!(mailer.is_over());
    thread.join().unwrap();
}

on_each_runtime!(
    messages_are_taken_as_they_are_needed,
    an_impossible_message_spoils_no_other,
    messages_behind_the_end_of_a_session_are_left_alone,
);
