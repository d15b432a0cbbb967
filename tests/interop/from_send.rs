//! `send` delivering to peers.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::messages::{self, Message, RECIPIENTS, SENDER};
use crate::support::peers;
use crate::support::postfix::{Additions, Postfix, received_field};
use crate::support::process::Process;
use crate::support::smtp_sink;
use crate::support::tools::{Receive, reports, send, send_all, send_files, text, texts};

on_each_runtime!(
    smtp_sink_counts_2000_messages_and_every_session_says_quit,
    smtp_sink_failures_are_reported_for_what_they_are,
    smtp_sink_aborting_in_the_content_is_heard,
    aiosmtpd_gets_every_message_unchanged,
    aiosmtpd_gets_crlf_line_ends_from_files_with_lf,
    aiosmtpd_gets_what_send_streams_from_a_file_unchanged,
    aiosmtpd_refuses_one_of_three_recipients_and_gets_every_message_unchanged,
    postfix_queues_every_message_and_relays_it_unchanged_to_receive,
);

/// The recipient that the refusing servers do not know.
const REFUSED: &str = RECIPIENTS[1];
const ACCEPTED: [&str; 2] = [RECIPIENTS[0], RECIPIENTS[2]];

fn smtp_sink_counts_2000_messages_and_every_session_says_quit(runtime: &str) {
    const MESSAGES: usize = 2000;
    const CONNECTIONS: usize = 10;

    let Some((mut sink, server)) = smtp_sink::start(&["-c"]) else { return };
    let finished = send(
        runtime,
        server,
        [
            "--from",
            SENDER,
            "--to",
            RECIPIENTS[0],
            "--repeat",
            &MESSAGES.to_string(),
            "--pool",
            &CONNECTIONS.to_string(),
        ],
    )
    .expect_success();
    let reports = reports(&finished);
    assert_eq!(reports.len(), MESSAGES);
    for report in &reports {
        assert_eq!(report["outcome"], "delivered", "{report}");
        assert_eq!(report["reply"]["code"], 250, "{report}");
        assert_eq!(report["error"], Value::Null, "{report}");
        assert_accepted(report, RECIPIENTS[0]);
    }

    // The sink counts at each end of a message and of a session. The session
    // more is the one that waited for the sink to listen.
    let sessions = CONNECTIONS + 1;
    let all = format!("sess={sessions} quit={sessions} mesg={MESSAGES}");
    let mut counted = String::new();
    while counted != all {
        match sink.next_line() {
            Some(line) => counted = line,
            None => sink.fail("ended"),
        }
    }
    // Nothing comes after that.
    sink.terminate();
    assert_eq!(sink.next_line(), None);
}

/// What `send` reports if smtp-sink is told to do something: the outcome of
/// the message and of each recipient, the code of the reply, the exit code.
type Failure = (&'static [&'static str], &'static str, &'static str, Option<u16>, i32);

const FAILURES: [Failure; 12] = [
    // -f: refuse for good; -r: for now; -Q: reply 421 and disconnect; -q:
    // disconnect without a reply.
    (&["-f", "MAIL"], "refused", "refused", Some(500), 69),
    (&["-r", "MAIL"], "refused", "refused", Some(450), 75),
    (&["-f", "RCPT"], "refused", "refused", Some(500), 69),
    (&["-r", "RCPT"], "refused", "refused", Some(450), 75),
    (&["-q", "RCPT"], "refused", "failed", None, 75),
    (&["-f", "DATA"], "refused", "refused", Some(500), 69),
    (&["-Q", "DATA"], "refused", "refused", Some(421), 75),
    (&["-f", "."], "refused", "refused", Some(500), 69),
    (&["-Q", "."], "refused", "refused", Some(421), 75),
    // Nobody can tell whether it took the message.
    (&["-q", "."], "unknown", "unknown", None, 75),
    // After the message was taken it is delivered, whatever comes.
    (&["-q", "QUIT"], "delivered", "accepted", Some(250), 0),
    // No EHLO: no failure either.
    (&["-e"], "delivered", "accepted", Some(250), 0),
];

