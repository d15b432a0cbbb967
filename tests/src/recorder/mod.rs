//! A handler that records what happens as JSON, stores messages, and refuses whom it is told to.

mod facts;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use smtp_blocking::Handler;
use smtp_proto::Secret;
use smtp_proto::sasl::{Credentials, Evidence, Verdict};
use smtp_proto::server::{
    AuthenticationFailure, CloseReason, Config, Connection, Decision, Hello, Identity, Mail, NOT_FETCHED, NOT_STORED,
    Recipient, Recipients, ResetReason, Session,
};
use smtp_proto::wire::{AbsoluteUri, Attribute, ForwardPath, Node, Reply, ReversePath};

use crate::maildir::{Draft, Maildir};
use crate::trace;

const TAKEN: Reply = Reply::from_static("250 2.1.5 Message accepted for this recipient");

/// What a recorder does.
pub struct Options {
    /// Where messages are stored; `None` stores none and accepts all the same.
    pub maildir: Option<Maildir>,
    /// What the server calls itself in the trace fields in front of what it stores; `None`: there are none.
    pub trace: Option<String>,
    /// Who is refused, and how.
    pub refused: Vec<(ForwardPath, Reply)>,
    /// Who is refused behind the content of an LMTP message, and how.
    pub refused_content: Vec<(ForwardPath, Reply)>,
    /// Who may speak for others.
    pub trusted: Option<Trusted>,
    /// Who may authenticate.
    pub users: Vec<(String, Secret)>,
    /// What takes the record, an object at a time.
    pub record: Box<dyn Fn(Value) + Send + Sync>,
}

/// Clients that are served under a configuration of their own.
pub struct Trusted {
    /// Where they connect from.
    pub addresses: Vec<IpAddr>,
    /// How they are served.
    pub config: Arc<Config>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            maildir: None,
            trace: None,
            refused: Vec::new(),
            refused_content: Vec::new(),
            trusted: None,
            users: Vec::new(),
            record: Box::new(|_| ()),
        }
    }
}

/// Records one session.
pub struct Recorder {
    options: Arc<Options>,
    session: u64,
    peer: Option<IpAddr>,
    message: Option<Message>,
}

struct Message {
    reverse_path: ReversePath,
    recipients: Vec<ForwardPath>,
    size: u64,
    digest: Sha256,
    draft: Option<Draft>,
}

impl Recorder {
    /// Begins with the connection.
    pub fn new(options: &Arc<Options>, connection: &Connection) -> Self {
        let peer = connection.peer.map(|peer| peer.ip().to_canonical());
        let recorder = Self { options: Arc::clone(options), session: connection.id, peer, message: None };
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

    /// The reply to a message that cannot be stored. Whoever runs this is told why, the client is not.
    fn failed(&self, error: io::Error) -> Decision {
        self.record("failed", json!({ "error": error.to_string() }));
        error.into()
    }

    /// Begins to store a message.
    fn draft(&self, session: &Session, message: &Message) -> io::Result<Option<Draft>> {
        let mut draft = self.options.maildir.as_ref().map(Maildir::draft).transpose()?;
        if let (Some(draft), Some(hostname)) = (&mut draft, &self.options.trace) {
            let Message { reverse_path, recipients, .. } = message;
            let now = SystemTime::now();
            draft.write(trace::fields(session, self.peer, hostname, reverse_path, recipients, now).as_bytes())?;
        }
        Ok(draft)
    }

    /// Stores the message, once, and says what each recipient is told. Of SMTP, that is one reply for all.
    fn take(&self, session: &Session, message: Message) -> io::Result<Vec<Reply>> {
        let Message { reverse_path, recipients, size, digest, draft } = message;
        let replies = if is_lmtp(session) {
            recipients.iter().map(|recipient| self.reply_for(recipient)).collect()
        } else {
            vec![TAKEN]
        };
        let draft = draft.filter(|_| replies.iter().any(Reply::is_positive));
        let file = draft.map(Draft::keep).transpose()?;
        let mut facts = json!({
            "reverse_path": reverse_path.to_string(),
            "recipients": recipients.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "size": size,
            "tls": session.tls().map(|tls| tls.version.clone()),
            "user": session.identity().and_then(|identity| identity.username.clone()),
            "sha256": hexadecimal(&digest.finalize()),
        });
        if let Some(facts) = facts.as_object_mut() {
            if is_lmtp(session) {
                facts.insert("replies".to_owned(), replies.iter().map(ToString::to_string).collect());
            }
            facts.extend(file.map(|file| ("file".to_owned(), file.to_string_lossy().into())));
        }
        self.record("message", facts);
        Ok(replies)
    }

    fn reply_for(&self, recipient: &ForwardPath) -> Reply {
        let refused = self.options.refused_content.iter().find(|(path, _)| path == recipient);
        refused.map_or(TAKEN, |(_, reply)| reply.clone())
    }
}

impl Handler for Recorder {
    fn connected(&mut self, _: &Session) -> Decision {
        match (&self.options.trusted, self.peer) {
            (Some(trusted), Some(peer)) if trusted.addresses.contains(&peer) => {
                Decision::Configure(Arc::clone(&trusted.config))
            }
            _ => Decision::Accept,
        }
    }

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

