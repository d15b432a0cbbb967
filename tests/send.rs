//! The tool `send`: what its flags do, what arrives at the far end, and what it tells.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod tool;
mod sending;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use sending::{Far, Letter, PASSWORD, Sent, complaint, send, send_to};
use serde_json::{Value, json};
use smtp_proto::server::Config;
use smtp_tests::certificates::Authority;
use tempfile::TempDir;
use tool::Tool;

on_each_runtime!(
    a_table_is_sent_line_by_line_and_what_fails_is_told,
    what_failed_for_now_is_tried_again_for_those_alone,
    a_maildir_goes_to_whom_its_header_fields_name,
    flags_say_to_whom_a_maildir_goes,
    large_messages_of_a_bulk_arrive_whole,
    everything_is_sent_as_often_as_asked_for,
    flags_become_parameters_of_mail_and_rcpt,
    what_the_server_has_not_is_told,
    content_is_transferred_as_asked_for,
    lmtp_is_spoken_over_tcp_and_unix_sockets,
    urls_say_where_and_how,
    a_pool_has_as_many_connections_as_asked_for,
    a_rate_is_kept_to,
    a_refused_login_is_not_tried_for_every_message,
    a_session_that_the_server_closes_is_held_against_one_message_alone,
    what_cannot_be_read_is_told_before_anything_is_sent,
    a_server_that_is_not_there_may_be_there_later,
);

const REFUSED: &str = "refused while giving a recipient (RCPT): 550 5.1.1 No such user here";
const LATER: &str = "refused while giving a recipient (RCPT): 450 4.2.1 Not now";

fn a_table_is_sent_line_by_line_and_what_fails_is_told(runtime: &str) {
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("mail")).unwrap();
    fs::write(folder.path().join("mail/one.eml"), "Subject: one\n\n.\n").unwrap();
    let two = folder.path().join("two.eml");
    fs::write(&two, "Subject: two\r\n\r\n").unwrap();
    let two = two.to_str().unwrap();
    let table = folder.path().join("table.csv");
    let rows = [
        "File, from ,TO,note",
        "mail/one.eml,a@a.test,b@b.test,plain",
        "mail/one.eml,,c@b.test; no@b.test,nobody sends it",
        &format!("{two},a@a.test,\"\"\"x; y\"\"@b.test d@b.test,\te@b.test\",\"an absolute\npath\""),
        "mail/one.eml,a@a.test,nobody,no address",
        "mail/one.eml,a@a.test,b@b.test",
        "mail/missing.eml,a@a.test,b@b.test,no such file",
        "",
        ",a@a.test,b@b.test,no file",
        "mail/one.eml,a@a.test,,no recipient",
        "mail/one.eml,a@a.test,no@b.test,refused",
    ];
    let mut octets = rows.join("\r\n").into_bytes();
    octets.extend_from_slice(b"\r\n\xff,a@a.test,b@b.test,not UTF-8\nmail/one.eml,a@a.test,f@b.test,the last\n");
    fs::write(&table, octets).unwrap();
    let sent = send_to(runtime, &far, &["--bulk", table.to_str().unwrap(), "--pool", "2"]);

    let one = "Subject: one\r\n\r\n.\r\n";
    let letters = [
        Letter::new("", &["c@b.test"], one),
        Letter::new("a@a.test", &["\"x; y\"@b.test", "d@b.test", "e@b.test"], "Subject: two\r\n\r\n"),
        Letter::new("a@a.test", &["b@b.test"], one),
        Letter::new("a@a.test", &["f@b.test"], one),
    ];
    assert_eq!(far.letters(), letters);
    let outcomes: BTreeMap<u64, &str> = sent
        .entries
        .iter()
        .map(|entry| (entry["line"].as_u64().unwrap(), entry["outcome"].as_str().unwrap()))
        .collect();
    let told = [(2, "delivered"), (3, "partial"), (4, "delivered"), (6, "unsent"), (7, "unsent"), (8, "unsent")];
    let further = [(10, "unsent"), (11, "unsent"), (12, "refused"), (13, "unsent"), (14, "delivered")];
    assert_eq!(outcomes, told.into_iter().chain(further).collect());
    let numbers: Vec<u64> = sent.sorted("number").iter().map(|entry| entry["line"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "in the order of the table: {numbers:?}");
    let (table, mail) = (table.to_str().unwrap(), folder.path().join("mail"));
    let mail = mail.to_str().unwrap();
    let mut complaints = sent.complaints.clone();
    complaints.sort();
    assert_eq!(
        complaints,
        [
            format!("{mail}/missing.eml (line 8): No such file or directory (os error 2)"),
            format!("{mail}/one.eml (line 12): no@b.test: {REFUSED}"),
            format!("{mail}/one.eml (line 3): no@b.test: {REFUSED}"),
            format!("{table} (line 10): the file is missing"),
            format!("{table} (line 11): list of recipients \"\" cannot go on the wire: it is empty"),
            format!("{table} (line 13): it is not UTF-8"),
            format!(
                "{table} (line 6): recipient 1 \"nobody\" cannot go on the wire: not of the form local-part@domain"
            ),
            format!("{table} (line 7): it has 3 fields, and the first line 4"),
        ]
    );
    assert_eq!(
        sent.summary[..2],
        [
            "messages: 11 (3 delivered, 1 partial, 1 refused, 0 unknown, 6 unsent)",
            "recipients: 6 accepted, 2 refused, 0 failed, 0 unknown",
        ]
    );
    assert!(sent.summary[2].starts_with("octets: 64; retries: 0; connections: "), "{:?}", sent.summary);
    assert_eq!(sent.code, 69);
}

