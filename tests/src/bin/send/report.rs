//! What became of a message: as JSON, and as what to exit with.

use serde_json::{Value, json};
use smtp_proto::adapter::{Error, TlsProblem};
use smtp_proto::client::{Envelope, Outcome, RecipientOutcome, Verdict};
use smtp_proto::delivery::Report;
use smtp_proto::wire::Reply;

use crate::messages::{Origin, UNREADABLE};

/// Not authenticated, or the server is not the one that was meant.
pub(crate) const NOT_PERMITTED: u8 = 77;

/// What `send` exits with for a message.
pub(crate) fn exit_code(result: &Result<Report, Error>) -> u8 {
    const REFUSED: u8 = 69;
    const TRY_AGAIN: u8 = 75;
    match result.as_ref().map(|report| &report.outcome) {
        Ok(outcome) if outcome.is_delivered() => 0,
        Ok(Outcome { error: Some(smtp_proto::Error::Peer(_)), .. }) => 76,
        Ok(outcome) if !outcome.recipients.iter().all(|one| one.is_accepted() || one.is_permanent()) => TRY_AGAIN,
        Ok(_) => REFUSED,
        Err(Error::Resolve { .. }) => 68,
        Err(Error::Content(_)) => UNREADABLE,
        Err(Error::Smtp { source: smtp_proto::Error::Peer(_), .. }) => 76,
        Err(error) if error.tls_problem().is_some_and(TlsProblem::is_about_certificate) => NOT_PERMITTED,
        Err(error) if error.is_transient() => TRY_AGAIN,
        Err(Error::Smtp { source: smtp_proto::Error::Authentication(_) | smtp_proto::Error::Tls(_), .. }) => {
            NOT_PERMITTED
        }
        Err(error) if error.tls_problem().is_some() => NOT_PERMITTED,
        Err(_) => REFUSED,
    }
}

/// What became of a message.
pub(crate) fn of_message(number: u64, origin: &Origin, envelope: &Envelope, result: &Result<Report, Error>) -> Value {
    let addresses = envelope.recipients.iter().map(ToString::to_string);
    let mut entry = match result {
        Ok(Report { outcome, attempts, .. }) => json!({
            "outcome": match outcome.verdict() {
                Verdict::Delivered => "delivered",
                Verdict::Partial => "partial",
                Verdict::Refused => "refused",
                Verdict::Unknown => "unknown",
            },
            "recipients": addresses.zip(&outcome.recipients).map(|(address, one)| recipient(&address, one)).collect::<Vec<_>>(),
            "reply": outcome.reply.as_ref().map(reply),
            "error": outcome.error.as_ref().map(ToString::to_string),
            "left_out": outcome.left_out,
            "attempts": attempts,
        }),
        Err(error) => json!({
            "outcome": "refused",
            "recipients": addresses.map(|address| json!({ "address": address, "outcome": "failed" })).collect::<Vec<_>>(),
            "reply": error.reply().map(reply),
            "error": error.to_string(),
        }),
    };
    add_origin(&mut entry, number, origin);
    entry
}

/// Why there was no message.
pub(crate) fn of_unsent(number: u64, origin: &Origin, reason: &str) -> Value {
    let mut entry = json!({ "outcome": "unsent", "recipients": [], "reply": null, "error": reason });
    add_origin(&mut entry, number, origin);
    entry
}

fn add_origin(entry: &mut Value, number: u64, origin: &Origin) {
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("number".to_owned(), number.into());
        entry.insert("file".to_owned(), origin.file.as_ref().map(|file| file.display().to_string()).into());
        entry.insert("line".to_owned(), origin.line.into());
    }
}

fn recipient(address: &str, outcome: &RecipientOutcome) -> Value {
    let mut entry = json!({
        "address": address,
        "outcome": match outcome {
            RecipientOutcome::Accepted(_) => "accepted",
            RecipientOutcome::Refused { .. } => "refused",
            RecipientOutcome::Unknown(_) => "unknown",
            _ => "failed",
        },
    });
    if let (Some(entry), Some(Value::Object(reply))) = (entry.as_object_mut(), outcome.reply().map(reply)) {
        entry.extend(reply);
    }
    entry
}

fn reply(reply: &Reply) -> Value {
    json!({
        "code": reply.code().value(),
        "enhanced": reply.enhanced().map(|enhanced| enhanced.to_string()),
        "text": reply.text(),
    })
}