fn smtp_sink_failures_are_reported_for_what_they_are(runtime: &str) {
    for (options, outcome, each, code, exit) in FAILURES {
        let Some((_sink, server)) = smtp_sink::start(options) else { return };
        let [one, two, _] = RECIPIENTS;
        let finished = send(runtime, server, ["--from", SENDER, "--to", one, "--to", two]);
        let reports = reports(&finished);
        let [report] = &reports[..] else {
            panic!("{options:?}: {reports:?}");
        };
        assert_eq!(report["outcome"], outcome, "{options:?}: {report}");
        for address in [one, two] {
            let recipient = recipient_in(report, address);
            assert_eq!(recipient["outcome"], each, "{options:?}: {report}");
            let found = recipient["code"].as_u64();
            assert_eq!(found, code.map(u64::from), "{options:?}: {report}");
        }
        assert_eq!(finished.status.code(), Some(exit), "{options:?}: {report}");
    }
}

/// Refuses in the middle of the content and closes without reading the rest.
fn smtp_sink_aborting_in_the_content_is_heard(runtime: &str) {
    let Some((_sink, server)) = smtp_sink::start(&["-A", "1"]) else { return };
    let folder = TempDir::new().unwrap();
    let big = folder.path().join("big");
    fs::write(&big, "a line that is repeated many times over\r\n".repeat(250_000)).unwrap();
    let finished = send(runtime, server, ["--from", SENDER, "--to", RECIPIENTS[0], "--file", big.to_str().unwrap()]);
    let report = &reports(&finished)[0];
    let recipient = recipient_in(report, RECIPIENTS[0]);
    assert_eq!((&recipient["outcome"], recipient["code"].as_u64()), (&"refused".into(), Some(550)), "{report}");
    assert_eq!(finished.status.code(), Some(69), "{report}");
}

fn aiosmtpd_gets_every_message_unchanged(runtime: &str) {
    let Some(mut peer) = Aiosmtpd::start(&[]) else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    peer.deliver(runtime, send_all(folder.path()), messages::all());
}

fn aiosmtpd_gets_crlf_line_ends_from_files_with_lf(runtime: &str) {
    let Some(mut peer) = Aiosmtpd::start(&[]) else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let files = messages::all().iter().map(|message| message.write_with_lf(folder.path()));
    let mut arguments = send_files(files);
    arguments.extend(["--newlines".into(), "fix".into()]);
    peer.deliver(runtime, arguments, messages::all());
}

fn aiosmtpd_gets_what_send_streams_from_a_file_unchanged(runtime: &str) {
    let Some(mut peer) = Aiosmtpd::start(&[]) else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let message = messages::streamed();
    let arguments = send_files([message.write_to(folder.path(), b"")].into_iter());
    peer.deliver(runtime, arguments, [message]);
}

fn aiosmtpd_refuses_one_of_three_recipients_and_gets_every_message_unchanged(runtime: &str) {
    let Some(mut peer) = Aiosmtpd::start(&[REFUSED]) else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let finished = send(runtime, peer.address, send_all(folder.path()));
    assert!(matches!(finished.status.code(), Some(1..)), "{}", finished.status);
    let reports = reports(&finished);
    assert_eq!(reports.len(), messages::all().len());
    for (message, report) in messages::all().iter().zip(&reports) {
        assert_eq!(report["outcome"], "partial", "{report}");
        assert_reply(&report["reply"], 250, "2.0.0", "Taken");
        for recipient in ACCEPTED {
            assert_accepted(report, recipient);
        }
        let refused = recipient_in(report, REFUSED);
        assert_eq!(refused["outcome"], "refused", "{report}");
        assert_reply(refused, 550, "5.1.1", "No such user here");
        peer.assert_got(message, &ACCEPTED);
    }
}

/// The part of a report that is about one recipient; there must be one for
/// each.
fn recipient_in<'a>(report: &'a Value, address: &str) -> &'a Value {
    let mut parts = report["recipients"].as_array().into_iter().flatten();
    parts.find(|part| part["address"] == address).unwrap_or_else(|| panic!("nothing about {address} in {report}"))
}

fn assert_accepted(report: &Value, address: &str) {
    let recipient = recipient_in(report, address);
    assert_eq!(recipient["outcome"], "accepted", "{report}");
    assert_eq!(recipient["code"], 250, "{report}");
}

fn assert_reply(reply: &Value, code: u16, enhanced: &str, text: &str) {
    assert_eq!(reply["code"], code, "{reply}");
    assert_eq!(reply["enhanced"], enhanced, "{reply}");
    assert_eq!(reply["text"], text, "{reply}");
}

/// A running aiosmtpd.
struct Aiosmtpd {
    process: Process,
    address: SocketAddr,
}

