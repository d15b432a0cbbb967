//! Where to connect and how, in one line of text.

mod options;
mod parse;
mod percent;

use alloc::string::{String, ToString};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;

use super::pool::PoolPolicy;
use super::rate::RateLimit;
use super::retry::Retry;
use crate::client::{Authentication, Config, TlsPolicy};
use crate::error::InvalidArgument;
use crate::sasl::{InvalidLogin, Login};
use crate::wire::HelloName;
use options::Options;

/// Where to connect and how, in one line of text.
///
/// | Scheme | Protocol | Port |
/// |---|---|---|
/// | `smtp://` | SMTP, by default with STARTTLS or an error | 587 with a user, else 25 |
/// | `smtps://` | SMTP with TLS from the first octet | 465 |
/// | `lmtp://` | LMTP, by default with STARTTLS or an error | 24; never 25 (RFC 2033 section 5) |
/// | `lmtp+unix:///path` | LMTP over a Unix socket, in clear | |
///
/// In front of the host there may be `user:password@`. What cannot stand in a user name, password or path is written as
/// `%` and two hexadecimal digits (RFC 3986 section 2.1): `/ ? # %` everywhere, `:` in user names. The host is a domain
/// name in ASCII, an IPv4 address, or an IPv6 address in brackets.
///
/// Options follow behind `?`, joined by `&`, each at most once:
///
/// | Option | Meaning |
/// |---|---|
/// | `tls=required`, `opportunistic`, `none` | [`TlsPolicy`] of `smtp` and `lmtp`; default `required` |
/// | `hello=NAME` | the client's name in EHLO; by default the address of its end of the connection |
/// | `transfer=auto`, `data`, `bdat` | [`Transfer`](crate::client::Transfer); default `auto` |
/// | `timeout=SECONDS` | for a connection to each of the server's addresses; default 30 |
/// | `connections=N`, `messages=N`, `idle=SECONDS`, `age=SECONDS` | [`PoolPolicy`]; `messages` are those of one connection |
/// | `retries=N` | attempts after the first one: [`Retry`] |
/// | `rate=N/s`, `N/m`, `N/h` | [`RateLimit`]: attempts to send a message in a second, minute or hour |
///
/// With `tls=none`, only mechanisms that do not show the password are used to authenticate.
///
/// Neither `Debug` nor `Display` nor an error shows the password.
///
/// ```
/// use smtp_proto::delivery::{Endpoint, Url};
/// let url: Url = "smtps://jane%40example.org:secret@mail.example.org?connections=3&rate=100/h".parse()?;
/// assert_eq!(url.to_string(), "smtps://jane%40example.org:***@mail.example.org:465");
/// assert!(matches!(url.endpoint(), Endpoint::Tcp { port: 465, .. }));
/// assert_eq!(url.pool_policy().connections, 3);
/// # Ok::<(), smtp_proto::delivery::InvalidUrl>(())
/// ```
#[derive(Debug, Clone)]
pub struct Url {
    scheme: Scheme,
    endpoint: Endpoint,
    login: Option<Login>,
    options: Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Smtp,
    Smtps,
    Lmtp,
    LmtpUnix,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// At a port of a host.
    Tcp {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
    /// At a Unix socket: its absolute path.
    Unix(String),
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// By its domain name. Unlike those in mailboxes it may have underscores, as names in local networks do.
    Name(String),
    /// By its address.
    Address(IpAddr),
}

/// Why a text is not a URL of a server. Shows nothing of the text: it may be part of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// The scheme is unknown.
    #[error("it does not begin with smtp://, smtps://, lmtp:// or lmtp+unix:///")]
    Scheme,
    /// The host is missing or malformed.
    #[error("the host is neither a domain name in ASCII, nor an IPv4 address, nor an IPv6 address in brackets")]
    Host,
    /// The port is not one.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// LMTP at the port of SMTP.
    #[error("LMTP must not be spoken on port 25 (RFC 2033 section 5)")]
    LmtpPort,
    /// Something stands behind the host that is no option.
    #[error("there is a path or a fragment behind the host, where only options behind a ? may be")]
    BehindHost,
    /// An `@` stands behind what ended the host.
    #[error("there is an @ behind the host: in user names and passwords, / ? # are to be written as %2F %3F %23")]
    UserInfo,
    /// The path of a Unix socket is missing or not absolute, or something stands in front or behind of it.
    #[error("a Unix socket is written as lmtp+unix:///path, without a host and without a fragment")]
    Socket,
    /// An escape is not one.
    #[error("a % is not followed by two hexadecimal digits of UTF-8; % itself is written as %25")]
    Escape,
    /// There is a user without a password.
    #[error("there is a user without a password: both are written as user:password@")]
    Password,
    /// The user or password cannot be used.
    #[error(transparent)]
    Login(#[from] InvalidLogin),
    /// An option is unknown.
    #[error(
        "there is an unknown option; there are tls, hello, transfer, timeout, connections, messages, idle, age, retries \
         and rate"
    )]
    UnknownOption,
    /// An option does not go with the scheme.
    #[error("the option {0} does not go with this scheme")]
    UnfitOption(&'static str),
    /// An option is there twice.
    #[error("the option {0} is given twice")]
    RepeatedOption(&'static str),
    /// The value of an option is not one of its values.
    #[error("the option {option} is not {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What its value is to be.
        expected: &'static str,
    },
}

