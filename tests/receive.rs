//! The tool `receive`: what its flags do, and what its events tell.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod tool;

use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use tool::{PATIENCE, Peer, Tool, complaint};

on_each_runtime!(
    events_carry_the_parameters_of_mail_and_rcpt,
    what_is_not_said_is_null_in_the_events,
    lmtp_recipients_get_replies_of_their_own,
    the_proxy_header_is_told,
    only_a_trusted_client_speaks_for_others,
    urls_and_queues_are_told,
    extensions_are_switched_off,
    a_message_that_cannot_be_stored_is_refused,
    trace_fields_stand_in_front_of_what_is_stored,
    every_listener_is_told_and_serves,
    one_connection_too_many_is_turned_away,
);

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn event<'a>(events: &'a [Value], name: &str) -> &'a Value {
    events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("no {name} in {events:?}"))
}

/// An event without the members that every one has.
fn facts(events: &[Value], name: &str) -> Value {
    let mut facts = event(events, name).clone();
    let members = facts.as_object_mut().unwrap();
    members.remove("event");
    members.remove("session");
    facts
}

fn events_carry_the_parameters_of_mail_and_rcpt(runtime: &str) {
    let extensions = "dsn,DELIVERBY,FUTURERELEASE,MT-PRIORITY,RRVS,BINARYMIME,LIMITS";
    let options = ["--extensions", extensions, "--auth", "jane:secret", "--require-auth", "--allow-clear-text-auth"];
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(options));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    let offered = peer.asks("EHLO client.example", "250");
    for capability in
        ["DSN", "DELIVERBY", "FUTURERELEASE 2592000 ", "MT-PRIORITY", "RRVS", "BINARYMIME", "LIMITS RCPTMAX=1000"]
    {
        assert!(offered.contains(&format!("250-{capability}")), "{capability} in {offered}");
    }
    peer.asks("AUTH PLAIN AGphbmUAc2VjcmV0", "235");
    peer.asks(
        "MAIL FROM:<a@a.test> body=binarymime SIZE=5 SMTPUTF8 RET=hdrs ENVID=QQ+3D1 BY=+120;rt HOLDFOR=60 \
         MT-PRIORITY=-3 AUTH=jane+40a.test",
        "250",
    );
    peer.asks("RCPT TO:<b@b.test> NOTIFY=delay,success ORCPT=rfc822;x+2By@b.test RRVS=2014-04-03T23:01:00Z;c", "250");
    peer.says("BDAT 5 LAST\r\na\0\nb.");
    peer.reply();
    peer.asks("QUIT", "221");
    let events = receive.session();
    assert_eq!(
        facts(&events, "mail"),
        json!({
            "reverse_path": "a@a.test",
            "size": 5,
            "body": "BINARYMIME",
            "smtputf8": true,
            "requiretls": false,
            "auth": "jane@a.test",
            "ret": "HDRS",
            "envelope_id": "QQ+3D1",
            "by": "120;RT",
            "hold": "HOLDFOR=60",
            "priority": "-3",
            "parameters": [],
            "forwarded": {},
            "client": {},
            "proxied": null,
        })
    );
    assert_eq!(
        facts(&events, "rcpt"),
        json!({
            "recipient": "b@b.test",
            "notify": "SUCCESS,DELAY",
            "original_recipient": "rfc822;x+2By@b.test",
            "rrvs": "2014-04-03T23:01:00Z;C",
            "parameters": [],
        })
    );
    assert_eq!(event(&events, "message")["size"], 5);
}

fn what_is_not_said_is_null_in_the_events(runtime: &str) {
    let mut receive = Tool::start(runtime, LISTEN);
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    peer.asks("EHLO client.example", "250");
    peer.asks("MAIL FROM:<>", "250");
    peer.asks("RCPT TO:<Postmaster>", "250");
    peer.asks("QUIT", "221");
    let events = receive.session();
    let mail = facts(&events, "mail");
    for absent in ["size", "body", "auth", "ret", "envelope_id", "by", "hold", "priority", "proxied"] {
        assert_eq!(mail.get(absent), Some(&Value::Null), "{absent}");
    }
    assert_eq!((&mail["reverse_path"], &mail["parameters"]), (&json!(""), &json!([])));
    let rcpt = json!({
        "recipient": "Postmaster", "notify": null, "original_recipient": null, "rrvs": null, "parameters": [],
    });
    assert_eq!(facts(&events, "rcpt"), rcpt);
}

