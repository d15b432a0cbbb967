//! The server that examples of clients send to: it runs in their process and keeps the messages.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use smtp_blocking::Handler;
use smtp_proto::adapter;
use smtp_proto::adapter::serving::LocalAddress;
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::sasl::{self, Credentials, Evidence, Verdict};
use smtp_proto::server::{Config, Decision, Mail, Recipient, ResetReason, Session, TlsPolicy};
use smtp_proto::wire::Reply;

use crate::certificates::{Authority, Certificate};
use crate::runtime::{Options, Runtime, Service};

/// The user whom it knows, by this password, this token, or a certificate.
pub const USER: &str = "jane";
/// The password of [`USER`].
pub const PASSWORD: &str = "correct horse battery staple";
/// The token of [`USER`].
pub const TOKEN: &str = "a-token-of-jane";

const NO_SUCH_USER: Reply = Reply::from_static("550 5.1.1 No such user");
const BUSY: Reply = Reply::from_static("450 4.2.1 The mailbox is busy");

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What MAIL said.
    pub mail: Mail,
    /// What RCPT said, of those who were accepted.
    pub recipients: Vec<Recipient>,
    /// The content.
    pub content: Vec<u8>,
    /// How it came, such as `ESMTPSA`.
    pub protocol: String,
}

/// A server at a free port of this machine. It takes mail for everybody, in clear or with STARTTLS, but refuses every
/// `nobody@` for good, and every `busy@` the first time. It ends when it is dropped.
pub struct PostOffice {
    service: Service,
    authority: Authority,
    letters: Arc<Mutex<Vec<Letter>>>,
}

impl PostOffice {
    /// Opens one.
    ///
    /// # Errors
    /// When the system or the crypto library fails.
    pub fn open() -> Result<Self, Box<dyn Error>> {
        Self::open_at("127.0.0.1:0", |_| ())
    }

    /// Opens one at `host:port` or `unix:path` that is configured otherwise.
    ///
    /// # Errors
    /// When the system or the crypto library fails.
    pub fn open_at(address: &str, configure: impl FnOnce(&mut Config)) -> Result<Self, Box<dyn Error>> {
        let authority = Authority::new()?;
        let Certificate { certificate, key } = authority.server(&["127.0.0.1", "localhost"])?;
        let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes())?;
        let tls = tls.client_ca_pem(authority.pem().as_bytes())?;
        let mut config = Config::new("mail.example.net")?;
        config.tls = TlsPolicy::Offered;
        config.mechanisms = sasl::strongest_first().to_vec();
        config.mechanisms.push(sasl::CRAM_MD5);
        configure(&mut config);
        let letters = Arc::default();
        let (kept, busy) = (Arc::clone(&letters), Arc::default());
        let counter = move |_: &_| Counter { letters: Arc::clone(&kept), busy: Arc::clone(&busy), letter: None };
        let options = Options::new().at(address, adapter::Service::new(config).tls(tls));
        let service = Service::start_with(Runtime::Blocking, options, counter)?;
        Ok(Self { service, authority, letters })
    }

    /// Where it is.
    pub fn address(&self) -> &LocalAddress {
        self.service.address()
    }

    /// A URL for it, in clear.
    pub fn url(&self) -> String {
        format!("smtp://{}?tls=none", self.address())
    }

    /// Who vouches for it, and for the certificates of its users.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What it has got so far.
    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The office's side of one session.
struct Counter {
    letters: Arc<Mutex<Vec<Letter>>>,
    /// Who was told so.
    busy: Arc<Mutex<Vec<String>>>,
    letter: Option<Letter>,
}

impl Handler for Counter {
    fn authenticate(&mut self, _: &Session, credentials: Credentials) -> Decision {
        let verdict = match (credentials.evidence(), credentials.username()) {
            (Evidence::External, _) => credentials.verify_external(USER),
            (Evidence::Anonymous(_), _) => Verdict::Accepted,
            (Evidence::Token(_), Some(USER)) => credentials.verify_token(&TOKEN.into()),
            (_, Some(USER)) => credentials.verify_password(&PASSWORD.into()),
            _ => credentials.unknown_user(&"what nobody can guess".into()),
        };
        verdict.into()
    }

    fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        self.letter = Some(Letter { mail, recipients: Vec::new(), content: Vec::new(), protocol: String::new() });
        Decision::Accept
    }

    fn recipient(&mut self, _: &Session, recipient: Recipient) -> Decision {
        let address = recipient.forward_path.to_string();
        if address.starts_with("nobody@") {
            return NO_SUCH_USER.into();
        }
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if address.starts_with("busy@") && !busy.contains(&address) {
            busy.push(address);
            return BUSY.into();
        }
        if let Some(letter) = &mut self.letter {
            letter.recipients.push(recipient);
        }
        Decision::Accept
    }

    fn body(&mut self, _: &Session, content: Bytes) -> Decision {
        if let Some(letter) = &mut self.letter {
            letter.content.extend_from_slice(&content);
        }
        Decision::Accept
    }

    fn message_end(&mut self, session: &Session, _: u64) -> Decision {
        let letter = self.letter.take().map(|letter| Letter { protocol: session.protocol().to_string(), ..letter });
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).extend(letter);
        Decision::Accept
    }

    fn reset(&mut self, _: &Session, _: ResetReason) {
        self.letter = None;
    }
}
