//! Clients that send the next command before they have the reply to the last one.

use crate::support::exim::Exim;
use crate::support::gate::Gate;
use crate::support::messages::{self, RECIPIENTS, SENDER};
use crate::support::nodemailer::Nodemailer;
use crate::support::postfix::{Additions, Postfix, received_field};
use crate::support::smtplib::Smtplib;
use crate::support::tools::{Receive, text, texts};

on_each_runtime!(
    nodemailer_sends_all_recipients_at_once,
    postfix_sends_mail_recipients_and_data_at_once,
    exim_sends_mail_recipients_and_a_chunk_at_once,
);

/// Checks what came of a group that was sent at once, and gives the content.
fn received(receive: &mut Receive) -> Vec<u8> {
    let event = receive.next_message();
    assert_eq!(text(&event, "reverse_path"), SENDER);
    let mut recipients = texts(&event, "recipients");
    recipients.sort_by_key(|address| RECIPIENTS.iter().position(|known| known == address));
    assert_eq!(recipients, RECIPIENTS);
    receive.stored(&event)
}

/// The verbs of a group in order.
fn verbs(group: &str) -> Vec<&str> {
    group.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect()
}

fn nodemailer_sends_all_recipients_at_once(runtime: &str) {
    let Some(nodemailer) = Nodemailer::find() else { return };
    let mut receive = Receive::start(runtime, &[]);
    let gate = Gate::start(receive.address(), "RCPT TO:", RECIPIENTS[2]);
    let message = &messages::all()[1];
    nodemailer.send(gate.address, message).expect_success();
    message.assert_same(&received(&mut receive));
    assert_eq!(verbs(&gate.group()), ["RCPT", "RCPT", "RCPT"]);
    receive.stop();
}

fn postfix_sends_mail_recipients_and_data_at_once(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &[]);
    let gate = Gate::start(receive.address(), "MAIL FROM:", "\r\nDATA");
    let Some(postfix) = Postfix::start(gate.address, &RECIPIENTS, |_| Additions::default()) else { return };
    let message = &messages::all()[1];
    smtplib.send(postfix.address, message, SENDER, &RECIPIENTS, &serde_json::json!({})).expect_success();
    let content = received(&mut receive);
    message.assert_same(&content[received_field(&content)..]);
    assert_eq!(verbs(&gate.group()), ["MAIL", "RCPT", "RCPT", "RCPT", "DATA"]);
    drop(postfix);
    receive.stop();
}

fn exim_sends_mail_recipients_and_a_chunk_at_once(runtime: &str) {
    let Some(smtplib) = Smtplib::find() else { return };
    let mut receive = Receive::start(runtime, &[]);
    let gate = Gate::start(receive.address(), "MAIL FROM:", "\r\nBDAT");
    let Some(exim) = Exim::start(gate.address) else { return };
    let message = &messages::all()[1];
    smtplib.send(exim.address, message, SENDER, &RECIPIENTS, &serde_json::json!({})).expect_success();
    let content = received(&mut receive);
    message.assert_same(&content[received_field(&content)..]);
    let group = gate.group();
    assert_eq!(verbs(&group)[..5], ["MAIL", "RCPT", "RCPT", "RCPT", "BDAT"]);
    drop(exim);
    receive.stop();
}