fn what_failed_for_now_is_tried_again_for_those_alone(runtime: &str) {
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("x"), "Subject: x\r\n\r\n").unwrap();
    let mut rows = "from,to,file\n".to_owned();
    for row in 0..20 {
        rows += &format!("{row}@a.test,ok{row}@b.test;later{row}@b.test;no@b.test,x\n");
    }
    let table = folder.path().join("table.csv");
    fs::write(&table, rows).unwrap();
    let again = ["--retry", "3", "--retry-delay", "0", "--pool", "3"];
    let sent = send_to(runtime, &far, &[&["--bulk", table.to_str().unwrap()], &again[..]].concat());
    assert_eq!(sent.code, 69);
    let mut letters = Vec::new();
    for row in 0..20 {
        for to in ["later", "ok"] {
            letters.push(Letter::new(&format!("{row}@a.test"), &[&format!("{to}{row}@b.test")], "Subject: x\r\n\r\n"));
        }
    }
    letters.sort();
    assert_eq!(far.letters(), letters, "each once");
    for row in 0..20 {
        assert_eq!((far.asked(&format!("ok{row}@b.test")), far.asked(&format!("later{row}@b.test"))), (1, 3));
    }
    assert_eq!(far.asked("no@b.test"), 20, "once for each message");
    for entry in &sent.entries {
        assert_eq!((&entry["attempts"], &entry["outcome"]), (&json!(3), &json!("partial")), "{entry}");
    }
    assert_eq!(sent.complaints.len(), 20, "{:?}", sent.complaints);
    assert_eq!(sent.summary[1], "recipients: 40 accepted, 20 refused, 0 failed, 0 unknown");
    assert!(sent.summary[2].starts_with("octets: 280; retries: 40; connections: "), "{:?}", sent.summary);

    // The last one is the last.
    let once = send_to(runtime, &far, &["--from", "a@a.test", "--to", "never@b.test"]);
    assert_eq!((once.code, far.asked("never@b.test"), &once.entries[0]["attempts"]), (75, 1, &json!(1)));
    let thrice = send_to(runtime, &far, &[&["--from", "a@a.test", "--to", "never@b.test"], &again[..]].concat());
    assert_eq!((thrice.code, far.asked("never@b.test"), &thrice.entries[0]["attempts"]), (75, 5, &json!(4)));
    assert_eq!(thrice.complaints, [format!("the message: never@b.test: {LATER}")]);
}