impl Aiosmtpd {
    /// `None` if it is not installed.
    fn start(refused: &[&str]) -> Option<Self> {
        let python = peers::python("aiosmtpd", "PyPI package aiosmtpd")?;
        let mut command = Command::new(python);
        command.args(["-c", include_str!("aiosmtpd_peer.py")]).args(refused);
        let mut peer = Self {
            // The open stdin keeps it running.
            process: Process::start(&mut command, Stdio::piped()),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let port = peer.next_event()["port"].as_u64().expect("a port");
        peer.address.set_port(u16::try_from(port).expect("a port"));
        Some(peer)
    }

    fn next_event(&mut self) -> Value {
        let Some(line) = self.process.next_line() else {
            self.process.fail("ended");
        };
        serde_json::from_str(&line).expect("JSON")
    }

    /// Runs `send` with arguments that send these messages and checks that
    /// all of them arrive.
    fn deliver(
        &mut self,
        runtime: &str,
        arguments: Vec<OsString>,
        messages: impl IntoIterator<Item = &'static Message>,
    ) {
        let finished = send(runtime, self.address, arguments).expect_success();
        let mut reports = reports(&finished).into_iter();
        for message in messages {
            let report = reports.next().expect("a report");
            assert_eq!(report["outcome"], "delivered", "{report}");
            assert_reply(&report["reply"], 250, "2.0.0", "Taken");
            for recipient in RECIPIENTS {
                assert_accepted(&report, recipient);
            }
            self.assert_got(message, &RECIPIENTS);
        }
        assert_eq!(reports.next(), None);
    }

    /// Checks the next message.
    fn assert_got(&mut self, message: &Message, recipients: &[&str]) {
        let event = self.next_event();
        assert_eq!(event["event"], "message", "{event}");
        assert_eq!(text(&event, "sender"), SENDER);
        assert_eq!(texts(&event, "recipients"), recipients, "{}", message.name);
        let declared = texts(&event, "mail_options").contains(&"BODY=8BITMIME");
        assert!(declared || message.content.is_ascii(), "{event}");
        assert_eq!(event["size"], message.content.len(), "{}", message.name);
        assert_eq!(text(&event, "sha256"), message.sha256, "{}", message.name);
    }
}

fn postfix_queues_every_message_and_relays_it_unchanged_to_receive(runtime: &str) {
    let mut receive = Receive::start(runtime, &[]);
    let Some(postfix) = Postfix::start(receive.address(), &ACCEPTED, |_| Additions::default()) else {
        return;
    };
    let folder = TempDir::new().expect("a folder");
    let finished = send(runtime, postfix.address, send_all(folder.path()));
    assert!(matches!(finished.status.code(), Some(1..)), "{}", finished.status);

    let reports = reports(&finished);
    assert_eq!(reports.len(), messages::all().len());
    // Queued messages overtake each other: find each by its queue id.
    let mut queued = Vec::new();
    for (message, report) in messages::all().iter().zip(&reports) {
        assert_eq!(report["outcome"], "partial", "{report}");
        for recipient in ACCEPTED {
            assert_accepted(report, recipient);
        }
        let refused = recipient_in(report, REFUSED);
        assert_eq!(refused["outcome"], "refused", "{report}");
        assert_eq!(refused["code"], 550, "{report}");
        assert_eq!(refused["enhanced"], "5.1.1", "{report}");

        let reply = &report["reply"];
        assert_eq!(reply["code"], 250, "{report}");
        assert_eq!(reply["enhanced"], "2.0.0", "{report}");
        // `Ok: 294 bytes queued as …` where the message came in chunks.
        let id = text(reply, "text").split_once("queued as ");
        let (_, id) = id.unwrap_or_else(|| panic!("no queue id in {report}"));
        queued.push((format!(" id {id};"), message));
    }

    while !queued.is_empty() {
        let event = receive.next_message();
        assert_eq!(text(&event, "reverse_path"), SENDER);
        assert_eq!(texts(&event, "recipients"), ACCEPTED);
        let content = receive.stored(&event);
        // Postfix puts its Received field, of several lines, before what it
        // got, and changes nothing else.
        let trace = received_field(&content);
        let (trace, content) = content.split_at(trace);
        let trace = std::str::from_utf8(trace).expect("ASCII");
        let position = queued.iter().position(|(id, _)| trace.contains(id));
        let position = position.unwrap_or_else(|| panic!("no known queue id in {trace}"));
        let (_, message) = queued.swap_remove(position);
        message.assert_same(content);
    }
    drop(postfix);
    receive.stop();
}
