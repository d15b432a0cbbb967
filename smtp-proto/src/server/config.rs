//! How a server behaves: names, extensions, limits, times.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::error::InvalidArgument;
use crate::sasl::{Mechanism, Nonces};
use crate::wire::{
    BareNewline, Capabilities, Capability, FutureReleaseMaxima, HelloName, MAX_TEXT_LINE, MailParameters, Parameter,
    RecipientParameters,
};

/// The lowest limit on the content of a message, in octets (RFC 5321 section 4.5.3.1.7).
pub const MIN_MESSAGE_SIZE: u64 = 64 * 1024;
/// The lowest limit on recipients (RFC 5321 section 4.5.3.1.8).
pub const MIN_RECIPIENTS: u32 = 100;
/// The lowest limit on lines of an authentication, in octets (RFC 4954 section 4).
pub(super) const MIN_AUTH_LINE: usize = 12288;

/// How a server behaves. One value serves any number of sessions.
///
/// ```
/// use smtp_proto::server::Config;
/// let mut config = Config::new("mail.example.org")?;
/// config.limits.message_size = Some(50 * 1024 * 1024);
/// # Ok::<(), smtp_proto::InvalidArgument>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    hostname: HelloName,
    /// The text behind the name in the greeting. Default `ESMTP`, or `LMTP` where that is spoken.
    pub greeting: Option<String>,
    /// What is done about a CR or LF in content that is not part of a CRLF. Default [`BareNewline::Reject`].
    pub bare_newline: BareNewline,
    /// Whether content may hold NUL characters. Default no: too many programs end a text there.
    pub allow_nul: bool,
    /// PIPELINING (RFC 2920). Default on.
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152). Default on.
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531); needs 8BITMIME. Default on.
    pub smtputf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034). Default on.
    pub enhanced_status_codes: bool,
    /// Whether the server speaks LMTP (RFC 2033) instead of SMTP: never on port 25. Default no.
    pub lmtp: bool,
    /// CHUNKING (RFC 3030). Default on.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030); needs CHUNKING. The application gets the octets as they are. Default off.
    pub binary_mime: bool,
    /// DSN (RFC 3461): the application sends notifications as senders ask for them. Default off.
    pub dsn: bool,
    /// DELIVERBY (RFC 2852): the application delivers in time or says that it could not; the least seconds that a sender
    /// may ask for, where it returns what comes too late. Default off.
    pub deliver_by: Option<u32>,
    /// FUTURERELEASE (RFC 4865): the application holds messages for so long; needs [`Config::require_auth`], for it is for
    /// submission only. Default off.
    pub future_release: Option<FutureReleaseMaxima>,
    /// MT-PRIORITY (RFC 6710): the application heeds priorities. Default off.
    pub priority: bool,
    /// RRVS (RFC 7293): the application knows since when mailboxes belong to their owners. Default off.
    pub rrvs: bool,
    /// LIMITS (RFC 9422): announces [`Limits::recipients`], [`Limits::transactions`] and [`Limits::recipient_domains`].
    /// Default off.
    pub announce_limits: bool,
    /// ETRN (RFC 1985): the application has queues. Default off.
    pub etrn: bool,
    /// BURL (RFC 4468), with what its line in the list says, as `imap`: the application fetches URLs; needs
    /// [`Config::require_auth`], for it is for submission only. Default off.
    pub burl: Option<String>,
    /// Whether a PROXY header comes before everything else, so that a proxy says who the client is. Only for listeners
    /// that nobody but the proxy can reach: it is never guessed. Default no.
    pub proxy_protocol: bool,
    /// XCLIENT: the client may say that it speaks for another. For proxies that the application trusts, best by
    /// [`Decision::Configure`](super::Decision::Configure) when they connect. Default off.
    pub xclient: bool,
    /// XFORWARD: the client may say where its messages came from. As [`Config::xclient`]. Default off.
    pub xforward: bool,
    /// Whether TLS is there, and whether it must be. Default [`TlsPolicy::None`].
    pub tls: TlsPolicy,
    /// REQUIRETLS (RFC 8689), offered inside TLS only. Default off: what accepts such a message has to keep it from
    /// travelling on without verified TLS.
    pub requiretls: bool,
    /// How clients may authenticate, for example [`sasl::PLAIN`](crate::sasl::PLAIN). Default none: there is no AUTH.
    pub mechanisms: Vec<&'static dyn Mechanism>,
    /// Whether a client must authenticate before MAIL, VRFY and EXPN (submission, RFC 6409 section 4.3). Default no.
    pub require_auth: bool,
    /// Whether mechanisms that show the password or token to everybody on the way are served without TLS. Default no.
    pub allow_clear_text_auth: bool,
    /// The source of nonces; without one, mechanisms that need them are not offered. Default: the operating system's
    /// with the feature `getrandom`, else none.
    pub nonces: Option<Nonces>,
    /// EXPN. Default off: it tells strangers who is on a list.
    pub expand: bool,
    /// HELP. Default on.
    pub help: bool,
    /// Further lines for the EHLO reply, which replace those with the same keyword: what the application implements through
    /// [`Event::Other`](super::Event::Other) and [`Config::parameters`].
    pub capabilities: Vec<Capability>,
    /// Keywords of MAIL and RCPT parameters that the application understands; others are refused with 555.
    pub parameters: Vec<String>,
    /// How much of everything.
    pub limits: Limits,
    /// How long.
    pub timeouts: Timeouts,
}

