//! The server's machine.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use smtp_proto::server::{self, CloseReason, Decision, Event, Server};
use smtp_proto::wire::Reply;
use smtp_proto::{ApiMisuse, Instant, Machine, Phase, Step};

use super::at;

fn server() -> Server {
    Server::new(Arc::new(server::Config::new("mx.test").unwrap()), at(0))
}

/// Runs a server until it asks, or needs something; gives the question and what it wrote.
fn run(server: &mut Server, now: Instant, rx: &mut BytesMut) -> (Option<Event>, String) {
    let mut written = String::new();
    loop {
        match server.step(now, rx).unwrap() {
            Step::Event(event) if event.is_question() => return (Some(event), written),
            Step::Event(_) => {}
            Step::Write => {
                let count = server.output().remaining();
                written += str::from_utf8(&server.output().copy_to_bytes(count)).unwrap();
            }
            _ => return (None, written),
        }
    }
}

/// A server to which so many commands were said, everything accepted.
fn told(commands: &str) -> (Server, BytesMut) {
    let (mut server, mut rx) = (server(), BytesMut::from(commands));
    while let (Some(_), _) = run(&mut server, at(0), &mut rx) {
        server.decide(Decision::Accept).unwrap();
    }
    (server, rx)
}

const TO_DATA: &str = "HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\n";

#[test]
fn what_the_application_takes_is_not_the_clients_time() {
    let (mut server, mut rx) = told(TO_DATA);
    rx.extend_from_slice(b"DATA\r\n");
    assert_eq!(run(&mut server, at(0), &mut rx).0, Some(Event::Data));
    server.decide(Decision::Accept).unwrap();
    assert!(run(&mut server, at(500), &mut rx).1.starts_with("354"));
    rx.extend_from_slice(b"text\r\n");
    assert!(matches!(server.step(at(799), &mut rx), Ok(Step::Event(Event::Body(_)))));
    // The hook for the content takes its time, too.
    rx.extend_from_slice(b".\r\n");
    assert_eq!(run(&mut server, at(2000), &mut rx).0, Some(Event::MessageEnd { size: 6 }));
    server.decide(Decision::Accept).unwrap();
    assert_eq!(run(&mut server, at(2500), &mut rx), (None, "250 Message accepted\r\n".to_owned()));
    // The client's time runs from here.
    assert_eq!(server.deadline(), Some(at(2800)));
}

#[test]
fn an_application_that_never_decides_is_given_up() {
    // P19
    let (mut server, mut rx) = told(TO_DATA);
    rx.extend_from_slice(b"DATA\r\n");
    assert_eq!(run(&mut server, at(0), &mut rx).0, Some(Event::Data));
    assert_eq!(server.step(at(599), &mut rx), Ok(Step::Decide));
    let mut events = Vec::new();
    while let Ok(Step::Event(event)) = server.step(at(600), &mut rx) {
        events.push(event);
    }
    assert_eq!(events.last(), Some(&Event::Closing(CloseReason::Timeout(Phase::Decision))));
    // It comes too late, and harms nobody.
    assert_eq!(server.decide(Decision::Accept), Ok(()));
    assert!(run(&mut server, at(600), &mut rx).1.starts_with("421"));
    assert_eq!(server.step(at(600), &mut rx), Ok(Step::Close));
    assert_eq!(server.session().messages(), 0);
}

#[test]
fn a_piece_of_content_that_the_application_gave_up_on_costs_the_message() {
    let (mut server, mut rx) = told(TO_DATA);
    rx.extend_from_slice(b"DATA\r\n");
    assert!(run(&mut server, at(0), &mut rx).0.is_some());
    server.decide(Decision::Accept).unwrap();
    run(&mut server, at(0), &mut rx);
    rx.extend_from_slice(b"text\r\n");
    // The client took its time; the application has its own.
    assert!(matches!(server.step(at(299), &mut rx), Ok(Step::Event(Event::Body(_)))));
    assert_eq!(server.deadline(), Some(at(899)));
    server.overdue();
    rx.extend_from_slice(b".\r\n");
    assert_eq!(run(&mut server, at(900), &mut rx), (None, "451 Local error; try again later\r\n".to_owned()));
}

#[test]
fn replies_do_not_wait_for_later_questions_of_a_slow_application() {
    // PIPE-010: the reply to a message never, others no longer than one question takes.
    let (mut server, mut rx) = told(TO_DATA);
    rx.extend_from_slice(
        b"DATA\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>\r\nRCPT TO:<d@b.test>\r\n",
    );
    for expected in ["", "354", "250 Message accepted"] {
        let (question, written) = run(&mut server, at(0), &mut rx);
        assert!(question.is_some() && written.starts_with(expected) && written.lines().count() <= 1, "{written}");
        server.decide(Decision::Accept).unwrap();
    }
    for second in 1..4 {
        let (question, written) = run(&mut server, at(10 * second), &mut rx);
        assert!(question.is_some());
        assert_eq!(written.lines().count(), 1, "{written}");
        // About the first of the group; the rest is asked again.
        server.decide(Decision::Each(vec![Decision::Accept])).unwrap();
    }
}

