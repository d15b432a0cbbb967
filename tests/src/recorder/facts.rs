//! What is said in a session, as JSON: values in their canonical written form, null or empty where nothing was said.

use std::fmt::Display;

use serde_json::{Map, Value, json};
use smtp_proto::server::{Asserted, Mail, Recipient, ResetReason};
use smtp_proto::wire::{Attribute, BodyType, ProxyHeader};

/// A MAIL command, and what others say about where the message comes from.
pub(super) fn mail(mail: &Mail, asserted: &Asserted) -> Value {
    let parameters = &mail.parameters;
    json!({
        "reverse_path": mail.reverse_path.to_string(),
        "size": parameters.size,
        "body": parameters.body.map(BodyType::keyword),
        "smtputf8": parameters.smtputf8,
        "requiretls": parameters.requiretls,
        "auth": written(parameters.auth.as_ref()),
        "ret": written(parameters.ret.as_ref()),
        "envelope_id": written(parameters.envelope_id.as_ref()),
        "by": written(parameters.deliver_by.as_ref()),
        "hold": written(parameters.hold.as_ref()),
        "priority": written(parameters.priority.as_ref()),
        "parameters": parameters.other.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "forwarded": attributes(asserted.forwarded()),
        "client": attributes(asserted.client()),
        "proxied": proxied(asserted),
    })
}

/// A RCPT command.
pub(super) fn recipient(recipient: &Recipient) -> Value {
    let parameters = &recipient.parameters;
    json!({
        "recipient": recipient.forward_path.to_string(),
        "notify": written(parameters.notify.as_ref()),
        "original_recipient": written(parameters.original_recipient.as_ref()),
        "rrvs": written(parameters.rrvs.as_ref()),
        "parameters": parameters.other.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Attributes of XCLIENT or XFORWARD: an object of values, encoded as they are written.
pub(super) fn attributes(attributes: &[Attribute]) -> Value {
    let written = attributes.iter().map(ToString::to_string);
    let pairs = written.filter_map(|one| one.split_once('=').map(|(name, value)| (name.to_owned(), value.into())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// Why a transaction is over without a message.
pub(super) fn reset(reason: ResetReason) -> Value {
    let reason = match reason {
        ResetReason::Command => "command".to_owned(),
        ResetReason::Hello => "hello".to_owned(),
        ResetReason::StartTls => "starttls".to_owned(),
        ResetReason::Refused(reply) => format!("refused: {reply}"),
        _ => "closing".to_owned(),
    };
    json!({ "reason": reason })
}

/// The addresses that a PROXY header names.
fn proxied(asserted: &Asserted) -> Option<Value> {
    match asserted.proxy()? {
        ProxyHeader::Proxied { source, destination } => {
            Some(json!({ "source": source.to_string(), "destination": destination.to_string() }))
        }
        _ => None,
    }
}

fn written(value: Option<&impl Display>) -> Option<String> {
    value.map(ToString::to_string)
}