/// How much a peer may use up. All are per session unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a command line with its CRLF. Default 2048 (Postfix `line_length_limit`), never under 512, nor under 1048
    /// where [`Config::dsn`] is on.
    pub command_line: usize,
    /// Octets of an over-long command line that are read in search of its end, before the session is closed.
    /// Default 64 KiB.
    pub discarded_line: usize,
    /// Octets of a text line without its CRLF. Default 998, never under that (RFC 5321 section 4.5.3.1.6).
    pub text_line: usize,
    /// Octets of the content of one message; announced with SIZE. `None` is no fixed limit. Default 25 MiB, never
    /// under [`MIN_MESSAGE_SIZE`].
    pub message_size: Option<u64>,
    /// Octets of content that are thrown away, because their message was refused or as line ends that are left out,
    /// before the session is closed. Default 256 MiB. A delivered message starts the count again.
    pub discarded_content: u64,
    /// Accepted recipients of one message. Default 1000 (Postfix `smtpd_recipient_limit`), never under
    /// [`MIN_RECIPIENTS`].
    pub recipients: u32,
    /// Transactions of a session. Default none. Beyond it, the session is closed with 421.
    pub transactions: Option<u32>,
    /// Domains that the recipients of a session may have. Default none.
    pub recipient_domains: Option<u32>,
    /// Wrong commands after which [`Abuse::SoftErrors`](super::Abuse::SoftErrors) is reported. Default 10.
    pub soft_errors: u32,
    /// Wrong commands at which the session is closed. Default 20. A delivered message starts the count again.
    pub hard_errors: u32,
    /// Commands that bring no mail forward (NOOP, RSET, VRFY, EXPN, HELP, hello) after which each further one
    /// counts as an error. Default 100 (Postfix `smtpd_junk_command_limit`).
    pub junk_commands: u32,
    /// Senders and recipients refused for good by the application after which each further one counts as an error:
    /// a guard against trying out addresses. Default 100. A delivered message starts the count again.
    pub refusals: u32,
    /// Octets of an AUTH line or a line of its exchange with CRLF. Default 12288, never under that (RFC 4954 section
    /// 4).
    pub auth_line: usize,
    /// Challenges in one authentication. Default 10.
    pub auth_rounds: u32,
    /// Failed authentications at which the session is closed. Default 3.
    pub auth_failures: u32,
}

/// Whether TLS is there, and whether it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// There is none.
    #[default]
    None,
    /// STARTTLS is offered (RFC 3207). The choice for a server that takes mail for its own domains from anybody: it
    /// must not require TLS (RFC 3207 section 4).
    Offered,
    /// STARTTLS is offered, and little else is served before it.
    Required,
    /// TLS begins with the connection (RFC 8314 section 3.3), as on port 465.
    Implicit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_line: 2048,
            discarded_line: 64 * 1024,
            text_line: MAX_TEXT_LINE,
            message_size: Some(25 * 1024 * 1024),
            discarded_content: 256 * 1024 * 1024,
            recipients: 1000,
            transactions: None,
            recipient_domains: None,
            soft_errors: 10,
            hard_errors: 20,
            junk_commands: 100,
            refusals: 100,
            auth_line: MIN_AUTH_LINE,
            auth_rounds: 10,
            auth_failures: 3,
        }
    }
}

