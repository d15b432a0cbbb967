//! How events are written in a dialogue.

use std::fmt::Write as _;

use smtp_proto::client::{self, RecipientOutcome};
use smtp_proto::server::{self, ResetReason, Session};
use smtp_proto::wire::{Attribute, ProxyHeader};

pub(super) fn server_event(event: &server::Event) -> String {
    use server::Event;
    match event {
        Event::Connected => "connected".to_owned(),
        Event::Hello(hello) => format!("{} {}", if hello.extended { "ehlo" } else { "helo" }, hello.name),
        Event::Mail(mail) => format!("mail <{}>{}", mail.reverse_path, mail.parameters),
        Event::Data => "data".to_owned(),
        Event::MessageEnd { size } => format!("message {size}"),
        Event::Verify(query) => format!("verify {query}"),
        Event::Expand(query) => format!("expand {query}"),
        Event::Help(topic) => format!("help {topic}").trim_end().to_owned(),
        Event::Other { verb, argument } => format!("other {verb} {argument}").trim_end().to_owned(),
        Event::Burl { url, last } => format!("burl {url}{}", if *last { " LAST" } else { "" }),
        Event::Etrn(node) => format!("etrn {node}"),
        Event::Xclient(attributes) => format!("xclient{}", list(attributes)),
        Event::StartTls => "starttls".to_owned(),
        Event::Authenticate(credentials) => {
            format!("auth {} {}", credentials.mechanism(), credentials.username().unwrap_or("-"))
        }
        Event::AuthenticationFailed(failure) => {
            format!(
                "auth failed {} {} {}",
                failure.failures,
                failure.mechanism,
                failure.username.as_deref().unwrap_or("-")
            )
        }
        Event::Authenticated(identity) => {
            format!("authenticated {} {}", identity.mechanism, identity.username.as_deref().unwrap_or("-"))
        }
        Event::Reset(ResetReason::Refused(reply)) => format!("reset refused {}", reply.code()),
        Event::Reset(reason) => format!("reset {reason:?}").to_lowercase(),
        Event::Abuse(abuse) => format!("abuse {abuse:?}"),
        Event::Closing(reason) => format!("closing {reason:?}"),
        event => format!("{event:?}"),
    }
}

/// What others assert about the client, behind the events where an application looks at it.
pub(super) fn asserted(event: &server::Event, session: &Session) -> String {
    use server::Event;
    let asserted = session.asserted();
    let part = |name: &str, attributes: &[Attribute]| match attributes {
        [] => String::new(),
        attributes => format!(" {name}{}", list(attributes)),
    };
    match event {
        Event::Connected => asserted.proxy().map(proxied).unwrap_or_default(),
        Event::Hello(_) => part("client", asserted.client()),
        Event::Mail(_) => part("client", asserted.client()) + &part("forwarded", asserted.forwarded()),
        _ => String::new(),
    }
}

fn proxied(header: &ProxyHeader) -> String {
    match header {
        ProxyHeader::Local => " proxy itself".to_owned(),
        ProxyHeader::Proxied { source, destination } => format!(" proxied {source} to {destination}"),
        _ => " proxied unknown".to_owned(),
    }
}

fn list(attributes: &[Attribute]) -> String {
    attributes.iter().fold(String::new(), |list, attribute| list + &format!(" {attribute}"))
}

pub(super) fn recipient_event(recipient: &server::Recipient) -> String {
    format!("rcpt {}{}", recipient.forward_path, recipient.parameters)
}

pub(super) fn client_event(event: &client::Event) -> String {
    use client::Event;
    match event {
        Event::Greeting(reply) => format!("greeting {reply}"),
        Event::Ready => "ready".to_owned(),
        Event::Recipient { index, reply, .. } => format!("recipient {index} {reply}"),
        Event::WantContent(_) => "want content".to_owned(),
        Event::Reply { reply, .. } => format!("reply {reply}"),
        Event::Outcome { outcome, .. } => {
            let mut text = format!("outcome {:?}:", outcome.verdict()).to_lowercase();
            for one in &outcome.recipients {
                let _ = match one {
                    RecipientOutcome::Accepted(_) => write!(text, " accepted"),
                    RecipientOutcome::Refused { phase, reply } => write!(text, " refused[{phase:?} {reply}]"),
                    RecipientOutcome::Failed(error) => write!(text, " failed[{error}]"),
                    RecipientOutcome::Unknown(error) => write!(text, " unknown[{error}]"),
                    other => write!(text, " {other:?}"),
                };
            }
            if let Some(reply) = &outcome.reply {
                let _ = write!(text, " reply[{reply}]");
            }
            text
        }
        event => format!("{event:?}"),
    }
}
