//! Mail servers deliver to `receive` by LMTP, where each recipient has a fate of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use crate::support::messages::{self, SENDER};
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::postfix::{Additions, Postfix, Relay, received_field};
use crate::support::smtplib::Smtplib;
use crate::support::tools::{Receive, sessions, text, texts};

on_each_runtime!(
    postfix_delivers_by_lmtp_over_tcp_to_each_what_is_theirs,
    postfix_delivers_by_lmtp_over_a_unix_socket_to_each_what_is_theirs,
    opensmtpd_delivers_by_lmtp,
);

/// A recipient, the option of `receive` and the reply that it is refused with, and what becomes of it.
struct Fate {
    address: &'static str,
    refused: Option<(&'static str, &'static str)>,
    outcome: &'static str,
    code: &'static str,
}

const FATES: [Fate; 6] = [
    Fate { address: "first@example.net", refused: None, outcome: "sent", code: "2.1.5" },
    Fate {
        address: "unknown@example.net",
        refused: Some((AT_RCPT, "550 5.1.1 No such user here")),
        outcome: "bounced",
        code: "5.1.1",
    },
    Fate {
        address: "full@example.net",
        refused: Some((BEHIND_CONTENT, "552 5.2.2 The mailbox is full")),
        outcome: "bounced",
        code: "5.2.2",
    },
    Fate {
        address: "busy@example.net",
        refused: Some((AT_RCPT, "450 4.2.1 Not now")),
        outcome: "deferred",
        code: "4.2.1",
    },
    Fate {
        address: "locked@example.net",
        refused: Some((BEHIND_CONTENT, "452 4.2.2 Locked")),
        outcome: "deferred",
        code: "4.2.2",
    },
    Fate { address: "last@example.net", refused: None, outcome: "sent", code: "2.1.5" },
];
const AT_RCPT: &str = "--reject-rcpt";
const BEHIND_CONTENT: &str = "--reject-for";

/// The options that make it so.
fn options() -> Vec<String> {
    let refused = FATES.iter().filter_map(|fate| {
        let (option, reply) = fate.refused?;
        Some([option.to_owned(), format!("{}={reply}", fate.address)])
    });
    ["--lmtp".to_owned()].into_iter().chain(refused.flatten()).collect()
}

fn postfix_delivers_by_lmtp_over_tcp_to_each_what_is_theirs(runtime: &str) {
    let options = options();
    let receive = Receive::start(runtime, &options.iter().map(String::as_str).collect::<Vec<_>>());
    let relay = Relay::Lmtp(receive.address());
    deliver(receive, relay);
}

fn postfix_delivers_by_lmtp_over_a_unix_socket_to_each_what_is_theirs(runtime: &str) {
    let options = options();
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("lmtp");
    let receive = Receive::start_on_socket(runtime, &path, &options.iter().map(String::as_str).collect::<Vec<_>>());
    // Postfix's daemons have their own user.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("chmod");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("chmod");
    deliver(receive, Relay::LmtpSocket(path));
}

fn deliver(mut receive: Receive, relay: Relay) {
    let Some(smtplib) = Smtplib::find() else { return };
    let recipients = FATES.map(|fate| fate.address);
    let Some(mut postfix) = Postfix::start(relay, &recipients, |_| Additions::default()) else { return };
    let message = &messages::all()[3];
    smtplib.send(postfix.address, message, SENDER, &recipients, &json!({})).expect_success();

    for (fate, status) in FATES.iter().zip(postfix.statuses(&recipients)) {
        let address = fate.address;
        assert_eq!((&*status.outcome, &*status.code), (fate.outcome, fate.code), "{address}: {status:?}");
        let (said, to) = match fate.refused {
            None => ("250 2.1.5 ", ""),
            Some((AT_RCPT, reply)) => (reply, "(in reply to RCPT TO command)"),
            Some((_, reply)) => (reply, "(in reply to end of DATA command)"),
        };
        assert!(status.reason.contains(said) && status.reason.contains(to), "{address}: {status:?}");
    }

    let event = receive.next_message();
    assert_eq!(text(&event, "reverse_path"), SENDER);
    let mut taken = texts(&event, "recipients");
    taken.sort_unstable();
    assert_eq!(taken, ["first@example.net", "full@example.net", "last@example.net", "locked@example.net"]);
    let content = receive.stored(&event);
    message.assert_same(&content[received_field(&content)..]);

    // Who sent it hears of those two that will never get it.
    let event = receive.next_message();
    assert_eq!(text(&event, "reverse_path"), "");
    assert_eq!(texts(&event, "recipients"), [SENDER]);
    let notification = String::from_utf8(receive.stored(&event)).expect("ASCII");
    let mut failed: Vec<_> =
        notification.lines().filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; ")).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["full@example.net", "unknown@example.net"]);
    drop(postfix);
    receive.stop();
}

fn opensmtpd_delivers_by_lmtp(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &["--lmtp"]);
    let Some(opensmtpd) = OpenSmtpd::start("lmtp", receive.address()) else { return };
    let recipients = FATES.map(|fate| fate.address);
    let message = &messages::all()[3];
    smtplib.send(opensmtpd.address, message, SENDER, &recipients, &json!({})).expect_success();
    let event = receive.next_message();
    let mut taken = texts(&event, "recipients");
    taken.sort_by_key(|address| recipients.iter().position(|known| known == address));
    assert_eq!(taken, recipients);
    let content = receive.stored(&event);
    message.assert_same(&content[received_field(&content)..]);
    drop(opensmtpd);
    assert_eq!(sessions(&receive.stop(), "message").len(), 1);
}