/// A maildir with these files.
fn maildir(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for part in ["new", "cur", "tmp"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    for (file, content) in files {
        fs::write(folder.path().join(file), content).unwrap();
    }
    folder
}

fn a_maildir_goes_to_whom_its_header_fields_name(runtime: &str) {
    let delivered =
        "Return-Path: <>\r\nDelivered-To: last@b.test\r\nDelivered-To: first@b.test\r\nTo: x@b.test\r\n\r\n";
    let submitted = "From: \"Joe, of a\" <joe@a.test>, ann@a.test\r\nTo: B <b@b.test>,\r\n c@b.test\r\n\
                     Bcc: e@b.test,\r\n f@b.test\r\nCc: Many: d@b.test, b@b.test;\r\nBCC: g@b.test\r\n\r\nBcc: text\r\n";
    let shown = "From: \"Joe, of a\" <joe@a.test>, ann@a.test\r\nTo: B <b@b.test>,\r\n c@b.test\r\n\
                 Cc: Many: d@b.test, b@b.test;\r\n\r\nBcc: text\r\n";
    let returned = "Return-Path: <jane@a.test>\r\nFrom: joe@a.test\r\nTo: no@b.test\r\n\r\n";
    let folder = maildir(&[
        ("new/1", delivered),
        ("cur/2:2,S", submitted),
        ("cur/3", returned),
        ("cur/4", "From: joe@a.test\r\nSubject: nobody\r\n\r\n"),
        ("cur/5", "To: b@b.test\r\n\r\n"),
        ("cur/6", ""),
        ("tmp/7", "From: joe@a.test\r\nTo: b@b.test\r\n\r\n"),
        ("cur/.hidden", "From: joe@a.test\r\nTo: b@b.test\r\n\r\n"),
    ]);
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let sent = send_to(runtime, &far, &["--bulk", folder.path().to_str().unwrap()]);
    let all = ["b@b.test", "c@b.test", "e@b.test", "f@b.test", "d@b.test", "g@b.test"];
    assert_eq!(far.letters(), [Letter::new("", &["last@b.test"], delivered), Letter::new("joe@a.test", &all, shown)]);
    let path = folder.path().to_str().unwrap();
    let mut complaints = sent.complaints;
    complaints.sort();
    assert_eq!(
        complaints,
        [
            format!("{path}/cur/3: no@b.test: {REFUSED}"),
            format!("{path}/cur/4: its header fields name no recipient"),
            format!("{path}/cur/5: its header fields name no sender"),
            format!("{path}/cur/6: its header fields name no sender"),
        ]
    );
    assert_eq!(sent.summary[0], "messages: 6 (2 delivered, 0 partial, 1 refused, 0 unknown, 3 unsent)");
    assert_eq!(sent.code, 69);
}

fn flags_say_to_whom_a_maildir_goes(runtime: &str) {
    let content = "Return-Path: <x@a.test>\r\nTo: y@b.test\r\nBcc: z@b.test\r\n\r\n";
    let folder = maildir(&[("new/1", content), ("cur/2", "")]);
    let bulk = ["--bulk", folder.path().to_str().unwrap()];
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let sent = send_to(runtime, &far, &[&bulk, &["--from", "a@a.test", "--to", "b@b.test", "c@b.test"][..]].concat());
    let to = ["b@b.test", "c@b.test"];
    // Where flags name the recipients, a Bcc field is like any other.
    assert_eq!(far.letters(), [Letter::new("a@a.test", &to, ""), Letter::new("a@a.test", &to, content)]);
    assert_eq!(sent.code, 0);
    let sent = send_to(runtime, &far, &[&bulk, &["--from", ""][..]].concat());
    let letter = Letter::new("", &["y@b.test", "z@b.test"], "Return-Path: <x@a.test>\r\nTo: y@b.test\r\n\r\n");
    assert_eq!((&far.letters()[0], sent.code), (&letter, 65));
}

fn large_messages_of_a_bulk_arrive_whole(runtime: &str) {
    let text = "a line of text.\r\n.\r\n".repeat(20_000);
    let (open, hidden) = ("From: a@a.test\r\nTo: later1@b.test\r\n", "Bcc: b@b.test\r\n");
    let whole = format!("{open}\r\n{text}");
    let endless = format!("From: a@a.test\r\nTo: c@b.test\r\nX: {}", "\r\n x".repeat(100_000));
    let folder = maildir(&[
        ("new/1", &whole),
        ("new/2", &format!("{open}{hidden}\r\n{text}")),
        ("new/3", &endless),
        ("new/4", "From: a@a.test\r\nTo: d@b.test\r\n\r\n"),
    ]);
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let again = ["--retry", "2", "--retry-delay", "0", "--pool", "2"];
    let sent = send_to(runtime, &far, &[&["--bulk", folder.path().to_str().unwrap()], &again[..]].concat());
    let mut letters = far.letters();
    let contents: Vec<String> = letters.iter_mut().map(|letter| std::mem::take(&mut letter.content)).collect();
    let to = [&["b@b.test"][..], &["d@b.test"], &["later1@b.test"], &["later1@b.test"]];
    assert_eq!(letters, to.map(|to| Letter::new("a@a.test", to, "")), "{:?}", sent.complaints);
    for (index, content) in contents.iter().enumerate().filter(|(index, _)| *index != 1) {
        assert!(*content == whole, "{index}");
    }
    let complaint = format!("{}/new/3: its header section is too large", folder.path().display());
    assert_eq!((sent.complaints, sent.code), (vec![complaint], 66));

    let table = folder.path().join("table.csv");
    fs::write(&table, "from,to,file\n,later2@b.test,new/1\n,no@b.test,new/1\n").unwrap();
    let sent = send_to(runtime, &far, &[&["--bulk", table.to_str().unwrap()], &again[..]].concat());
    assert!(far.letters()[0] == Letter::new("", &["later2@b.test"], &whole), "{:?}", sent.complaints);
    assert_eq!(sent.summary[1], "recipients: 1 accepted, 1 refused, 0 failed, 0 unknown");
}

fn everything_is_sent_as_often_as_asked_for(runtime: &str) {
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let folder = TempDir::new().unwrap();
    let files = ["one", "two"].map(|name| {
        let file = folder.path().join(name);
        fs::write(&file, format!("Subject: {name}\n")).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let envelope = ["--from", "a@a.test", "--to", "b@b.test"];
    let (one, two) = (["--file", &files[0]], ["--file", &files[1]]);
    let sent = send_to(runtime, &far, &[&envelope[..], &one, &two, &["--repeat", "3"]].concat());
    let letter = |name: &str| Letter::new("a@a.test", &["b@b.test"], &format!("Subject: {name}\r\n"));
    let [one, two] = [letter("one"), letter("two")];
    assert_eq!(far.letters(), [&one, &one, &one, &two, &two, &two].map(Letter::clone));
    let numbers = sent.sorted("number").into_iter().map(|entry| (entry["number"].clone(), entry["file"].clone()));
    let told = [0, 1, 2, 3, 4, 5].map(|index| (json!(index + 1), json!(files[index % 2])));
    assert_eq!(numbers.collect::<Vec<_>>(), told);
    assert_eq!((sent.code, sent.complaints), (0, Vec::new()));
    assert!(sent.summary[2].starts_with("octets: 78; retries: 0; connections: 1; seconds: "), "{:?}", sent.summary);

    let table = folder.path().join("table.csv");
    fs::write(&table, "from,to,file\n,b@b.test,one\n").unwrap();
    let bulk = ["--bulk", table.to_str().unwrap(), "--repeat"];
    for (repeat, count) in [("2", 2), ("0", 0)] {
        let sent = send_to(runtime, &far, &[&bulk[..], &[repeat]].concat());
        assert_eq!((sent.code, sent.entries.len(), far.letters().len()), (0, count, count));
        assert!(sent.summary[0].starts_with(&format!("messages: {count} ({count} delivered")), "{:?}", sent.summary);
    }
}

fn flags_become_parameters_of_mail_and_rcpt(runtime: &str) {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new().unwrap();
    let certificate = authority.server(&["127.0.0.1"]).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, pem) = (file("ca.pem", authority.pem()), file("certificate.pem", &certificate.certificate));
    let (key, user) = (file("key.pem", &certificate.key), format!("jane:{PASSWORD}"));
    let table = {
        file("x", "Subject: x\n");
        file("table.csv", "from,to,file\na@a.test,b@b.test c@b.test,x\n")
    };
    let extensions = ["--extensions", "DSN,DELIVERBY,FUTURERELEASE,MT-PRIORITY", "--auth", &user, "--require-auth"];
    let tls = ["--listen", "127.0.0.1:0", "--tls-cert", &pem, "--tls-key", &key];
    let mut receive = Tool::start(runtime, tls.into_iter().chain(extensions));
    let address = receive.address();
    let server = ["--server", &address, "--tls", "required", "--ca", &ca, "--auth", &user];
    let flags = ["--dsn-ret", "hdrs", "--dsn-envid", "QQ=1", "--deliver-by", "120;R", "--hold", "60", "--requiretls"];
    let further = ["--priority", "-3", "--dsn", "success,DELAY"];
    for messages in [&["--from", "a@a.test", "--to", "b@b.test", "c@b.test"][..], &["--bulk", &table]] {
        let sent = send(runtime, &[&server, messages, &flags, &further].concat());
        assert_eq!(sent.code, 0, "{:?}", sent.complaints);
        let events = receive.session();
        let found = |name: &'static str| events.iter().filter(move |event| event["event"] == name);
        let mail = found("mail").next().unwrap();
        let told = ["ret", "envelope_id", "by", "hold", "requiretls", "priority"].map(|member| mail[member].clone());
        assert_eq!(
            told,
            [json!("HDRS"), json!("QQ+3D1"), json!("120;R"), json!("HOLDFOR=60"), json!(true), json!("-3")]
        );
        assert_eq!(found("rcpt").count(), 2);
        assert!(found("rcpt").all(|rcpt| rcpt["notify"] == "SUCCESS,DELAY"), "{events:?}");
    }
    let flags = ["--dsn", "never", "--dsn-ret", "FULL", "--hold", "2999-01-31T12:00:00Z"];
    let sent = send(runtime, &[&server[..], &["--from", "", "--to", "b@b.test"], &flags[..4]].concat());
    assert_eq!(sent.code, 0, "{:?}", sent.complaints);
    let events = receive.session();
    let event = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
    assert_eq!((&event("mail")["ret"], &event("rcpt")["notify"]), (&json!("FULL"), &json!("NEVER")));
    // Later than this server would hold it.
    let sent = send(runtime, &[&server[..], &["--from", "", "--to", "b@b.test"], &flags[4..]].concat());
    assert_eq!((sent.code, &sent.entries[0]["outcome"]), (69, &json!("refused")), "{:?}", sent.complaints);
}

fn what_the_server_has_not_is_told(runtime: &str) {
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let envelope = ["--from", "a@a.test", "--to", "b@b.test"];
    let sent = send_to(runtime, &far, &[&envelope[..], &["--dsn", "never", "--priority", "1"]].concat());
    assert_eq!((sent.code, &sent.entries[0]["left_out"]), (0, &json!(["DSN", "MT-PRIORITY"])));
    assert_eq!(far.letters().len(), 1);
    let sent = send_to(runtime, &far, &[&envelope[..], &["--hold", "60"]].concat());
    assert_eq!((sent.code, &sent.entries[0]["outcome"]), (69, &json!("refused")));
    assert!(sent.complaints[0].contains("FUTURERELEASE"), "{:?}", sent.complaints);
    assert_eq!(far.letters(), []);
    assert_eq!(sent.summary[1], "recipients: 0 accepted, 0 refused, 1 failed, 0 unknown");
}

fn content_is_transferred_as_asked_for(runtime: &str) {
    for (chunking, body, verb) in [
        (true, "auto", Some("BDAT")),
        (true, "data", Some("DATA")),
        (true, "bdat", Some("BDAT")),
        (false, "auto", Some("DATA")),
        (false, "bdat", None),
    ] {
        let mut config = Config::new("far.example").unwrap();
        config.chunking = chunking;
        let far = Far::start(runtime, config);
        let flags = ["--from", "a@a.test", "--to", "b@b.test", "--transcript", "--body", body];
        let sent = send_to(runtime, &far, &flags);
        let verbs: Vec<_> = ["BDAT", "DATA"]
            .into_iter()
            .filter(|verb| sent.stderr.lines().any(|line| line.starts_with(&format!("C: {verb}"))))
            .collect();
        assert_eq!(verbs, Vec::from_iter(verb), "{chunking} {body}");
        assert_eq!((far.letters().len(), sent.code == 0), (verbs.len(), verb.is_some()), "{chunking} {body}");
    }
}

fn lmtp_is_spoken_over_tcp_and_unix_sockets(runtime: &str) {
    // LMTP-003
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("socket");
    let socket = socket.to_str().unwrap();
    let options = ["--listen", "127.0.0.1:0", "--unix", socket, "--lmtp"];
    let refused = ["--reject-for", "full@b.test=452 4.2.2 Mailbox full"];
    let mut receive = Tool::start(runtime, options.into_iter().chain(refused));
    let address = receive.address();
    receive.address();
    let (url, unix_url) = (format!("lmtp://{address}?tls=none&retries=0"), format!("lmtp+unix://{socket}?retries=0"));
    for place in
        [&["--lmtp", "--server", &address][..], &["--lmtp", "--unix", socket], &["--url", &url], &["--url", &unix_url]]
    {
        let sent = send(runtime, &[place, &["--from", "a@a.test", "--to", "b@b.test", "full@b.test"]].concat());
        assert_eq!(sent.entries[0]["outcome"], "partial", "{place:?}: {:?}", sent.entries);
        let complaint = "refused while waiting for the verdict on the message: 452 4.2.2 Mailbox full";
        assert_eq!(sent.complaints, [format!("the message: full@b.test: {complaint}")]);
        assert_eq!(sent.code, 75, "{place:?}");
        let events = receive.session();
        assert!(events.iter().any(|event| event["event"] == "message"), "{events:?}");
    }
    let mut receive = Tool::start(runtime, ["--unix", &format!("{socket}2")]);
    receive.address();
    let sent = send(runtime, &["--unix", &format!("{socket}2"), "--from", "a@a.test", "--to", "b@b.test"]);
    assert_eq!(sent.code, 0, "SMTP: {:?}", sent.complaints);
}

fn urls_say_where_and_how(runtime: &str) {
    let user = format!("jane:{PASSWORD}");
    let options = ["--listen", "127.0.0.1:0", "--auth", &user, "--require-auth", "--allow-clear-text-auth"];
    let mut receive = Tool::start(runtime, options);
    let address = receive.address();
    let url = format!("smtp://{user}@{address}?tls=none&hello=url.example&transfer=data&retries=0");
    let envelope = ["--url", &url, "--from", "a@a.test", "--to", "b@b.test", "--transcript"];
    for (flags, hello, verb) in [
        (&[][..], "url.example", "DATA"),
        (&["--hello", "flag.example", "--body", "bdat", "--pool", "2", "--rate", "9/m"], "flag.example", "BDAT"),
    ] {
        let sent = send(runtime, &[&envelope, flags].concat());
        assert_eq!(sent.code, 0, "{:?}", sent.complaints);
        let said = |line: &str| sent.stderr.lines().any(|said| said.starts_with(line));
        assert!(said(&format!("C: EHLO {hello}")) && said(&format!("C: {verb}")) && said("C: AUTH"), "{}", sent.stderr);
        receive.session();
    }
}

fn a_pool_has_as_many_connections_as_asked_for(runtime: &str) {
    let far = Far::waiting_for_sessions(2);
    let sent = send_to(runtime, &far, &["--from", "a@a.test", "--to", "b@b.test", "--pool", "2", "--repeat", "200"]);
    assert_eq!((sent.code, far.letters().len(), far.sessions()), (0, 200, 2), "{:?}", sent.complaints);
    assert!(sent.summary[2].contains("; connections: 2; "), "{:?}", sent.summary);
}

fn a_rate_is_kept_to(runtime: &str) {
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let flags = ["--from", "a@a.test", "--to", "b@b.test", "--pool", "3", "--repeat", "3", "--rate", "2"];
    let began = Instant::now();
    let sent = send_to(runtime, &far, &flags);
    assert!(began.elapsed() >= Duration::from_secs(1), "three in {:?}", began.elapsed());
    assert_eq!((sent.code, far.letters().len()), (0, 3));
}

fn a_refused_login_is_not_tried_for_every_message(runtime: &str) {
    let options = ["--listen", "127.0.0.1:0", "--auth", "jane:other", "--require-auth", "--allow-clear-text-auth"];
    let mut receive = Tool::start(runtime, options);
    let (address, user) = (receive.address(), format!("jane:{PASSWORD}"));
    let server = ["--server", &address, "--auth", &user, "--from", "a@a.test", "--to", "b@b.test"];
    let sent = send(runtime, &[&server[..], &["--mechanism", "SCRAM-SHA-256", "--repeat", "3000"]].concat());
    assert_eq!((sent.code, &sent.entries[0]["reply"]["code"]), (77, &json!(535)), "{:?}", sent.entries[0]);
    assert!(sent.entries.len() < 3000, "{}", sent.entries.len());
    assert!(sent.complaints.iter().any(|line| line.starts_with("no further messages are sent")));
}

fn a_session_that_the_server_closes_is_held_against_one_message_alone(runtime: &str) {
    // With the twentieth error, while others are on their way.
    let options = ["--listen", "127.0.0.1:0", "--reject-rcpt", "no@b.test=550 5.1.1 No such user"];
    let mut receive = Tool::start(runtime, options);
    let address = receive.address();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("x"), "Subject: x\n").unwrap();
    let table = folder.path().join("table.csv");
    fs::write(&table, "from,to,file\n".to_owned() + &",no@b.test,x\n".repeat(30) + &",b@b.test,x\n".repeat(30))
        .unwrap();
    let sent = send(runtime, &["--server", &address, "--bulk", table.to_str().unwrap()]);
    assert_eq!(sent.summary[1], "recipients: 30 accepted, 29 refused, 1 failed, 0 unknown", "{:?}", sent.complaints);
    assert_eq!(sent.complaints.iter().filter(|line| line.contains("421")).count(), 1);
}

fn what_cannot_be_read_is_told_before_anything_is_sent(runtime: &str) {
    let far = Far::start(runtime, Config::new("far.example").unwrap());
    let folder = TempDir::new().unwrap();
    let (missing, table) = (folder.path().join("missing"), folder.path().join("table.csv"));
    let (missing, table) = (missing.to_str().unwrap(), table.to_str().unwrap());
    fs::write(table, "from,to,path\na@a.test,b@b.test,x\n").unwrap();
    let envelope = ["--from", "a@a.test", "--to", "b@b.test", "--file"];
    let no_such_file = format!("{missing}: No such file or directory (os error 2)");
    let no_column =
        format!("{table} (line 1): there is no column \"file\": the first line has to name from, to and file");
    for (flags, code, complaint) in [
        (&[&envelope[..], &[table, "--file", missing]].concat(), 66, &no_such_file),
        (&vec!["--bulk", missing], 66, &no_such_file),
        (&vec!["--bulk", table], 65, &no_column),
    ] {
        let sent = send_to(runtime, &far, flags);
        assert_eq!((sent.code, sent.stderr.trim_end()), (code, &*format!("send: {complaint}")));
        assert!(sent.entries.is_empty());
    }
    assert_eq!((far.letters().len(), far.sessions()), (0, 0));
}

fn a_server_that_is_not_there_may_be_there_later(runtime: &str) {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("socket");
    let socket = socket.to_str().unwrap();
    let flags = ["--unix", socket, "--from", "a@a.test", "--to", "b@b.test", "--retry", "2", "--retry-delay", "0"];
    let Sent { code, entries, complaints, summary, .. } = send(runtime, &flags);
    assert_eq!((code, &entries[0]["outcome"], &entries[0]["reply"]), (75, &json!("refused"), &Value::Null));
    let error = format!("cannot connect to {socket}: No such file or directory (os error 2)");
    assert_eq!((entries[0]["error"].as_str(), complaints), (Some(&*error), vec![format!("the message: {error}")]));
    assert_eq!(summary[1], "recipients: 0 accepted, 0 refused, 1 failed, 0 unknown");
    assert!(summary[2].starts_with("octets: 0; retries: 2; connections: 0; "), "{summary:?}");
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    let url = format!("smtp://jane:{PASSWORD}@mail.example");
    let bad_url = format!("{url}?ca=x");
    let envelope = ["--from", "a@a.test", "--to", "b@b.test"];
    let server = ["--server", "localhost"];
    for (flags, said) in [
        (&[][..], "--server is missing, or --unix, --url or --mx"),
        (&["--server", "localhost:25", "--lmtp"], "LMTP must not be spoken on port 25"),
        (&["--server", "localhost:0"], "the port is not a number from 1 to 65535"),
        (&["--server", "jane@localhost"], "what more a URL can say is for --url"),
        (&["--server", "localhost", "--unix", "x"], "--server and --unix both say where to send"),
        (&["--mx", "b.test", "--url", &url], "--url and --mx both say where to send"),
        (&["--unix", "x", "--tls", "required"], "there is no TLS at a Unix socket"),
        (&["--url", &url, "--lmtp"], "--url says that itself: --lmtp has to go"),
        (&["--url", &url, "--tls", "none"], "--url says that itself: --tls has to go"),
        (&["--url", &url, "--auth", "jane:x"], "--url says that itself: --auth has to go"),
        (&["--url", &bad_url], "--url: there is an unknown option"),
        (&["--url", "http://localhost"], "--url: it does not begin with smtp://"),
        (&["--mx", "[192.0.2.1]"], "it is no domain name"),
        (&["--mx", "b.test", "--lmtp"], "mail exchangers are at port 25, where LMTP must not be spoken"),
        (&["--mx", "b.test", "--to", "postmaster"], "--mx: Postmaster has no domain name"),
        (&["--mx", "b.test", "--to", "a@[127.0.0.1]"], "--mx: a@[127.0.0.1] has no domain name"),
    ] {
        let said_so = complaint(&[&["--runtime", "tokio"], flags, &envelope].concat());
        assert!(said_so.contains(said) && !said_so.contains(PASSWORD), "{flags:?}: {said_so}");
    }
    for (flags, said) in [
        (&["--from", "a@a.test"][..], "--to is missing"),
        (&["--to", "b@b.test"], "--from is missing"),
        (&["--from", "a@a.test", "--to", "nobody"], "\"nobody\" cannot go on the wire"),
        (&["--bulk", folder], "it has neither new nor cur, so that it is no maildir"),
        (&["--bulk", "x.csv", "--from", "a@a.test"], "--from and --to have to go"),
        (&["--bulk", "x.csv", "--file", "x"], "--file has to go"),
        (&["--pool", "0"], "a number from 1 on"),
        (&["--retry", "-1"], "-1"),
        (&["--retry-delay", "soon"], "a number of seconds"),
        (&["--rate", "0"], "a number from 1 on, with /s, /m or /h behind it"),
        (&["--rate", "1/d"], "a number from 1 on, with /s, /m or /h behind it"),
        (&["--body", "chunks"], "one of auto, data, bdat"),
        (&["--dsn", "always"], "never, or some of success, failure and delay"),
        (&["--dsn", "never RRVS=2014-04-03T23:01:00Z"], "never, or some of success, failure and delay"),
        (&["--dsn-ret", "all"], "full or hdrs"),
        (&["--dsn-envid", "\u{e9}"], "printable characters of ASCII"),
        (&["--deliver-by", "60"], "SECONDS;R or SECONDS;N"),
        (&["--hold", "0"], "a number of seconds, or a time"),
        (&["--hold", "12:00"], "a number of seconds, or a time"),
        (&["--priority", "10"], "a number from -9 to 9"),
        (&["--mechanism", "PLAIN"], "--auth is missing"),
        (&["--ca", "x.pem"], "--ca and --tls-name need --tls"),
        (&["--connections", "2"], "--connections"),
    ] {
        let said_so = complaint(&[&["--runtime", "tokio"], &server[..], flags].concat());
        assert!(said_so.contains(said), "{flags:?}: {said_so}");
    }
    for runtime in ["async-std", "blocking"] {
        let said_so = complaint(&[&["--runtime", runtime, "--mx", "b.test"], &envelope[..]].concat());
        assert_eq!(said_so, format!("send: --mx needs --runtime tokio: there is no resolver for {runtime} here"));
    }
    assert!(complaint(&[&server, &envelope[..]].concat()).contains("--runtime is missing"));
}
