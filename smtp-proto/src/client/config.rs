//! How a client behaves: its name, policies, limits, times.

use alloc::string::String;
use core::time::Duration;

use crate::error::InvalidArgument;
use crate::sasl::{Login, Nonces};
use crate::wire::{BareNewline, HelloName, MAX_TEXT_LINE, ReplyLimits};

/// How a client behaves.
///
/// ```
/// use std::time::Duration;
/// use smtp_proto::client::Config;
/// let mut config = Config::new("client.example.org")?;
/// config.timeouts.greeting = Duration::from_secs(30);
/// # Ok::<(), smtp_proto::InvalidArgument>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    pub(super) hello: HelloName,
    /// Whether TLS is used, and whether it must be. Default [`TlsPolicy::Required`].
    pub tls: TlsPolicy,
    /// Whether and as whom the client authenticates. Default [`Authentication::Never`].
    pub authentication: Authentication,
    /// Whether mechanisms that show the password or token to everybody on the way are used without TLS that proved who
    /// the server is. Default no.
    pub allow_clear_text_auth: bool,
    /// The source of nonces; without one, mechanisms that need them are not used. Default: the operating system's with
    /// the feature `getrandom`, else none.
    pub nonces: Option<Nonces>,
    /// The name of the server as it was asked for, for mechanisms that state it (RFC 7628). Default empty: it is not
    /// stated.
    pub server_name: String,
    /// Whether HELO is tried when the server does not know EHLO. Default yes, but never in LMTP, nor where STARTTLS or
    /// authentication is required.
    pub allow_helo: bool,
    /// What is done about a CR or LF in content that is not part of a CRLF. Default [`BareNewline::Fix`]: text with
    /// LF line ends can be handed over as it is.
    pub bare_newline: BareNewline,
    /// The longest line of content, in octets without CRLF. Default 998 (RFC 5321 section 4.5.3.1.6); a message
    /// with a longer one is not sent. `usize::MAX`: no limit.
    pub text_line: usize,
    /// Whether the client speaks LMTP (RFC 2033) instead of SMTP: each recipient gets its own verdict. Default no.
    pub lmtp: bool,
    /// How content is transferred. Default [`Transfer::Auto`].
    pub transfer: Transfer,
    /// Chunks of one message that may be on their way without a reply (RFC 3030); each has 1 MiB at most. Default 4.
    pub chunks_in_flight: usize,
    /// Messages that may be on their way without a reply where the server takes chunks. Should the connection break,
    /// nobody knows what became of these. Default 32; never under 1.
    pub messages_in_flight: usize,
    /// Octets of commands that may be on their way without a reply. Default 16 KiB: little enough to fit the
    /// buffers of a connection, so that a caller that cannot read while it writes never waits for a server that
    /// waits for it (RFC 2920 section 3.1).
    pub in_flight: usize,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How much of a reply is read.
    pub reply_limits: ReplyLimits,
}

/// How content is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transfer {
    /// In chunks where the server offers CHUNKING, else with DATA.
    #[default]
    Auto,
    /// With DATA (RFC 5321 section 4.1.1.4).
    Data,
    /// In chunks, with BDAT (RFC 3030); a server without CHUNKING gets no message.
    Bdat,
}

/// Whether TLS is used, and whether it must be. A handshake that fails ends the session under every policy: it never
/// goes on in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// Everything in clear.
    None,
    /// STARTTLS where it is offered, else in clear: for relays. It protects from nobody who can change what is sent.
    Opportunistic,
    /// STARTTLS, or an error before anything else is said (RFC 8314 section 3).
    #[default]
    Required,
    /// TLS from the first octet, as on port 465 (RFC 8314 section 3.3).
    Implicit,
}

impl TlsPolicy {
    /// The policy for submission that goes with a port: implicit on 465, STARTTLS on any other (RFC 8314 section 3.3).
    pub fn for_port(port: u16) -> Self {
        if port == 465 { Self::Implicit } else { Self::Required }
    }
}

/// Whether and as whom a client authenticates.
#[derive(Debug, Clone, Default)]
pub enum Authentication {
    /// It does not.
    #[default]
    Never,
    /// It does where the server offers a mechanism that can be used. Being refused is still an error.
    IfAvailable(Login),
    /// It does, or there is an error before any message.
    Required(Login),
}

/// How long the client waits for the server in each phase (RFC 5321 section 4.5.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The greeting. Default 300 s.
    pub greeting: Duration,
    /// EHLO or HELO. Default 300 s.
    pub hello: Duration,
    /// The TLS handshake. Default 60 s.
    pub handshake: Duration,
    /// MAIL. Default 300 s.
    pub mail: Duration,
    /// RCPT. Default 300 s.
    pub rcpt: Duration,
    /// DATA. Default 120 s.
    pub data: Duration,
    /// For the connection to take some more content. Default 180 s.
    pub content: Duration,
    /// The reply to the end of the content. Default 600 s.
    pub end_of_data: Duration,
    /// Any other command, STARTTLS and AUTH among them. Default 300 s.
    pub command: Duration,
    /// QUIT. Default 10 s: nothing is lost when its reply is.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            greeting: seconds(300),
            hello: seconds(300),
            handshake: seconds(60),
            mail: seconds(300),
            rcpt: seconds(300),
            data: seconds(120),
            content: seconds(180),
            end_of_data: seconds(600),
            command: seconds(300),
            quit: seconds(10),
        }
    }
}

impl Timeouts {
    /// The same time for every phase.
    pub fn all(time: Duration) -> Self {
        Self {
            greeting: time,
            hello: time,
            handshake: time,
            mail: time,
            rcpt: time,
            data: time,
            content: time,
            end_of_data: time,
            command: time,
            quit: time,
        }
    }
}

impl Config {
    /// Whether a session without EHLO cannot be what is wanted.
    pub(super) fn needs_extensions(&self) -> bool {
        self.lmtp || self.tls == TlsPolicy::Required || matches!(self.authentication, Authentication::Required(_))
    }

    /// The name in the hello.
    pub fn hello(&self) -> &str {
        self.hello.as_str()
    }

    /// Says hello by this name.
    pub fn set_hello(&mut self, hello: HelloName) {
        self.hello = hello;
    }

    /// The defaults, for a client of this name: its domain name, or its address as a literal such as
    /// `[192.0.2.1]`.
    ///
    /// # Errors
    /// When the name is neither.
    pub fn new(hello: &str) -> Result<Self, InvalidArgument> {
        Ok(Self {
            hello: hello.parse().map_err(|problem| InvalidArgument::new("hello name", hello, problem))?,
            tls: TlsPolicy::default(),
            authentication: Authentication::default(),
            allow_clear_text_auth: false,
            nonces: crate::sasl::default_nonces(),
            server_name: String::new(),
            allow_helo: true,
            bare_newline: BareNewline::Fix,
            text_line: MAX_TEXT_LINE,
            lmtp: false,
            transfer: Transfer::default(),
            chunks_in_flight: 4,
            messages_in_flight: 32,
            in_flight: 16 * 1024,
            timeouts: Timeouts::default(),
            reply_limits: ReplyLimits::default(),
        })
    }
}
