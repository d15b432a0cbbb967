//! A handler that records what happens as JSON, stores messages, and refuses whom it is told to.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use smtp_blocking::Handler;
use smtp_proto::Secret;
use smtp_proto::sasl::{Credentials, Evidence, Verdict};
use smtp_proto::server::{
    AuthenticationFailure, CloseReason, Connection, Decision, Hello, Identity, Mail, Recipient, ResetReason, Session,
};
use smtp_proto::wire::{BodyType, ForwardPath, Reply};

use crate::maildir::{Draft, Maildir};

const NO_SPACE: Reply = Reply::from_static("452 4.3.1 Cannot store the message");

/// What a recorder does.
pub struct Options {
    /// Where messages are stored; `None` stores none and accepts all the same.
    pub maildir: Option<Maildir>,
    /// Who is refused, and how.
    pub refused: Vec<(ForwardPath, Reply)>,
    /// Who may authenticate.
    pub users: Vec<(String, Secret)>,
    /// What takes the record, an object at a time.
    pub record: Box<dyn Fn(Value) + Send + Sync>,
}

/// Records one session.
pub struct Recorder {
    options: Arc<Options>,
    session: u64,
    message: Option<Message>,
}

struct Message {
    reverse_path: String,
    recipients: Vec<String>,
    size: u64,
    digest: Sha256,
    draft: Option<Draft>,
}

impl Recorder {
    /// Begins with the connection.
    pub fn new(options: &Arc<Options>, connection: &Connection) -> Self {
        let recorder = Self { options: Arc::clone(options), session: connection.id, message: None };
        recorder.record("connect", json!({ "peer": connection.peer.map(|peer| peer.to_string()) }));
        recorder
    }

    fn record(&self, event: &str, facts: Value) {
        let mut entry = json!({ "event": event, "session": self.session });
        if let (Some(entry), Value::Object(facts)) = (entry.as_object_mut(), facts) {
            entry.extend(facts);
        }
        (self.options.record)(entry);
    }

    fn store(&self) -> std::io::Result<Option<Draft>> {
        self.options.maildir.as_ref().map(Maildir::draft).transpose()
    }
}

impl Handler for Recorder {
    fn hello(&mut self, _: &Session, hello: Hello) -> Decision {
        self.record("hello", json!({ "name": hello.name.as_str(), "extended": hello.extended }));
        Decision::Accept
    }

    fn authenticate(&mut self, _: &Session, credentials: Credentials) -> Decision {
        let user = self.options.users.iter().find(|(name, _)| credentials.username() == Some(name));
        let verdict = match (user, credentials.evidence()) {
            (_, Evidence::External) => credentials.verify_external("the owner of the certificate"),
            (_, Evidence::Anonymous(_)) => Verdict::Accepted,
            (Some((_, password)), Evidence::Token(_)) => credentials.verify_token(password),
            (Some((_, password)), _) => credentials.verify_password(password),
            (None, _) => credentials.unknown_user(&secret()),
        };
        verdict.into()
    }

    fn authentication_failed(&mut self, _: &Session, failure: AuthenticationFailure) {
        let AuthenticationFailure { mechanism, username, .. } = failure;
        self.record("auth", json!({ "mechanism": mechanism, "user": username, "accepted": false }));
    }

    fn authenticated(&mut self, _: &Session, identity: Identity) {
        let Identity { mechanism, username, .. } = identity;
        self.record("auth", json!({ "mechanism": mechanism, "user": username, "accepted": true }));
    }

    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        let reverse_path = mail.reverse_path.to_string();
        let body = mail.parameters.body.map(|body| if body == BodyType::SevenBit { "7BIT" } else { "8BITMIME" });
        self.record(
            "mail",
            json!({
                "reverse_path": reverse_path,
                "size": mail.parameters.size,
                "body": body,
                "smtputf8": mail.parameters.smtputf8,
            }),
        );
        self.message =
            Some(Message { reverse_path, recipients: Vec::new(), size: 0, digest: Sha256::new(), draft: None });
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        if let Some((_, reply)) = self.options.refused.iter().find(|(path, _)| *path == recipient.forward_path) {
            return Decision::Reply(reply.clone());
        }
        let address = recipient.forward_path.to_string();
        self.record("rcpt", json!({ "recipient": address }));
        if let Some(message) = &mut self.message {
            message.recipients.push(address);
        }
        Decision::Accept
    }

    fn data(&mut self, _: &Session) -> Decision {
        match (self.store(), &mut self.message) {
            (Ok(draft), Some(message)) => {
                message.draft = draft;
                Decision::Accept
            }
            _ => Decision::Reply(NO_SPACE),
        }
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        let Some(message) = &mut self.message else { return Decision::Accept };
        message.size += content.len() as u64;
        message.digest.update(&content);
        match message.draft.as_mut().map_or(Ok(()), |draft| draft.write(&content)) {
            Ok(()) => Decision::Accept,
            Err(_) => Decision::Reply(NO_SPACE),
        }
    }

    fn message_end(&mut self, session: &Session, _: u64) -> Decision {
        let Some(message) = self.message.take() else { return Decision::Reply(NO_SPACE) };
        let Ok(file) = message.draft.map(Draft::keep).transpose() else { return Decision::Reply(NO_SPACE) };
        let mut facts = json!({
            "reverse_path": message.reverse_path,
            "recipients": message.recipients,
            "size": message.size,
            "tls": session.tls().map(|tls| tls.version.clone()),
            "user": session.identity().and_then(|identity| identity.username.clone()),
            "sha256": hexadecimal(&message.digest.finalize()),
        });
        if let (Some(file), Some(facts)) = (file, facts.as_object_mut()) {
            facts.insert("file".to_owned(), file.to_string_lossy().into());
        }
        self.record("message", facts);
        Decision::Accept
    }

    fn reset(&mut self, _: &Session, reason: ResetReason) {
        self.message = None;
        let reason = match reason {
            ResetReason::Command => "command".to_owned(),
            ResetReason::Hello => "hello".to_owned(),
            ResetReason::StartTls => "starttls".to_owned(),
            ResetReason::Refused(reply) => format!("refused: {reply}"),
            _ => "closing".to_owned(),
        };
        self.record("reset", json!({ "reason": reason }));
    }

    fn closing(&mut self, _: &Session, reason: CloseReason) {
        let reason = match reason {
            CloseReason::Quit => {
                self.record("quit", json!({}));
                "quit".to_owned()
            }
            CloseReason::Disconnected => "disconnected".to_owned(),
            CloseReason::Timeout(phase) => format!("timed out while {phase}"),
            CloseReason::TlsFailed => "TLS failed".to_owned(),
            CloseReason::ShutDown => "shut down".to_owned(),
            CloseReason::Decision => "refused".to_owned(),
            CloseReason::Abuse(abuse) => format!("abuse: {abuse:?}"),
            _ => "other".to_owned(),
        };
        self.record("closed", json!({ "reason": reason }));
    }
}

/// What no client can guess.
fn secret() -> Secret {
    static SECRET: OnceLock<[u64; 4]> = OnceLock::new();
    let octets = SECRET.get_or_init(|| std::array::from_fn(|_| RandomState::new().build_hasher().finish()));
    Secret::new(octets.map(u64::to_be_bytes).concat())
}

/// Octets as lower-case hexadecimal digits.
pub fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
