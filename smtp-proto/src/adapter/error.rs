//! The error type of the adapters: the session's errors, with what the system and TLS say.

use std::io;
use std::net::SocketAddr;

use super::tls_problem::{TlsFailure, TlsProblem};
use crate::client::RecipientOutcome;
use crate::delivery::{InvalidUrl, Report};
use crate::error::{ApiMisuse, Error as SessionError, InvalidArgument, Phase, TlsError, Unsendable};
use crate::wire::Reply;

/// Why an adapter could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's name has no address. Check the name; it is written as `host:port`.
    #[error("cannot find the address of {server}: {source}")]
    Resolve {
        /// The server as it was named.
        server: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// None of the server's addresses took a connection.
    #[error("cannot connect to {server}: {}", attempts_in_words(.attempts))]
    Connect {
        /// The server as it was named.
        server: String,
        /// Each address that was tried and how it failed.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    /// A Unix socket took no connection.
    #[error("cannot connect to {path}: {source}")]
    ConnectUnix {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A proxy gave no connection to the server.
    #[error("cannot connect to {server} through {proxy}: {source}")]
    Proxy {
        /// The proxy as it was named.
        proxy: String,
        /// The server as it was named.
        server: String,
        /// What the proxy or the system said.
        source: io::Error,
    },
    /// The connection failed under a session.
    #[error("connection with {peer} failed while {phase}: {source}")]
    Io {
        /// The other end.
        peer: String,
        /// What the session was doing.
        phase: Phase,
        /// What the system said.
        source: io::Error,
    },
    /// TLS failed, in the handshake or later.
    #[error("TLS with {peer}: {problem}")]
    Tls {
        /// The other end.
        peer: String,
        /// What went wrong.
        problem: TlsProblem,
        /// What the TLS library or the system said.
        source: io::Error,
    },
    /// The session failed.
    #[error("session with {peer}: {source}")]
    Smtp {
        /// The other end.
        peer: String,
        /// Why.
        source: SessionError,
    },
    /// The session had failed before: nothing was tried. Connect again.
    #[error("the session with {peer} is over: {source}")]
    Over {
        /// The other end.
        peer: String,
        /// Why it failed.
        source: SessionError,
    },
    /// The content of a message could not be read from where it is. The session was given up.
    #[error("cannot read the message: {0}")]
    Content(io::Error),
    /// The mailer was closed before the message had a connection.
    #[error("not sent: the mailer was closed")]
    MailerClosed,
    /// The message was not accepted for all its recipients.
    #[error("not delivered: {}", undelivered_in_words(.0))]
    Undelivered(Box<Report>),
    /// A text is not a URL of a server.
    #[error("not the URL of a server: {0}")]
    Url(#[from] InvalidUrl),
    /// An argument cannot go on the wire.
    #[error(transparent)]
    Argument(#[from] InvalidArgument),
}

fn attempts_in_words(attempts: &[(SocketAddr, io::Error)]) -> String {
    let words: Vec<String> = attempts.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    if words.is_empty() { "it has no address".to_owned() } else { words.join("; ") }
}

fn undelivered(report: &Report) -> impl Iterator<Item = &RecipientOutcome> {
    report.outcome.recipients.iter().filter(|recipient| !recipient.is_accepted())
}

fn undelivered_in_words(report: &Report) -> String {
    let recipients = &report.outcome.recipients;
    let failed: Vec<_> = recipients.iter().filter(|recipient| !recipient.is_accepted()).collect();
    let first = failed.first().map(ToString::to_string).unwrap_or_default();
    format!("to {} of {} recipients; the first of them {first}", failed.len(), recipients.len())
}

impl Error {
    /// The error of a session, with the failure of the connection that caused it, if one did.
    pub fn new(peer: &str, source: SessionError, broken: Option<io::Error>) -> Self {
        let peer = peer.to_owned();
        // What the peer said, and what does not come from the connection, tells more than how the connection ended.
        let told = source.reply().is_some()
            || matches!(
                source,
                SessionError::Timeout { .. }
                    | SessionError::GivenUp
                    | SessionError::SessionUsedUp
                    | SessionError::Peer(_)
                    | SessionError::Unsendable(_)
                    | SessionError::Misuse(_)
            );
        match broken.filter(|_| !told).map(io::Error::downcast) {
            Some(Ok(TlsFailure { problem, source })) => Self::Tls { peer, problem, source },
            Some(Err(broken)) => match source {
                SessionError::Disconnected { phase } => Self::Io { peer, phase, source: broken },
                source => Self::Smtp { peer, source },
            },
            None => Self::Smtp { peer, source },
        }
    }

    /// The report, or an error when the message was not accepted for all its recipients.
    ///
    /// # Errors
    /// [`Error::Undelivered`].
    pub fn unless_delivered(report: Report) -> Result<Report, Self> {
        if report.outcome.is_delivered() { Ok(report) } else { Err(Self::Undelivered(Box::new(report))) }
    }

    /// The error of a call that does not fit, in a session that may have failed before.
    pub fn misuse(peer: &str, misuse: ApiMisuse, failure: Option<&SessionError>) -> Self {
        let peer = peer.to_owned();
        match (misuse, failure) {
            (ApiMisuse::Closed, Some(failure)) => Self::Over { peer, source: failure.clone() },
            (misuse, _) => Self::Smtp { peer, source: misuse.into() },
        }
    }

    /// Whether the same may succeed later without any change, and does no harm: of a message for several recipients, for
    /// all who do not get it, and never where the outcome is unknown for one of them.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ConnectUnix { .. }
            | Self::Proxy { .. }
            | Self::Io { .. }
            | Self::Over { .. } => true,
            Self::Smtp { source, .. } => source.is_transient(),
            Self::Tls { problem, .. } => problem.is_transient(),
            Self::Undelivered(report) => undelivered(report).all(RecipientOutcome::is_transient),
            Self::Content(_) | Self::MailerClosed | Self::Url(_) | Self::Argument(_) => false,
        }
    }

    /// Whether the same fails again unless something is changed: the message, the login, the configuration. Neither this
    /// nor transient is what differs between recipients, or is unknown.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Undelivered(report) => undelivered(report).all(RecipientOutcome::is_permanent),
            error => !error.is_transient(),
        }
    }

    /// Whether a deadline passed; of a message for several recipients, for one of those who do not get it at least.
    pub fn is_timeout(&self) -> bool {
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        match self {
            Self::Connect { attempts, .. } => attempts.iter().any(|(_, error)| timed_out(error)),
            Self::Io { source, .. }
            | Self::Resolve { source, .. }
            | Self::ConnectUnix { source, .. }
            | Self::Proxy { source, .. } => timed_out(source),
            Self::Smtp { source, .. } | Self::Over { source, .. } => source.is_timeout(),
            Self::Undelivered(report) => report.outcome.recipients.iter().any(|recipient| match recipient {
                RecipientOutcome::Failed(error) | RecipientOutcome::Unknown(error) => error.is_timeout(),
                RecipientOutcome::Accepted(_) | RecipientOutcome::Refused { .. } => false,
            }),
            _ => false,
        }
    }

    /// The same as an error of a session, or what comes nearest to it.
    pub fn session_error(&self) -> SessionError {
        match self {
            Self::Smtp { source, .. } | Self::Over { source, .. } => source.clone(),
            Self::Io { phase, .. } => SessionError::Disconnected { phase: *phase },
            Self::Tls { problem, .. } if problem.is_transient() => {
                SessionError::Disconnected { phase: Phase::Handshake }
            }
            Self::Tls { .. } => TlsError::Handshake.into(),
            Self::Resolve { .. } | Self::Connect { .. } | Self::ConnectUnix { .. } | Self::Proxy { .. } => {
                SessionError::NotConnected
            }
            Self::Argument(argument) => ApiMisuse::Argument(argument.clone()).into(),
            Self::Undelivered(report) => report.outcome.error.clone().unwrap_or(SessionError::GivenUp),
            Self::Content(_) | Self::MailerClosed | Self::Url(_) => Unsendable::Cancelled.into(),
        }
    }

    /// What went wrong with TLS, if it was that.
    pub fn tls_problem(&self) -> Option<&TlsProblem> {
        match self {
            Self::Tls { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The reply that caused it; of a message for several recipients, that to the first who does not get it.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Smtp { source, .. } | Self::Over { source, .. } => source.reply(),
            Self::Undelivered(report) => {
                let mut recipients = report.outcome.recipients.iter();
                recipients.find(|recipient| !recipient.is_accepted()).and_then(RecipientOutcome::reply)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Outcome;

    #[test]
    fn a_deadline_that_passed_is_told_wherever_it_did() {
        let timeout = SessionError::Timeout { phase: Phase::EndOfData };
        let lost = SessionError::Disconnected { phase: Phase::EndOfData };
        let accepted = || RecipientOutcome::Accepted(Reply::from_static("250 ok"));
        let refused = || RecipientOutcome::Refused { phase: Phase::Rcpt, reply: Reply::from_static("451 later") };
        let undelivered = |recipients| {
            let outcome = Outcome { recipients, reply: None, left_out: Vec::new(), error: None, session_over: false };
            Error::Undelivered(Box::new(Report { outcome, attempts: 1 }))
        };
        let over = |source: &SessionError| Error::Over { peer: "peer".to_owned(), source: source.clone() };
        let resolve = |kind: io::ErrorKind| Error::Resolve { server: "server".to_owned(), source: kind.into() };
        for (error, expected) in [
            (undelivered(vec![accepted(), RecipientOutcome::Unknown(timeout.clone())]), true),
            (undelivered(vec![refused(), RecipientOutcome::Failed(timeout.clone())]), true),
            (undelivered(vec![refused(), RecipientOutcome::Failed(lost.clone())]), false),
            (over(&timeout), true),
            (over(&lost), false),
            (resolve(io::ErrorKind::TimedOut), true),
            (resolve(io::ErrorKind::NotFound), false),
        ] {
            assert_eq!(error.is_timeout(), expected, "{error}");
        }
    }
}