fn lmtp_recipients_get_replies_of_their_own(runtime: &str) {
    // LMTP-003
    let folder = TempDir::new().unwrap();
    let options = [
        "--lmtp",
        "--maildir",
        folder.path().to_str().unwrap(),
        "--reject-rcpt",
        "nobody@b.test=550 5.1.1 No such user",
        "--reject-for",
        "full@b.test=452 4.2.2 Mailbox full",
    ];
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(options));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    peer.asks("LHLO client.example", "250");
    peer.says(concat!(
        "MAIL FROM:<a@a.test>\r\nRCPT TO:<one@b.test>\r\nRCPT TO:<nobody@b.test>\r\nRCPT TO:<full@b.test>\r\n",
        "RCPT TO:<two@b.test>\r\nDATA\r\n"
    ));
    let codes = [(); 6].map(|()| peer.reply()[..3].to_owned());
    assert_eq!(codes, ["250", "250", "550", "250", "250", "354"]);
    peer.says("Subject: x\r\n\r\nx\r\n.\r\n");
    let replies = [(); 3].map(|()| peer.reply());
    assert_eq!(replies[1], "452 4.2.2 Mailbox full");
    assert!(replies[0].starts_with("250 ") && replies[2] == replies[0], "{replies:?}");
    // Nobody wants this one.
    for line in ["MAIL FROM:<a@a.test>", "RCPT TO:<full@b.test>"] {
        peer.asks(line, "250");
    }
    peer.asks("DATA", "354");
    peer.asks(".", "452");
    peer.asks("QUIT", "221");
    let events = receive.session();
    let message = event(&events, "message");
    assert_eq!(message["recipients"], json!(["one@b.test", "full@b.test", "two@b.test"]));
    assert_eq!(message["replies"], json!(replies));
    let stored = std::fs::read_to_string(message["file"].as_str().unwrap()).unwrap();
    assert_eq!(stored, "Subject: x\r\n\r\nx\r\n");
    assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

fn the_proxy_header_is_told(runtime: &str) {
    // PROXY-007
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(["--proxy-protocol"]));
    let mut peer = Peer::connect(&receive.address());
    peer.says("PROXY TCP6 2001:db8::1 2001:db8::2 40000 25\r\n");
    peer.reply();
    peer.asks("EHLO client.example", "250");
    peer.asks("MAIL FROM:<a@a.test>", "250");
    peer.asks("QUIT", "221");
    let events = receive.session();
    let proxied = json!({ "source": "[2001:db8::1]:40000", "destination": "[2001:db8::2]:25" });
    assert_eq!(event(&events, "mail")["proxied"], proxied);
}

fn only_a_trusted_client_speaks_for_others(runtime: &str) {
    // PROXY-001, PROXY-003, PROXY-005
    for (trusted, code) in [("127.0.0.1", "220"), ("192.0.2.1", "550")] {
        let options = ["--xclient-from", "2001:db8::1", "--xclient-from", trusted];
        let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(options));
        let mut peer = Peer::connect(&receive.address());
        peer.reply();
        let offered = peer.asks("EHLO proxy.example", "250");
        assert_eq!(offered.contains("XCLIENT") && offered.contains("XFORWARD"), code == "220", "{offered}");
        peer.asks("XCLIENT NAME=client.example ADDR=ipv6:2001:db8::7 LOGIN=a+2Bb", code);
        peer.asks("EHLO client.example", "250");
        peer.asks("XFORWARD IDENT=1234 SOURCE=remote", if code == "220" { "250" } else { "550" });
        peer.asks("MAIL FROM:<a@a.test>", "250");
        peer.asks("QUIT", "221");
        let events = receive.session();
        let mail = event(&events, "mail");
        if code == "220" {
            let client = json!({ "NAME": "client.example", "ADDR": "IPV6:2001:db8::7", "LOGIN": "a+2Bb" });
            assert_eq!(facts(&events, "xclient"), json!({ "attributes": client }));
            assert_eq!(
                (&mail["client"], &mail["forwarded"]),
                (&client, &json!({ "IDENT": "1234", "SOURCE": "REMOTE" }))
            );
        } else {
            assert!(events.iter().all(|event| event["event"] != "xclient"), "{events:?}");
            assert_eq!((&mail["client"], &mail["forwarded"]), (&json!({}), &json!({})));
        }
    }
}