#[test]
fn recipients_are_decided_in_any_order_and_answered_in_theirs() {
    let (mut server, mut rx) = told("HELO a\r\nMAIL FROM:<>\r\n");
    let commands = (0..100).map(|number| format!("RCPT TO:<r{number}@b.test>\r\n"));
    rx.extend_from_slice(commands.collect::<String>().as_bytes());
    let (question, _) = run(&mut server, at(0), &mut rx);
    let Some(Event::Recipients(recipients)) = question else { panic!("{question:?}") };
    assert_eq!(recipients.len(), 100);
    // 37 and 100 have no common divisor: everybody's turn comes once, and that of 0 last.
    for turn in 1..100 {
        let index = turn * 37 % 100;
        let decision = if index % 3 == 0 { Reply::from_static("550 5.1.1 Unknown").into() } else { Decision::Accept };
        assert_eq!(server.decide_recipient(index, decision.clone()), Ok(()));
        assert_eq!(server.decide_recipient(index, decision), Err(ApiMisuse::NothingToDecide));
        let (question, written) = run(&mut server, at(0), &mut rx);
        assert_eq!((question, written.as_str()), (None, ""), "the first is not decided yet");
    }
    assert_eq!(server.decide_recipient(100, Decision::Accept), Err(ApiMisuse::NothingToDecide));
    server.decide_recipient(0, Decision::Accept).unwrap();
    let (_, written) = run(&mut server, at(0), &mut rx);
    let codes: Vec<_> = written.lines().map(|line| &line[..3]).collect();
    let expected: Vec<_> = (0..100).map(|index| if index > 0 && index % 3 == 0 { "550" } else { "250" }).collect();
    assert_eq!(codes, expected);
    assert_eq!(server.session().transaction().map(server::Transaction::recipients), Some(67));
}

#[test]
fn those_who_are_left_undecided_are_asked_about_again() {
    let (mut server, mut rx) = told("HELO a\r\nMAIL FROM:<>\r\n");
    rx.extend_from_slice(b"RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>\r\nRCPT TO:<d@b.test>\r\n");
    let asked = |question: Option<Event>| match question {
        Some(Event::Recipients(recipients)) => recipients.iter().map(|recipient| recipient.index).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(run(&mut server, at(0), &mut rx).0), [0, 1, 2, 3]);
    server.decide_recipient(2, Decision::Accept).unwrap();
    server.decide(Decision::Each(vec![Decision::Accept])).unwrap();
    assert_eq!(asked(run(&mut server, at(0), &mut rx).0), [1, 3]);
    // Whoever decides nothing is not asked for ever.
    server.decide(Decision::Each(Vec::new())).unwrap();
    assert_eq!(asked(run(&mut server, at(0), &mut rx).0), [3]);
    server.decide(Decision::Accept).unwrap();
    let (_, written) = run(&mut server, at(0), &mut rx);
    assert_eq!(written.lines().map(|line| &line[..3]).collect::<Vec<_>>(), ["250", "451", "250", "250"]);
}

#[test]
fn decisions_that_do_not_fit_are_told_and_answered_for_now() {
    // STATE-026
    let (mut server, mut rx) = told("HELO a\r\n");
    assert_eq!(server.decide(Decision::Accept), Err(ApiMisuse::NothingToDecide));
    rx.extend_from_slice(b"MAIL FROM:<>\r\n");
    assert!(run(&mut server, at(0), &mut rx).0.is_some());
    let go = Reply::from_static("354 go");
    assert_eq!(server.decide(Decision::Close(go.clone())), Err(ApiMisuse::UnfitReply(go.clone())));
    assert_eq!(run(&mut server, at(0), &mut rx).1, "451 Local error; try again later\r\n");
    assert_eq!(server.decide(Decision::Reply(go)), Err(ApiMisuse::NothingToDecide));
    rx.extend_from_slice(b"MAIL FROM:<>\r\n");
    assert!(run(&mut server, at(0), &mut rx).0.is_some());
    server.decide(Decision::Accept).unwrap();
    assert_eq!(run(&mut server, at(0), &mut rx).1, "250 Sender OK\r\n");
}

