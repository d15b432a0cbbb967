//! Relays that hand on to `receive` what `send` brought them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::exim::Exim;
use crate::support::haraka::Haraka;
use crate::support::messages::{self, Message, RECIPIENTS, SENDER};
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::postfix::{Additions, Postfix, received_field};
use crate::support::smtplib::Smtplib;
use crate::support::tools::{Receive, send, send_all, sessions, text, texts};

on_each_runtime!(
    exim_relays_every_message_unchanged_with_chunking,
    exim_hears_who_is_refused_behind_chunks_that_it_sent_already,
    opensmtpd_relays_every_message_unchanged,
    haraka_forwards_every_message_unchanged,
    postfix_hands_on_what_is_asked_about_notifications,
    postfix_hands_on_addresses_in_utf_8,
    postfix_sends_no_addresses_in_utf_8_where_that_is_not_offered,
    postfix_tells_where_the_mail_came_from,
);

/// Sends every message through a relay and checks that each comes out as it was, for all recipients, behind what the
/// relay puts before it.
fn relay_all(runtime: &str, relay: SocketAddr, receive: &mut Receive) {
    let folder = TempDir::new().expect("a folder");
    send(runtime, relay, send_all(folder.path())).expect_success();
    // Relays have their own order of messages, and of recipients.
    let mut expected: Vec<_> = messages::all().iter().collect();
    while !expected.is_empty() {
        let event = receive.next_message();
        assert_eq!(text(&event, "reverse_path"), SENDER);
        let mut recipients = texts(&event, "recipients");
        recipients.sort_by_key(|address| RECIPIENTS.iter().position(|known| known == address));
        assert_eq!(recipients, RECIPIENTS);
        let content = receive.stored(&event);
        let (trace, content) = content.split_at(received_field(&content));
        let name = expected.iter().position(|message| {
            let subject = format!("\r\nSubject: {}\r\n", message.name);
            content.windows(subject.len()).take(1000).any(|octets| octets == subject.as_bytes())
        });
        let name = name.unwrap_or_else(|| panic!("a message of nobody behind {}", String::from_utf8_lossy(trace)));
        expected.swap_remove(name).assert_same(content);
    }
}

fn exim_relays_every_message_unchanged_with_chunking(runtime: &str) {
    let mut receive = Receive::start(runtime, &[]);
    let Some(mut exim) = Exim::start(receive.address()) else { return };
    relay_all(runtime, exim.address, &mut receive);
    let deliveries = exim.deliveries(messages::all().len());
    assert_eq!(deliveries.len(), messages::all().len() * RECIPIENTS.len());
    for line in deliveries {
        // K is for chunks.
        assert!(line.contains(" K C=\"250 2."), "{line}");
    }
    drop(exim);
    let events = receive.stop();
    assert_eq!(sessions(&events, "message").len(), messages::all().len());
}

fn exim_hears_who_is_refused_behind_chunks_that_it_sent_already(runtime: &str) {
    let [one, two, three] = RECIPIENTS;
    let refusal = format!("{two}=550 5.1.1 No such user here");
    let mut receive = Receive::start(runtime, &["--reject-rcpt", &refusal]);
    let Some(mut exim) = Exim::start(receive.address()) else { return };
    let message = &messages::all()[1];
    let folder = TempDir::new().expect("a folder");
    let file = message.write_to(folder.path(), b"");
    let file = file.to_str().expect("a plain name");
    // Some are refused, and all.
    for (recipients, taken) in [(&[one, two, three][..], 2), (&[two], 0)] {
        let mut arguments = vec!["--from", SENDER, "--file", file];
        arguments.extend(recipients.iter().flat_map(|recipient| ["--to", recipient]));
        send(runtime, exim.address, arguments).expect_success();
        if taken > 0 {
            let event = receive.next_message();
            let mut recipients = texts(&event, "recipients");
            recipients.sort_unstable();
            assert_eq!(recipients, [one, three]);
            assert_content(&receive, &event, message);
        }
        // What Exim tells the sender about the one.
        let event = receive.next_message();
        assert_eq!(text(&event, "reverse_path"), "");
        assert_eq!(texts(&event, "recipients"), [SENDER]);
        let notification = String::from_utf8(receive.stored(&event)).expect("ASCII");
        assert!(notification.contains("550 5.1.1 No such user here"), "{notification}");
    }
    let deliveries = exim.deliveries(4);
    let refused: Vec<_> = deliveries.iter().filter(|line| line.contains(" ** two@example.net ")).collect();
    assert_eq!(refused.len(), 2, "{deliveries:?}");
    for line in refused {
        assert!(line.contains(": SMTP error from remote mail server after ") && line.contains("550 5.1.1 "), "{line}");
    }
    let chunked = deliveries.iter().filter(|line| line.contains(" K C=\"250 2."));
    // Two recipients, and two bounces.
    assert_eq!(chunked.count(), 4, "{deliveries:?}");
    drop(exim);
    receive.stop();
}