/// How long a session may take over its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From one reply to the whole next command. Default 300 s (RFC 5321 section 4.5.3.2.7).
    pub command: Duration,
    /// From one piece of content to the next. Default 300 s.
    pub content: Duration,
    /// Octets of content a second that a peer must reach over the whole of a message, beyond the first
    /// [`Timeouts::content`]. Default 500 (Postfix `smtpd_min_data_rate`). Zero: none.
    pub minimum_rate: u64,
    /// How long the greeting is held back to see whether the client talks first, which only spam programs do. Default
    /// zero; Postfix's postscreen takes 6 s.
    pub early_talkers: Duration,
    /// The PROXY header. Default 5 s; its specification asks for at least 3.
    pub proxy_header: Duration,
    /// The TLS handshake. Default 60 s.
    pub handshake: Duration,
    /// For the application to decide, and to deal with each other event. Default 600 s. Then the session is closed with
    /// 421 at the next step that finds nothing decided, or the message refused whose content it did not deal with.
    pub decision: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            content: Duration::from_secs(300),
            minimum_rate: 500,
            early_talkers: Duration::ZERO,
            proxy_header: Duration::from_secs(5),
            handshake: Duration::from_secs(60),
            decision: Duration::from_secs(600),
        }
    }
}

impl Config {
    /// The defaults, for a server of this name: a domain name or an address literal.
    ///
    /// # Errors
    /// When the name is neither.
    pub fn new(hostname: &str) -> Result<Self, InvalidArgument> {
        Ok(Self {
            hostname: hostname.parse().map_err(|problem| InvalidArgument::new("host name", hostname, problem))?,
            greeting: None,
            bare_newline: BareNewline::Reject,
            allow_nul: false,
            pipelining: true,
            eight_bit_mime: true,
            smtputf8: true,
            enhanced_status_codes: true,
            lmtp: false,
            chunking: true,
            binary_mime: false,
            dsn: false,
            deliver_by: None,
            future_release: None,
            priority: false,
            rrvs: false,
            announce_limits: false,
            etrn: false,
            burl: None,
            proxy_protocol: false,
            xclient: false,
            xforward: false,
            tls: TlsPolicy::None,
            requiretls: false,
            mechanisms: Vec::new(),
            require_auth: false,
            allow_clear_text_auth: false,
            nonces: crate::sasl::default_nonces(),
            expand: false,
            help: true,
            capabilities: Vec::new(),
            parameters: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        })
    }

    /// The server's name.
    pub fn hostname(&self) -> &str {
        self.hostname.as_str()
    }

    pub(super) fn offers_smtputf8(&self) -> bool {
        self.smtputf8 && self.eight_bit_mime
    }

    pub(super) fn has_enhanced_status_codes(&self) -> bool {
        self.enhanced_status_codes || self.lmtp
    }

    pub(super) fn message_size(&self) -> u64 {
        self.limits.message_size.map_or(u64::MAX, |limit| limit.max(MIN_MESSAGE_SIZE))
    }

    /// The recipients that one message may have.
    pub(super) fn recipients(&self) -> u32 {
        self.limits.recipients.max(MIN_RECIPIENTS)
    }

