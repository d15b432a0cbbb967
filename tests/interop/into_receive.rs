//! Peers that send to `receive`.

use std::collections::HashSet;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::messages::{self, Message, RECIPIENTS, SENDER};
use crate::support::nodemailer::Nodemailer;
use crate::support::peers;
use crate::support::process::{Finished, run};
use crate::support::smtplib::Smtplib;
use crate::support::tools::{Receive, sessions, text, texts};

on_each_runtime!(
    smtp_source_delivers_2000_messages_in_20_kept_sessions,
    swaks_delivers_every_message_unchanged_with_pipelining,
    msmtp_delivers_every_message_unchanged,
    curl_delivers_every_message_unchanged,
    smtplib_delivers_every_message_unchanged,
    smtplib_is_told_which_recipient_receive_refuses,
    nodemailer_delivers_every_message_unchanged,
);

fn smtp_source_delivers_2000_messages_in_20_kept_sessions(runtime: &str) {
    const MESSAGES: usize = 2000;
    const SESSIONS: usize = 20;
    const PAYLOAD: usize = 4096;

    let Some(smtp_source) = peers::program("smtp-source", "Debian package postfix") else {
        return;
    };
    let mut receive = Receive::start(runtime, &[]);
    run(
        Command::new(smtp_source)
            .args(["-s", &SESSIONS.to_string(), "-m", &MESSAGES.to_string()])
            .args(["-l", &PAYLOAD.to_string()])
            // Keep connections; three recipients each, all of them different.
            .args(["-d", "-r", "3", "-N"])
            .args(["-M", "source.example", "-f", SENDER, "-t", "user@example.net"])
            .arg(receive.address().to_string()),
        Stdio::null(),
    )
    .expect_success();

    let body = smtp_source_body(PAYLOAD);
    let mut hashes = HashSet::new();
    let mut recipients = HashSet::new();
    for _ in 0..MESSAGES {
        let event = receive.next_message();
        assert_eq!(text(&event, "reverse_path"), SENDER);
        let three = texts(&event, "recipients");
        assert_eq!(three.len(), 3, "{event}");
        recipients.extend(three.into_iter().map(str::to_owned));
        hashes.insert(text(&event, "sha256").to_owned());

        let content = String::from_utf8(receive.stored(&event)).expect("ASCII");
        let (header, received) = content.split_once("\r\n\r\n").expect("a body");
        assert_eq!(received, body, "{event}");
        // The messages are not all of one size: the number in the Message-Id
        // has four digits, and eight at the end, when it is below zero.
        let fields: Vec<&str> = header.split("\r\n").collect();
        assert_eq!(fields[0], format!("From: <{SENDER}>"));
        assert_eq!(fields[1], "To: <user@example.net>");
        assert!(fields[2].starts_with("Date: "), "{header}");
        assert!(fields[3].starts_with("Message-Id: <"), "{header}");
        assert_eq!(fields.len(), 4, "{header}");
    }
    let events = receive.stop();

    // Each message has a Message-Id of its own, so no two are the same.
    assert_eq!(hashes.len(), MESSAGES);
    assert_eq!(recipients.len(), 3 * MESSAGES);
    assert!(recipients.iter().all(|address| address.ends_with("user@example.net")));
    assert_eq!(sessions(&events, "message").len(), MESSAGES);
    assert_eq!(sessions(&events, "connect").len(), SESSIONS);
    assert_eq!(sessions(&events, "quit").len(), SESSIONS);
}

/// What smtp-source sends after the header for `-l length`: that many octets
/// of X in lines of 80 with their CRLF, each full line but the last begun
/// with its number; then CRLF, which the length does not include.
fn smtp_source_body(length: usize) -> String {
    let mut body = vec![b'X'; length];
    for end in (80..length).step_by(80) {
        body[end - 80] = b"0123456789"[end / 80 % 10];
        body[end - 2] = b'\r';
        body[end - 1] = b'\n';
    }
    body.extend_from_slice(b"\r\n");
    String::from_utf8(body).expect("ASCII")
}

