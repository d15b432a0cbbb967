//! Relays that hand on to `receive` what `send` brought them.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::support::exim::Exim;
use crate::support::haraka::Haraka;
use crate::support::messages::{self, RECIPIENTS, SENDER};
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::postfix::received_field;
use crate::support::tools::{Receive, send, send_all, sessions, text, texts};

on_each_runtime!(
    exim_relays_every_message_unchanged_with_chunking,
    opensmtpd_relays_every_message_unchanged,
    haraka_forwards_every_message_unchanged,
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