fn opensmtpd_relays_every_message_unchanged(runtime: &str) {
    let mut receive = Receive::start(runtime, &[]);
    let Some(opensmtpd) = OpenSmtpd::start("smtp", receive.address()) else { return };
    relay_all(runtime, opensmtpd.address, &mut receive);
    drop(opensmtpd);
    let events = receive.stop();
    assert_eq!(sessions(&events, "message").len(), messages::all().len());
}

fn haraka_forwards_every_message_unchanged(runtime: &str) {
    let mut receive = Receive::start(runtime, &[]);
    let Some(haraka) = Haraka::start(receive.address()) else { return };
    relay_all(runtime, haraka.address, &mut receive);
    drop(haraka);
    let events = receive.stop();
    assert_eq!(sessions(&events, "message").len(), messages::all().len());
}

/// Behind the Received field.
fn assert_content(receive: &Receive, event: &Value, message: &Message) {
    let content = receive.stored(event);
    message.assert_same(&content[received_field(&content)..]);
}

fn postfix_hands_on_what_is_asked_about_notifications(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &["--extensions", "DSN"]);
    let Some(postfix) = Postfix::start(receive.address(), &RECIPIENTS, |_| Additions::default()) else { return };
    let [one, two, three] = RECIPIENTS;
    let message = &messages::all()[1];
    let options = json!({
        "mail": ["RET=HDRS", "ENVID=QQ+2B314159"],
        "rcpt": {
            one: ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;First+2BOne@example.com"],
            two: ["NOTIFY=NEVER"],
        },
    });
    smtplib.send(postfix.address, message, SENDER, &RECIPIENTS, &options).expect_success();
    let event = receive.next_message();
    assert_content(&receive, &event, message);
    let mail = &receive.before(&event, "mail")[0];
    assert_eq!((text(mail, "ret"), text(mail, "envelope_id")), ("HDRS", "QQ+2B314159"));
    let recipients = receive.before(&event, "rcpt");
    let asked = |address: &str| {
        let recipient = recipients.iter().find(|recipient| recipient["recipient"] == address).expect("a recipient");
        (recipient["notify"].as_str(), text(recipient, "original_recipient"))
    };
    assert_eq!(asked(one), (Some("SUCCESS,DELAY"), "rfc822;First+2BOne@example.com"));
    // Postfix adds what it knows.
    assert_eq!(asked(two), (Some("NEVER"), "rfc822;two@example.net"));
    assert_eq!(asked(three), (None, "rfc822;three@example.net"));

    // The same from a program on Postfix's machine.
    let folder = TempDir::new().expect("a folder");
    let file = message.write_with_lf(folder.path());
    postfix.submit(&["-f", SENDER, "-i", "-N", "success,failure", "-V", "QQ314160", three], &file);
    let event = receive.next_message();
    assert_content(&receive, &event, message);
    let mail = &receive.before(&event, "mail")[0];
    assert_eq!((&mail["ret"], text(mail, "envelope_id")), (&Value::Null, "QQ314160"));
    let [recipient] = &receive.before(&event, "rcpt")[..] else { panic!("several recipients") };
    assert_eq!(text(recipient, "recipient"), three);
    assert_eq!(text(recipient, "notify"), "SUCCESS,FAILURE");
    drop(postfix);
    receive.stop();
}