#[test]
fn nobody_is_told_that_a_message_was_taken_before_it_is_complete() {
    // DATA-011: a 250 in front of the end would be read as the reply to it.
    let thanks = Reply::from_static("250 Thanks");
    for amid_content in [false, true] {
        let (mut server, mut rx) = told(TO_DATA);
        rx.extend_from_slice(b"DATA\r\n");
        assert_eq!(run(&mut server, at(0), &mut rx).0, Some(Event::Data));
        if amid_content {
            server.decide(Decision::Accept).unwrap();
            run(&mut server, at(0), &mut rx);
            rx.extend_from_slice(b"text\r\n");
            assert!(matches!(server.step(at(0), &mut rx), Ok(Step::Event(Event::Body(_)))));
        }
        assert_eq!(server.decide(Decision::Close(thanks.clone())), Err(ApiMisuse::UnfitReply(thanks.clone())));
        assert!(run(&mut server, at(0), &mut rx).1.starts_with("421 "));
        assert_eq!(server.session().messages(), 0);
    }
    let (mut server, mut rx) = told(TO_DATA);
    rx.extend_from_slice(b"DATA\r\n");
    run(&mut server, at(0), &mut rx);
    server.decide(Decision::Accept).unwrap();
    run(&mut server, at(0), &mut rx);
    rx.extend_from_slice(b"text\r\n");
    server.step(at(0), &mut rx).unwrap();
    let go = Reply::from_static("354 go");
    assert_eq!(server.decide(Decision::Reply(go.clone())), Err(ApiMisuse::UnfitReply(go)));
    rx.extend_from_slice(b".\r\n");
    assert!(run(&mut server, at(0), &mut rx).1.starts_with("451 "));
}

#[test]
fn several_decisions_are_about_those_who_were_asked_about_last() {
    let (mut server, mut rx) = told("HELO a\r\nMAIL FROM:<>\r\n");
    rx.extend_from_slice(b"RCPT TO:<a@b.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<c@b.test>\r\n");
    run(&mut server, at(0), &mut rx);
    server.decide_recipient(1, Decision::Accept).unwrap();
    let refusals = ["550 zero", "550 one", "550 two"].map(|reply| Decision::Reply(Reply::from_static(reply)));
    server.decide(Decision::Each(refusals.to_vec())).unwrap();
    assert_eq!(run(&mut server, at(0), &mut rx).1, "550 zero\r\n250 Recipient OK\r\n550 two\r\n");
}

#[test]
fn what_is_refused_is_counted() {
    let (mut server, mut rx) = told("HELO a\r\n");
    let no = || Decision::Reply(Reply::from_static("550 no"));
    let mut refused = 0;
    // The sender; the recipient; the wish to send; the content, amid it and at its end.
    for at_step in 0..5 {
        rx.extend_from_slice(b"MAIL FROM:<>\r\nRCPT TO:<b@b.test>\r\nDATA\r\ntext\r\n.\r\nRSET\r\n");
        let mut step = 0;
        loop {
            match server.step(at(0), &mut rx).unwrap() {
                Step::Event(Event::Body(_)) if step == 3 && at_step == 3 => {
                    server.decide(no()).unwrap();
                    refused += 1;
                    step += 1;
                }
                Step::Event(Event::Body(_)) => step += 1,
                Step::Event(event) if event.is_question() => {
                    let refuse = step == at_step && !matches!(event, Event::Other { .. });
                    refused += u64::from(refuse);
                    server.decide(if refuse { no() } else { Decision::Accept }).unwrap();
                    step += 1;
                }
                Step::Event(_) => {}
                Step::Write => {
                    let count = server.output().remaining();
                    server.output().advance(count);
                }
                _ => break,
            }
        }
    }
    assert_eq!(refused, 5);
    // Behind the refusal of its only recipient, the message had nobody.
    assert_eq!(server.session().refused(), refused + 1);
}

#[test]
fn a_session_that_ends_under_a_question_takes_the_question_back() {
    let mut config = server::Config::new("mx.test").unwrap();
    config.limits.junk_commands = 0;
    let mut server = Server::new(Arc::new(config), at(0));
    let mut rx = BytesMut::new();
    run(&mut server, at(0), &mut rx);
    server.decide(Decision::Accept).unwrap();
    run(&mut server, at(0), &mut rx);
    rx.extend_from_slice(b"VRFY a\r\n");
    assert!(matches!(server.step(at(0), &mut rx), Ok(Step::Event(Event::Abuse(_)))));
    server.connection_lost();
    assert_eq!(server.step(at(0), &mut rx), Ok(Step::Event(Event::Closing(CloseReason::Disconnected))));
    assert_eq!(server.step(at(0), &mut rx), Ok(Step::Close));
}
