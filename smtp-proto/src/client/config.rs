//! How a client behaves: its name, policies, limits, times.

use core::time::Duration;

use crate::error::InvalidArgument;
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
    /// Whether HELO is tried when the server does not know EHLO. Default yes.
    pub allow_helo: bool,
    /// What is done about a CR or LF in content that is not part of a CRLF. Default [`BareNewline::Fix`]: text with
    /// LF line ends can be handed over as it is.
    pub bare_newline: BareNewline,
    /// The longest line of content, in octets without CRLF. Default 998 (RFC 5321 section 4.5.3.1.6); a message
    /// with a longer one is not sent. `usize::MAX`: no limit.
    pub text_line: usize,
    /// Octets of commands that may be on their way without a reply. Default 16 KiB: little enough to fit the
    /// buffers of a connection, so that a caller that cannot read while it writes never waits for a server that
    /// waits for it (RFC 2920 section 3.1).
    pub in_flight: usize,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How much of a reply is read.
    pub reply_limits: ReplyLimits,
}

/// How long the client waits for the server in each phase (RFC 5321 section 4.5.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The greeting. Default 300 s.
    pub greeting: Duration,
    /// EHLO or HELO. Default 300 s.
    pub hello: Duration,
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
    /// Any other command. Default 300 s.
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
    /// The defaults, for a client of this name: its domain name, or its address as a literal such as
    /// `[192.0.2.1]`.
    ///
    /// # Errors
    /// When the name is neither.
    pub fn new(hello: &str) -> Result<Self, InvalidArgument> {
        Ok(Self {
            hello: hello.parse().map_err(|problem| InvalidArgument::new("hello name", hello, problem))?,
            allow_helo: true,
            bare_newline: BareNewline::Fix,
            text_line: MAX_TEXT_LINE,
            in_flight: 16 * 1024,
            timeouts: Timeouts::default(),
            reply_limits: ReplyLimits::default(),
        })
    }
}