fn urls_and_queues_are_told(runtime: &str) {
    let options = ["--extensions", "ETRN,BURL", "--auth", "jane:secret", "--require-auth", "--allow-clear-text-auth"];
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(options));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    peer.asks("EHLO client.example", "250");
    peer.asks("AUTH PLAIN AGphbmUAc2VjcmV0", "235");
    peer.asks("ETRN @b.test", "250");
    peer.asks("MAIL FROM:<a@a.test>", "250");
    peer.asks("RCPT TO:<b@b.test>", "250");
    // There is nothing here that could fetch it.
    peer.asks("BURL imap://jane@imap.example/INBOX/;uid=1 LAST", "554");
    peer.asks("QUIT", "221");
    let events = receive.session();
    assert_eq!(facts(&events, "etrn"), json!({ "node": "@b.test" }));
    assert_eq!(facts(&events, "burl"), json!({ "url": "imap://jane@imap.example/INBOX/;uid=1", "last": true }));
}

fn extensions_are_switched_off(runtime: &str) {
    let off = "-8BITMIME,-CHUNKING,-ENHANCEDSTATUSCODES,-HELP,-PIPELINING,-SMTPUTF8";
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(["--extensions", off]));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    assert_eq!(peer.asks("EHLO client.example", "250"), "250-receive.example\n250 SIZE 26214400");
}

fn a_message_that_cannot_be_stored_is_refused(runtime: &str) {
    let folder = TempDir::new().unwrap();
    let options = ["--maildir", folder.path().to_str().unwrap(), "--sink", "maildir"];
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(options));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    peer.asks("EHLO client.example", "250");
    for line in ["MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>"] {
        peer.asks(line, "250");
    }
    peer.asks("DATA", "354");
    std::fs::remove_dir(folder.path().join("new")).unwrap();
    peer.asks("x\r\n.", "451");
    for line in ["MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>"] {
        peer.asks(line, "250");
    }
    std::fs::remove_dir(folder.path().join("tmp")).unwrap();
    peer.asks("DATA", "451");
    peer.asks("QUIT", "221");
    let events = receive.session();
    assert_eq!(events.iter().filter(|event| event["event"] == "failed").count(), 2, "{events:?}");
    assert!(events.iter().all(|event| event["event"] != "message"), "{events:?}");
}

fn trace_fields_stand_in_front_of_what_is_stored(runtime: &str) {
    // DATA-016, DATA-017
    let folder = TempDir::new().unwrap();
    let options = ["--maildir", folder.path().to_str().unwrap(), "--trace"];
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(options));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    for (hello, from) in [("client.example", "client.example ([127.0.0.1])"), ("a;b_(c", "[127.0.0.1]")] {
        peer.asks(&format!("EHLO {hello}"), "250");
        for line in ["MAIL FROM:<a@a.test> SMTPUTF8", "RCPT TO:<b@b.test>"] {
            peer.asks(line, "250");
        }
        peer.asks("DATA", "354");
        peer.asks("Subject: x\r\n\r\nx\r\n.", "250");
        let message = loop {
            match receive.next().expect("a message") {
                event if event["event"] == "message" => break event,
                _ => {}
            }
        };
        let stored = std::fs::read_to_string(message["file"].as_str().unwrap()).unwrap();
        let (before, date) = stored.split_once(";\r\n\t").unwrap();
        let by = "by receive.example with UTF8SMTP\r\n\tfor <b@b.test>";
        assert_eq!(before, format!("Return-Path: <a@a.test>\r\nReceived: from {from}\r\n\t{by}"));
        assert!(date.ends_with(" +0000\r\nSubject: x\r\n\r\nx\r\n"), "{date}");
        // These are of the content as it came.
        assert_eq!(message["size"], "Subject: x\r\n\r\nx\r\n".len());
    }
}