/// Lets a peer deliver each message of the set, each in a run of its own, and
/// checks that it arrived as it was, for all recipients.
fn deliver_all(runtime: &str, peer: impl Fn(SocketAddr, &Message) -> Finished) {
    let mut receive = Receive::start(runtime, &[]);
    for message in messages::all() {
        peer(receive.address(), message).expect_success();
        let event = receive.next_message();
        assert_eq!(text(&event, "reverse_path"), SENDER);
        assert_eq!(texts(&event, "recipients"), RECIPIENTS);
        message.assert_same(&receive.stored(&event));
        assert_eq!(text(&event, "sha256"), message.sha256);
    }
    let events = receive.stop();
    assert_eq!(sessions(&events, "message").len(), messages::all().len());
}

fn swaks_delivers_every_message_unchanged_with_pipelining(runtime: &str) {
    let Some(swaks) = peers::program("swaks", "Debian package swaks") else {
        return;
    };
    deliver_all(runtime, |server, message| {
        let folder = TempDir::new().expect("a folder");
        // swaks takes a final line with a dot as the end of the data. Without
        // one it would add a line end to what is in the file.
        let file = message.write_to(folder.path(), b".\r\n");
        run(
            Command::new(&swaks)
                .env("HOME", folder.path())
                .args(["--server", &server.to_string(), "--helo", "swaks.example"])
                .args(["--from", SENDER, "--to", &RECIPIENTS.join(",")])
                .args(["--data", &format!("@{}", file.display())])
                .args(["--pipeline", "--silent", "2"]),
            Stdio::null(),
        )
    });
}

fn msmtp_delivers_every_message_unchanged(runtime: &str) {
    let Some(msmtp) = peers::program("msmtp", "Debian package msmtp") else {
        return;
    };
    deliver_all(runtime, |server, message| {
        let folder = TempDir::new().expect("a folder");
        // msmtp is written to be called as sendmail: it expects LF line ends.
        let file = message.write_with_lf(folder.path());
        run(
            // With --host it reads no configuration file.
            Command::new(&msmtp)
                .args(["--host", &server.ip().to_string()])
                .args(["--port", &server.port().to_string()])
                .args(["--domain=msmtp.example", "--auth=off", "--tls=off"])
                .args(["--from", SENDER, "--"])
                .args(RECIPIENTS),
            File::open(&file).expect("the message").into(),
        )
    });
}

fn curl_delivers_every_message_unchanged(runtime: &str) {
    let Some(curl) = peers::program("curl", "Debian package curl") else {
        return;
    };
    deliver_all(runtime, |server, message| {
        let folder = TempDir::new().expect("a folder");
        let file = message.write_to(folder.path(), b"");
        run(
            // -q first: no configuration file.
            Command::new(&curl)
                .args(["-q", "--silent", "--show-error", "--noproxy", "*"])
                // The path is the name for EHLO.
                .arg(format!("smtp://{server}/curl.example"))
                .args(["--mail-from", SENDER])
                .args(RECIPIENTS.iter().flat_map(|address| ["--mail-rcpt", address]))
                .arg("--upload-file")
                .arg(file),
            Stdio::null(),
        )
    });
}

fn smtplib_delivers_every_message_unchanged(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else {
        return;
    };
    deliver_all(runtime, |server, message| {
        let sent = smtplib.send(server, message, SENDER, &RECIPIENTS, &json!({}));
        assert_eq!(sent.stdout, ["{}"], "{}", sent.stderr);
        sent
    });
}

fn smtplib_is_told_which_recipient_receive_refuses(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else {
        return;
    };
    let [one, two, three] = RECIPIENTS;
    let refusal = format!("{two}=550 5.1.1 No such user here");
    let mut receive = Receive::start(runtime, &["--reject-rcpt", &refusal]);
    let message = &messages::all()[0];
    let sent = smtplib.send(receive.address(), message, SENDER, &RECIPIENTS, &json!({})).expect_success();
    let refused: Value = serde_json::from_str(&sent.stdout[0]).expect("JSON");
    assert_eq!(refused, json!({ two: [550, "5.1.1 No such user here"] }));
    let event = receive.next_message();
    assert_eq!(texts(&event, "recipients"), [one, three]);
    message.assert_same(&receive.stored(&event));
    receive.stop();
}

fn nodemailer_delivers_every_message_unchanged(runtime: &str) {
    let Some(nodemailer) = Nodemailer::find() else {
        return;
    };
    deliver_all(runtime, |server, message| nodemailer.send(server, message));
}
