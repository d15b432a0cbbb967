//! What commands are given.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::sasl::base64;
use crate::secret::Secret;
use crate::wire::address::AddressError;
use crate::wire::domain::{Domain, MAX_DOMAIN};

/// The argument of VRFY or EXPN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// A user name, mailbox or list name, as written.
    pub text: String,
    /// Whether the reply may hold UTF-8 (RFC 6531 section 3.4).
    pub smtputf8: bool,
}

/// The initial response of AUTH, still encoded. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct InitialResponse(pub(super) Secret);

impl InitialResponse {
    /// The response; a single `=` stands for an empty one. `None` when it is not canonical base64.
    pub fn decode(&self) -> Option<Secret> {
        match self.0.reveal() {
            b"=" => Some(Secret::new([])),
            encoded => base64::decode(encoded),
        }
    }
}

impl fmt::Debug for InitialResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The name in EHLO or HELO.
///
/// A server takes any printable word: names with underscores and the like are common and prove nothing anyhow. A
/// client states a domain name or an address literal ([`str::parse`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HelloName(String);

impl HelloName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a domain or address literal, when it is one.
    pub fn domain(&self) -> Option<Domain> {
        self.0.parse().ok()
    }

    pub(super) fn lenient(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        (printable && !text.is_empty() && text.len() <= MAX_DOMAIN).then(|| Self(text.to_owned()))
    }
}

/// Reads what a client may call itself: an ASCII domain name or an address literal (RFC 5321 section 4.1.4).
impl FromStr for HelloName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let domain: Domain = text.parse()?;
        // A U-label would have to be sent as its A-label (RFC 6531 section 3.7.1).
        if domain.is_ascii() { Ok(Self(text.to_owned())) } else { Err(AddressError::Domain) }
    }
}

impl fmt::Display for HelloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.smtputf8 { " SMTPUTF8" } else { "" })
    }
}

/// For whom ETRN asks to send what waits (RFC 1985 section 5.1).
///
/// ```
/// use smtp_proto::wire::{Node, NodeScope};
/// let node: Node = "@example.org".parse()?;
/// assert_eq!((node.scope(), node.name()), (NodeScope::Subdomains, "example.org"));
/// # Ok::<(), smtp_proto::wire::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    scope: NodeScope,
    name: String,
}

/// What the option character of ETRN says about the name behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeScope {
    /// None: it is a host.
    Host,
    /// `@`: it is a domain, and all domains under it are meant too.
    Subdomains,
    /// `#`: it is a queue, whose name means something to the server only.
    Queue,
}

impl Node {
    /// What the name is.
    pub fn scope(&self) -> NodeScope {
        self.scope
    }

    /// The name behind the option character: of a queue any printable word of ASCII, else a domain name, or, for a
    /// single host, an address literal.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Node {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scope, name) = match (text.strip_prefix('@'), text.strip_prefix('#')) {
            (Some(name), _) => (NodeScope::Subdomains, name),
            (_, Some(name)) => (NodeScope::Queue, name),
            _ => (NodeScope::Host, text),
        };
        let fits = match scope {
            NodeScope::Queue => HelloName::lenient(name).is_some(),
            NodeScope::Host => name.parse::<Domain>()?.is_ascii(),
            NodeScope::Subdomains => matches!(name.parse::<Domain>()?, Domain::Name(_)) && name.is_ascii(),
        };
        if fits { Ok(Self { scope, name: name.to_owned() }) } else { Err(AddressError::Domain) }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = match self.scope {
            NodeScope::Host => "",
            NodeScope::Subdomains => "@",
            NodeScope::Queue => "#",
        };
        write!(f, "{option}{}", self.name)
    }
}

/// Where BURL takes content from: a URI with its scheme (RFC 4468 section 3, RFC 3986 section 4.3). What is behind the
/// scheme is any printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AbsoluteUri(String);

/// It is not a URI with a scheme, in printable ASCII without spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an absolute URI")]
pub struct InvalidAbsoluteUri;

impl AbsoluteUri {
    /// The URI as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AbsoluteUri {
    type Err = InvalidAbsoluteUri;

    fn from_str(text: &str) -> Result<Self, InvalidAbsoluteUri> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidAbsoluteUri)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
        let is_printable = rest.bytes().all(|octet| matches!(octet, b'!'..=b'~'));
        let fits = is_scheme && is_printable && !rest.is_empty();
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidAbsoluteUri) }
    }
}

impl fmt::Display for AbsoluteUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