fn postfix_hands_on_addresses_in_utf_8(runtime: &str) {
    const SENDER: &str = "grüße@bücher.example";
    const RECIPIENT: &str = "παράδειγμα@example.net";
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &[]);
    let Some(postfix) = Postfix::start(receive.address(), &[RECIPIENT], |_| Additions::default()) else { return };
    let message = &messages::all()[2];
    let options = json!({ "mail": ["SMTPUTF8"] });
    smtplib.send(postfix.address, message, SENDER, &[RECIPIENT], &options).expect_success();
    let event = receive.next_message();
    assert_eq!(text(&event, "reverse_path"), SENDER);
    assert_eq!(texts(&event, "recipients"), [RECIPIENT]);
    assert_eq!(receive.before(&event, "mail")[0]["smtputf8"], true);
    assert_content(&receive, &event, message);
    drop(postfix);
    receive.stop();
}

fn postfix_sends_no_addresses_in_utf_8_where_that_is_not_offered(runtime: &str) {
    const RECIPIENT: &str = "παράδειγμα@example.net";
    let Some(smtplib) = Smtplib::find() else { return };
    let receive = Receive::start(runtime, &["--extensions", "-SMTPUTF8"]);
    let Some(mut postfix) = Postfix::start(receive.address(), &[RECIPIENT], |_| Additions::default()) else { return };
    let options = json!({ "mail": ["SMTPUTF8"] });
    smtplib.send(postfix.address, &messages::all()[2], SENDER, &[RECIPIENT], &options).expect_success();
    let [status] = &postfix.statuses(&[RECIPIENT])[..] else { unreachable!() };
    assert_eq!((&*status.outcome, &*status.code), ("bounced", "5.6.7"), "{status:?}");
    drop(postfix);
    // It asked what is offered, and left.
    let events = receive.stop();
    assert!(!sessions(&events, "hello").is_empty());
    assert!(sessions(&events, "mail").is_empty());
}

fn postfix_tells_where_the_mail_came_from(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &["--xclient-from", "127.0.0.1"]);
    let Some(postfix) = Postfix::start(receive.address(), &RECIPIENTS, |_| Additions {
        // Nobody is asked for the names of clients.
        main: "smtp_send_xforward_command = yes\nsmtpd_peername_lookup = no\n".to_owned(),
        implicit: false,
    }) else {
        return;
    };
    let message = &messages::all()[0];
    let sent = smtplib.send(postfix.address, message, SENDER, &RECIPIENTS, &json!({ "source": "127.0.0.2" }));
    let client: SocketAddr = sent.expect_success().stdout[0].parse().expect("an address");
    let event = receive.next_message();
    assert_content(&receive, &event, message);
    let mail = &receive.before(&event, "mail")[0];
    let forwarded = &mail["forwarded"];
    assert_eq!(text(forwarded, "ADDR"), client.ip().to_string());
    assert_eq!(text(forwarded, "PORT"), client.port().to_string());
    assert_eq!(text(forwarded, "PROTO"), "ESMTP");
    assert_eq!(text(forwarded, "HELO"), "smtplib.example");
    assert_eq!(text(forwarded, "SOURCE"), "REMOTE");
    let queued = format!(" id {};", text(forwarded, "IDENT"));
    let content = receive.stored(&event);
    assert!(String::from_utf8_lossy(&content).contains(&queued), "{queued:?}");
    // Postfix itself is somebody else.
    assert_eq!(mail["client"], json!({}));
    drop(postfix);
    receive.stop();
}