    fn mail(&mut self, session: &Session, mail: Mail) -> Decision {
        self.record("mail", facts::mail(&mail, session.asserted()));
        self.message = Some(Message {
            reverse_path: mail.reverse_path,
            recipients: Vec::new(),
            size: 0,
            digest: Sha256::new(),
            draft: None,
        });
        Decision::Accept
    }

    fn recipients(&mut self, session: &Session, recipients: Recipients) -> Vec<Decision> {
        recipients.iter().map(|recipient| self.recipient(session, recipient.clone())).collect()
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        if let Some((_, reply)) = self.options.refused.iter().find(|(path, _)| *path == recipient.forward_path) {
            return Decision::Reply(reply.clone());
        }
        self.record("rcpt", facts::recipient(&recipient));
        if let Some(message) = &mut self.message {
            message.recipients.push(recipient.forward_path);
        }
        Decision::Accept
    }

    fn data(&mut self, session: &Session) -> Decision {
        let Some(mut message) = self.message.take() else { return NOT_STORED.into() };
        match self.draft(session, &message) {
            Ok(draft) => message.draft = draft,
            Err(error) => return self.failed(error),
        }
        self.message = Some(message);
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        let Some(message) = &mut self.message else { return Decision::Accept };
        message.size += content.len() as u64;
        message.digest.update(&content);
        match message.draft.as_mut().map_or(Ok(()), |draft| draft.write(&content)) {
            Ok(()) => Decision::Accept,
            Err(error) => self.failed(error),
        }
    }

    fn burl(&mut self, _: &Session, url: AbsoluteUri, last: bool) -> Decision {
        self.record("burl", json!({ "url": url.as_str(), "last": last }));
        // Nothing here fetches.
        NOT_FETCHED.into()
    }

    fn message_end(&mut self, session: &Session, _: u64) -> Decision {
        let Some(message) = self.message.take() else { return NOT_STORED.into() };
        match self.take(session, message) {
            Ok(replies) if is_lmtp(session) => Decision::Each(replies.into_iter().map(Decision::Reply).collect()),
            Ok(_) => Decision::Accept,
            Err(error) => self.failed(error),
        }
    }

    fn etrn(&mut self, _: &Session, node: Node) -> Decision {
        self.record("etrn", json!({ "node": node.to_string() }));
        Decision::Accept
    }

    fn xclient(&mut self, _: &Session, attributes: Vec<Attribute>) -> Decision {
        self.record("xclient", json!({ "attributes": facts::attributes(&attributes) }));
        Decision::Accept
    }

    fn reset(&mut self, _: &Session, reason: ResetReason) {
        self.message = None;
        self.record("reset", facts::reset(reason));
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

fn is_lmtp(session: &Session) -> bool {
    session.is_lmtp()
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
