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

/// Who is there, and who is refused where: `receive` takes the option with the reply.
const FATES: [(&str, Option<(&str, &str)>, &str, &str); 6] = [
    ("first@example.net", None, "sent", "2.1.5"),
    ("unknown@example.net", Some(("--reject-rcpt", "550 5.1.1 No such user here")), "bounced", "5.1.1"),
    ("full@example.net", Some(("--reject-for", "552 5.2.2 The mailbox is full")), "bounced", "5.2.2"),
    ("busy@example.net", Some(("--reject-rcpt", "450 4.2.1 Not now")), "deferred", "4.2.1"),
    ("locked@example.net", Some(("--reject-for", "452 4.2.2 Locked")), "deferred", "4.2.2"),
    ("last@example.net", None, "sent", "2.1.5"),
];

/// The options that make it so.
fn options() -> Vec<String> {
    let refused =
        FATES.iter().filter_map(|(address, refused, ..)| refused.map(|(option, reply)| (address, option, reply)));
    let options = refused.flat_map(|(address, option, reply)| [option.to_owned(), format!("{address}={reply}")]);
    ["--lmtp".to_owned()].into_iter().chain(options).collect()
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
    let recipients = FATES.map(|(address, ..)| address);
    let Some(mut postfix) = Postfix::start(relay, &recipients, |_| Additions::default()) else { return };
    let message = &messages::all()[3];
    smtplib.send(postfix.address, message, SENDER, &recipients, &json!({})).expect_success();

    for ((address, refused, outcome, code), status) in FATES.iter().zip(postfix.statuses(&recipients)) {
        assert_eq!((status.outcome.as_str(), status.code.as_str()), (*outcome, *code), "{address}: {status:?}");
        let (said, to) = match refused {
            None => ("250 2.1.5 ", None),
            Some(("--reject-rcpt", reply)) => (*reply, Some("(in reply to RCPT TO command)")),
            Some((_, reply)) => (*reply, Some("(in reply to end of DATA command)")),
        };
        assert!(status.reason.contains(said), "{address}: {status:?}");
        assert!(to.is_none_or(|to| status.reason.contains(to)), "{address}: {status:?}");
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
    let recipients = FATES.map(|(address, ..)| address);
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