impl Url {
    /// Where to connect.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Who to authenticate as.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The client's name in EHLO, if the URL says it.
    pub fn hello(&self) -> Option<&HelloName> {
        self.options.hello.as_ref()
    }

    /// How long a connection to one of the server's addresses may take to be established, if the URL says so.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.options.timeout
    }

    /// How a client behaves in sessions with this server. `hello` is its name where the URL has none.
    ///
    /// # Errors
    /// When `hello` is used, and is neither a domain name nor an address literal.
    pub fn client_config(&self, hello: &str) -> Result<Config, InvalidArgument> {
        let mut config = Config::new(self.options.hello.as_ref().map_or(hello, HelloName::as_str))?;
        config.tls = match self.scheme {
            Scheme::Smtps => TlsPolicy::Implicit,
            // What is said does not leave the machine.
            Scheme::LmtpUnix => TlsPolicy::None,
            Scheme::Smtp | Scheme::Lmtp => self.options.tls.unwrap_or(config.tls),
        };
        config.lmtp = matches!(self.scheme, Scheme::Lmtp | Scheme::LmtpUnix);
        config.transfer = self.options.transfer.unwrap_or(config.transfer);
        if let Some(login) = &self.login {
            config.authentication = Authentication::Required(login.clone());
        }
        if let Endpoint::Tcp { host, .. } = &self.endpoint {
            config.server_name = host.server_name();
        }
        Ok(config)
    }

    /// How connections are kept: what the URL says, else the defaults.
    pub fn pool_policy(&self) -> PoolPolicy {
        let Options { connections, messages, idle, age, .. } = self.options;
        let default = PoolPolicy::default();
        PoolPolicy {
            connections: connections.unwrap_or(default.connections),
            messages: messages.unwrap_or(default.messages),
            age: age.unwrap_or(default.age),
            idle: idle.unwrap_or(default.idle),
        }
    }

    /// When a message is tried again: what the URL says, else the defaults.
    pub fn retry_policy(&self) -> Retry {
        let default = Retry::default();
        Retry {
            attempts: self.options.retries.map_or(default.attempts, |retries| retries.saturating_add(1)),
            ..default
        }
    }

    /// How many attempts there may be in how much time, if the URL says so.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.options.rate.map(|(count, period)| RateLimit::new(count, period))
    }
}

impl Host {
    /// The name that a certificate has to have: a domain name, or an address without brackets.
    pub fn server_name(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        parse::url(text)
    }
}

/// Without options, and with `***` for the password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            Scheme::Smtp => "smtp://",
            Scheme::Smtps => "smtps://",
            Scheme::Lmtp => "lmtp://",
            Scheme::LmtpUnix => "lmtp+unix://",
        })?;
        if let Some(login) = &self.login {
            write!(f, "{}:***@", percent::Encoded(login.username(), b""))?;
        }
        match &self.endpoint {
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => percent::Encoded(path, b"/").fmt(f),
        }
    }
}

/// With brackets around an IPv6 address.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
