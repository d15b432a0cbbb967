//! What may be told, and when.

use smtp_proto::sasl::{self, Verdict};
use smtp_proto::server::{Config, Decision, Event, Recipient, ResetReason, Session, TlsPolicy};
use smtp_proto::wire::{BareNewline, BodyType, MAX_TEXT_LINE};

use crate::frames::Frames;

/// What may be served, given what the client proved.
pub struct Guard<'a> {
    config: &'a Config,
    pub secured: bool,
    /// The application took the credentials.
    trusted: bool,
    authenticated: bool,
    failures: u32,
}

impl<'a> Guard<'a> {
    pub fn new(config: &'a Config) -> Self {
        Self { config, secured: false, trusted: false, authenticated: false, failures: 0 }
    }

    pub fn secured(&mut self, session: &Session) {
        *self = Self { secured: true, ..Self::new(self.config) };
        assert!(session.hello().is_none() && session.transaction().is_none() && session.identity().is_none());
        assert!(session.tls().is_some() && session.auth_failures() == 0);
        assert!(session.asserted().client().is_empty() && session.asserted().forwarded().is_empty());
    }

    pub fn check(&mut self, event: &Event, decision: Option<&Decision>, session: &Session) {
        let Config { tls, require_auth, .. } = *self.config;
        // The word of a proxy that is trusted counts.
        let authenticated = self.authenticated || session.asserted().login().is_some();
        let served = match event {
            Event::StartTls => !self.secured && matches!(tls, TlsPolicy::Offered | TlsPolicy::Required),
            Event::Connected => self.secured == (tls == TlsPolicy::Implicit),
            Event::Hello(_) | Event::Reset(_) => tls != TlsPolicy::Implicit || self.secured,
            Event::Abuse(_) | Event::Closing(_) => true,
            Event::Mail(_) | Event::Verify(_) | Event::Expand(_) if require_auth && !authenticated => false,
            Event::Burl { .. } if !(require_auth && authenticated && self.config.burl.is_some()) => false,
            Event::Xclient(_) if !self.config.xclient => false,
            Event::Etrn(_) if !self.config.etrn => false,
            _ => self.secured || matches!(tls, TlsPolicy::None | TlsPolicy::Offered),
        };
        assert!(served, "{event:?} before its time");
        let asserted = session.asserted();
        assert!(self.config.xclient || asserted.client().is_empty());
        assert!(self.config.xforward || asserted.forwarded().is_empty());
        match event {
            Event::Connected => assert_eq!(asserted.proxy().is_some(), self.config.proxy_protocol),
            Event::Hello(hello) => assert!(hello.extended || !self.config.lmtp),
            Event::Mail(mail) => {
                let parameters = &mail.parameters;
                assert!(!parameters.requiretls || self.secured && self.config.requiretls, "{event:?}");
                assert!(parameters.auth.is_none() || !self.config.mechanisms.is_empty(), "{event:?}");
                assert!(self.config.dsn || parameters.ret.is_none() && parameters.envelope_id.is_none(), "{event:?}");
                assert!(self.config.deliver_by.is_some() || parameters.deliver_by.is_none(), "{event:?}");
                assert!(self.config.priority || parameters.priority.is_none(), "{event:?}");
                assert!(require_auth && self.config.future_release.is_some() || parameters.hold.is_none(), "{event:?}");
            }
            // The client is another from here on.
            Event::Xclient(_) if matches!(decision, Some(Decision::Accept | Decision::Configure(_))) => {
                (self.authenticated, self.trusted) = (false, false);
            }
            Event::Xclient(_) => {
                if let Some(Decision::Reply(reply)) = decision
                    && reply.is_positive()
                {
                    (self.authenticated, self.trusted) = (false, false);
                }
            }
            Event::Authenticate(credentials) => {
                let mechanism = sasl::find(credentials.mechanism()).expect("a known mechanism");
                assert!(self.config.mechanisms.contains(&mechanism) && !self.authenticated, "{event:?}");
                let safe = self.secured || self.config.allow_clear_text_auth || !mechanism.reveals_secret();
                assert!(safe, "{event:?} in clear");
                self.trusted = match decision {
                    Some(Decision::Accept | Decision::Verdict(Verdict::Accepted | Verdict::Keys(_))) => true,
                    Some(Decision::Reply(reply)) => reply.is_positive(),
                    _ => false,
                };
            }
            Event::Authenticated(_) => {
                assert!(std::mem::take(&mut self.trusted), "{event:?} and nobody said so");
                self.authenticated = true;
            }
            Event::AuthenticationFailed(failure) => {
                self.failures += 1;
                assert_eq!(failure.failures, self.failures);
                assert!(self.failures <= self.config.limits.auth_failures && !self.authenticated);
            }
            _ => {}
        }
    }
}