    /// What the reply to EHLO lists; `tls` is whether it is on, `available` whether it can be, `mechanisms` are those of
    /// the session, `authenticated` is whether the client is.
    pub(super) fn offered(&self, tls: bool, available: bool, mechanisms: &str, authenticated: bool) -> Capabilities {
        let mut offered = Capabilities::default();
        let mut offer = |on: bool, keyword: &str, parameters: &str| {
            if let Some(capability) = Capability::new(keyword, parameters).filter(|_| on) {
                offered.insert(capability);
            }
        };
        // RFC 2033 section 5: LMTP has these in any case.
        offer(self.pipelining || self.lmtp, "PIPELINING", "");
        let size = self.limits.message_size.map(|_| self.message_size().to_string());
        offer(true, "SIZE", size.as_deref().unwrap_or(""));
        offer(self.eight_bit_mime, "8BITMIME", "");
        offer(self.has_enhanced_status_codes(), "ENHANCEDSTATUSCODES", "");
        offer(self.offers_smtputf8(), "SMTPUTF8", "");
        offer(!tls && available && matches!(self.tls, TlsPolicy::Offered | TlsPolicy::Required), "STARTTLS", "");
        offer(tls && self.requiretls, "REQUIRETLS", "");
        offer(!mechanisms.is_empty(), "AUTH", mechanisms);
        offer(self.chunking, "CHUNKING", "");
        offer(self.chunking && self.binary_mime, "BINARYMIME", "");
        offer(self.dsn, "DSN", "");
        let deliver_by = self.deliver_by.filter(|least| *least > 0).map(|least| least.to_string());
        offer(self.deliver_by.is_some(), "DELIVERBY", deliver_by.as_deref().unwrap_or(""));
        let future_release = self
            .future_release
            .filter(|_| self.require_auth)
            .map(|maxima| alloc::format!("{} {}", maxima.interval.seconds(), maxima.date_time));
        offer(future_release.is_some(), "FUTURERELEASE", future_release.as_deref().unwrap_or(""));
        offer(self.priority, "MT-PRIORITY", "");
        offer(self.rrvs, "RRVS", "");
        let limits = self.announced_limits();
        offer(limits.is_some(), "LIMITS", limits.as_deref().unwrap_or(""));
        offer(self.etrn, "ETRN", "");
        // RFC 4468 section 3.1: to those who may use it.
        offer(authenticated && self.takes_burl(), "BURL", self.burl.as_deref().unwrap_or(""));
        offer(self.xclient, "XCLIENT", "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT");
        offer(self.xforward, "XFORWARD", "NAME ADDR PORT PROTO HELO IDENT SOURCE");
        offer(self.expand, "EXPN", "");
        offer(self.help, "HELP", "");
        for capability in &self.capabilities {
            offered.remove(capability.keyword());
            offered.insert(capability.clone());
        }
        offered
    }

    fn announced_limits(&self) -> Option<String> {
        let Limits { transactions, recipient_domains, .. } = self.limits;
        let limits =
            [("MAILMAX", transactions), ("RCPTMAX", Some(self.recipients())), ("RCPTDOMAINMAX", recipient_domains)];
        // RFC 9422 section 4: one to six digits.
        let stated = limits.iter().filter_map(|(name, limit)| limit.map(|limit| (name, limit)));
        let stated = stated.filter(|(_, limit)| (1..=999_999).contains(limit));
        let stated: Vec<_> = stated.map(|(name, limit)| alloc::format!("{name}={limit}")).collect();
        (self.announce_limits && !stated.is_empty()).then(|| stated.join(" "))
    }

    /// Whether BURL is served to those who have authenticated.
    pub(super) fn takes_burl(&self) -> bool {
        self.burl.is_some() && self.require_auth
    }

    /// Whether a session can go on under the other.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let implicit = |config: &Self| config.tls == TlsPolicy::Implicit;
        self.lmtp == other.lmtp && self.proxy_protocol == other.proxy_protocol && implicit(self) == implicit(other)
    }

    /// Whether the extension with this keyword is on.
    fn has(&self, extension: &str) -> bool {
        match extension {
            "SIZE" => true,
            "8BITMIME" => self.eight_bit_mime,
            "BINARYMIME" => self.chunking && self.binary_mime,
            "SMTPUTF8" => self.offers_smtputf8(),
            "REQUIRETLS" => self.requiretls,
            "AUTH" => !self.mechanisms.is_empty(),
            "DSN" => self.dsn,
            "DELIVERBY" => self.deliver_by.is_some(),
            "FUTURERELEASE" => self.future_release.is_some() && self.require_auth,
            "MT-PRIORITY" => self.priority,
            "RRVS" => self.rrvs,
            _ => false,
        }
    }

    /// Whether every parameter of MAIL belongs to an extension that is on, or is one the application understands.
    pub(super) fn recognises_mail(&self, parameters: &MailParameters) -> bool {
        self.knows(&parameters.other) && parameters.extensions().all(|extension| self.has(extension))
    }

    /// The same for RCPT.
    pub(super) fn recognises_rcpt(&self, parameters: &RecipientParameters) -> bool {
        self.knows(&parameters.other) && parameters.extensions().all(|extension| self.has(extension))
    }

    /// Whether the application understands all of these.
    fn knows(&self, parameters: &[Parameter]) -> bool {
        parameters.iter().all(|parameter| self.parameters.iter().any(|keyword| parameter.is(keyword)))
    }
}
