//! What goes wrong with TLS, in words of its own.

use std::error;
use std::fmt;
use std::io;

use crate::wire::Escaped;

/// Names of a certificate that are shown.
const SHOWN_NAMES: usize = 5;

/// What went wrong with TLS. Texts in it are of the TLS library, or of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is for other names (RFC 7817, RFC 9525).
    WrongName {
        /// The name that was meant.
        expected: String,
        /// The names in the certificate, as far as they are known.
        certified: Vec<String>,
    },
    /// No trusted authority issued the peer's certificate.
    UnknownIssuer,
    /// The peer's certificate has been revoked.
    Revoked,
    /// Something else is wrong with the peer's certificate.
    Certificate(String),
    /// The peer refused the certificate of this side, or wants one.
    CertificateRefused(String),
    /// What the peer sent is not TLS.
    NotTls,
    /// There is no version of TLS or cipher suite that both sides have.
    Incompatible(String),
    /// The peer broke off with another alert.
    Alert(String),
    /// The connection was lost in the handshake.
    HandshakeLost,
    /// The connection ended without the peer's `close_notify`: somebody may have cut it off.
    Truncated,
    /// TLS cannot be had as it is configured on this side.
    Setup(String),
    /// The peer broke the rules of TLS.
    Protocol(String),
}

impl TlsProblem {
    /// Whether the peer's certificate is what is wrong.
    pub fn is_about_certificate(&self) -> bool {
        matches!(
            self,
            Self::Expired
                | Self::NotYetValid
                | Self::WrongName { .. }
                | Self::UnknownIssuer
                | Self::Revoked
                | Self::Certificate(_)
        )
    }

    /// Whether the same may succeed later without any change on this side: a certificate is renewed, a connection
    /// holds.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid | Self::HandshakeLost | Self::Truncated)
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the peer's certificate has expired; is the clock of this machine right?"),
            Self::NotYetValid => {
                f.write_str("the peer's certificate is not valid yet; is the clock of this machine right?")
            }
            Self::WrongName { expected, certified } => {
                write!(f, "the server's certificate is not for {}", Escaped(expected.as_bytes()))?;
                for (place, name) in certified.iter().take(SHOWN_NAMES).enumerate() {
                    let before = if place == 0 { " but for " } else { ", " };
                    write!(f, "{before}{}", Escaped(name.as_bytes()))?;
                }
                if certified.len() > SHOWN_NAMES {
                    write!(f, " and others")?;
                }
                f.write_str("; connect by a name that is in it, or say which name to verify")
            }
            Self::UnknownIssuer => f.write_str(
                "no trusted authority issued the peer's certificate; if it is of an authority of your own, give that \
                 authority's certificate (CA)",
            ),
            Self::Revoked => f.write_str("the peer's certificate has been revoked"),
            Self::Certificate(words) => write!(f, "the peer's certificate is no good: {}", Escaped(words.as_bytes())),
            Self::CertificateRefused(alert) => {
                write!(f, "the peer refused the certificate of this side, or the lack of one (alert {alert})")
            }
            Self::NotTls => f.write_str(
                "the peer does not speak TLS here; TLS from the first octet on belongs to ports such as 465, STARTTLS \
                 to ports such as 25 and 587",
            ),
            Self::Incompatible(words) => {
                write!(f, "no TLS version or cipher suite that both sides have; TLS 1.2 is the least ({words})")
            }
            Self::Alert(alert) => write!(f, "the peer broke TLS off (alert {alert})"),
            Self::HandshakeLost => f.write_str("the connection was lost in the handshake"),
            Self::Truncated => {
                f.write_str("the connection ended without notice (close_notify): something may have been cut off")
            }
            Self::Setup(words) => write!(f, "TLS is not set up: {words}"),
            Self::Protocol(words) => write!(f, "the peer broke the rules of TLS: {}", Escaped(words.as_bytes())),
        }
    }
}

/// A failure of TLS on its way through an [`io::Error`], from where it happens to where it is told.
#[derive(Debug)]
pub struct TlsFailure {
    /// What went wrong.
    pub problem: TlsProblem,
    /// What the TLS library or the system said.
    pub source: io::Error,
}

impl TlsFailure {
    /// A failure and its cause.
    pub fn new(problem: TlsProblem, source: io::Error) -> Self {
        Self { problem, source }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl error::Error for TlsFailure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<TlsFailure> for io::Error {
    fn from(failure: TlsFailure) -> Self {
        // Never a kind that says to wait and try again.
        let kind = match failure.problem {
            TlsProblem::HandshakeLost | TlsProblem::Truncated => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, failure)
    }
}