/// Checks events against the octets sent: a transaction ends once, nothing of it happens outside, and a message ends
/// where its framing says and nowhere else.
pub struct Order {
    policy: BareNewline,
    open: bool,
    /// The last event was the end of a message.
    undecided: bool,
    binary: bool,
    /// How many recipients of the transaction have been asked about.
    recipients: u32,
    content: Vec<u8>,
    pub closed: bool,
}

impl Order {
    pub fn new(policy: BareNewline) -> Self {
        Self { policy, open: false, undecided: false, binary: false, recipients: 0, content: Vec::new(), closed: false }
    }

    pub fn recipient(&mut self, recipient: &Recipient) {
        assert!(self.open && recipient.index == self.recipients, "{recipient:?} out of place");
        self.recipients += 1;
    }

    /// `taken` is how many octets the server had taken when it told of the event.
    pub fn check(&mut self, event: &Event, decision: Option<&Decision>, taken: usize, frames: &mut Frames<'_>) {
        assert!(!self.closed, "{event:?} behind the closing");
        if matches!(event, Event::Connected) {
            frames.begin(taken);
        }
        assert!(!event.is_question() || frames.at_boundary(taken), "{event:?} out of a line or content");
        let accepted = match decision {
            Some(Decision::Reply(reply)) => reply.is_positive(),
            decision => matches!(decision, Some(Decision::Accept | Decision::Verdict(Verdict::Accepted))),
        };
        match event {
            Event::Mail(mail) => {
                assert!(!self.open, "MAIL in a transaction");
                (self.open, self.recipients) = (accepted, 0);
                self.binary = mail.parameters.body == Some(BodyType::BinaryMime);
            }
            Event::Recipients(_) => assert!(self.open, "{event:?} outside a transaction"),
            Event::Data => {
                assert!(self.open, "{event:?} outside a transaction");
                self.content.clear();
                frames.message(accepted);
            }
            Event::Burl { .. } => {
                assert!(self.open, "{event:?} outside a transaction");
                frames.url();
            }
            Event::Body(piece) => {
                assert!(self.open && !piece.is_empty(), "content outside a transaction, or none");
                self.content.extend_from_slice(piece);
            }
            Event::MessageEnd { size } => {
                assert!(self.open, "{event:?} outside a transaction");
                assert_eq!(*size, self.content.len() as u64);
                assert_eq!(frames.whole(self.policy, self.binary).as_deref(), Some(&self.content[..]));
                assert!(self.binary || longest_line(&self.content) <= MAX_TEXT_LINE, "a line that is too long");
                self.open = false;
            }
            Event::Reset(reason) => {
                // The application may fail over a message.
                let failed = self.undecided && *reason == ResetReason::Closing;
                assert!(self.open || failed || *reason == ResetReason::Command, "{event:?} outside a transaction");
                self.open = false;
            }
            Event::Xclient(_) | Event::Etrn(_) => assert!(!self.open, "{event:?} in a transaction"),
            Event::Closing(_) => {
                assert!(!self.open, "the transaction has no end");
                self.closed = true;
            }
            _ => {}
        }
        self.undecided = matches!(event, Event::MessageEnd { .. });
    }
}

fn longest_line(content: &[u8]) -> usize {
    let ends = content.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").map(|(at, _)| at);
    ends.scan(0, |start, end| Some(end - std::mem::replace(start, end + 2))).max().unwrap_or(0)
}