fn every_listener_is_told_and_serves(runtime: &str) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("socket");
    let options = ["--unix", path.to_str().unwrap(), "--lmtp", "--xclient-from", "127.0.0.1"];
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(LISTEN).chain(options));
    let addresses = [(); 3].map(|()| receive.address());
    assert_ne!(addresses[0], addresses[1]);
    assert_eq!(addresses[2], format!("unix:{}", path.display()));
    for address in &addresses[..2] {
        let mut peer = Peer::connect(address);
        peer.reply();
        peer.asks("QUIT", "221");
        let events = receive.session();
        assert!(event(&events, "connect")["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{events:?}");
    }
    let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    let mut peer = Peer::new(stream);
    peer.reply();
    let offered = peer.asks("LHLO client.example", "250");
    // Nobody there has an address that could be trusted.
    assert!(!offered.contains("XCLIENT"), "{offered}");
    peer.asks("QUIT", "221");
    let events = receive.session();
    assert_eq!(event(&events, "connect")["peer"], Value::Null);
}

fn one_connection_too_many_is_turned_away(runtime: &str) {
    let mut receive = Tool::start(runtime, LISTEN.into_iter().chain(["--max-connections", "2"]));
    let address = receive.address();
    let mut peers = [(); 2].map(|()| Peer::connect(&address));
    for peer in &mut peers {
        assert!(peer.reply().starts_with("220"));
    }
    assert!(Peer::connect(&address).reply().starts_with("421"));
    let [mut first, _second] = peers;
    first.asks("QUIT", "221");
    receive.session();
    assert_eq!(first.rest(), "");
    // It counts until the server has noticed that the client is gone, too.
    let patience = Instant::now() + PATIENCE;
    while !Peer::connect(&address).reply().starts_with("220") {
        assert!(Instant::now() < patience, "there is no room where one left");
    }
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    let tokio = ["--runtime", "tokio", "--listen", "127.0.0.1:0"];
    for (options, complaint_holds) in [
        (&["--extensions", "DNS"][..], "there is no DNS, but 8BITMIME, BINARYMIME, BURL, CHUNKING, DELIVERBY, DSN"),
        (&["--extensions", "FUTURERELEASE"], "FUTURERELEASE needs --require-auth"),
        (&["--extensions", "BURL"], "BURL needs --require-auth"),
        (&["--extensions", "REQUIRETLS"], "REQUIRETLS needs --tls-cert"),
        (&["--extensions", "BINARYMIME,-CHUNKING"], "BINARYMIME needs CHUNKING"),
        (&["--reject-for", "a@b.test=550 No"], "--reject-for needs --lmtp"),
        (&["--lmtp", "--reject-for", "a@b.test=250 Yes"], "ADDRESS=REPLY"),
        (&["--sink", "maildir"], "--maildir is missing"),
        (&["--max-connections", "many"], "many"),
        (&["--sink", "mbox"], "one of maildir, discard"),
        (&["--xclient-from", "localhost"], "localhost"),
    ] {
        let said = complaint(&[&tokio[..], options].concat());
        assert!(said.contains(complaint_holds), "{options:?}: {said}");
    }
    assert!(complaint(&tokio[..2]).contains("--listen or --unix is missing"));
}

#[test]
fn a_message_is_discarded_where_the_sink_says_so() {
    let folder = TempDir::new().unwrap();
    let options = ["--maildir", folder.path().to_str().unwrap(), "--sink", "discard"];
    let mut receive = Tool::start("blocking", LISTEN.into_iter().chain(options));
    let mut peer = Peer::connect(&receive.address());
    peer.reply();
    peer.asks("HELO client.example", "250");
    for line in ["MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>"] {
        peer.asks(line, "250");
    }
    peer.asks("DATA", "354");
    peer.asks("x\r\n.", "250");
    peer.asks("QUIT", "221");
    let events = receive.session();
    assert_eq!(event(&events, "message").get("file"), None);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
