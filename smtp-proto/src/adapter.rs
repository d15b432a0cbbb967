//! What the adapters share that is neither protocol nor runtime: their error type and how much they read at a time.

use std::io;
use std::net::SocketAddr;

use crate::error::{ApiMisuse, Error as SessionError, Phase};
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
}

fn attempts_in_words(attempts: &[(SocketAddr, io::Error)]) -> String {
    let words: Vec<String> = attempts.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    if words.is_empty() { "it has no address".to_owned() } else { words.join("; ") }
}

impl Error {
    /// The error of a session, with the failure of the connection that caused it, if one did.
    pub fn new(peer: &str, source: SessionError, broken: Option<io::Error>) -> Self {
        let peer = peer.to_owned();
        match (source, broken) {
            (SessionError::Disconnected { phase }, Some(source)) => Self::Io { peer, phase, source },
            (source, _) => Self::Smtp { peer, source },
        }
    }

    /// The error of a call that does not fit, in a session that may have failed before.
    pub fn misuse(peer: &str, misuse: ApiMisuse, failure: Option<&SessionError>) -> Self {
        let peer = peer.to_owned();
        match (misuse, failure) {
            (ApiMisuse::Closed, Some(failure)) => Self::Over { peer, source: failure.clone() },
            (misuse, _) => Self::Smtp { peer, source: misuse.into() },
        }
    }

    /// Whether the same may succeed later without any change.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::Io { .. } | Self::Over { .. } => true,
            Self::Smtp { source, .. } => source.is_temporary(),
            Self::Content(_) => false,
        }
    }

    /// Whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        match self {
            Self::Connect { attempts, .. } => attempts.iter().any(|(_, error)| timed_out(error)),
            Self::Io { source, .. } => timed_out(source),
            Self::Smtp { source, .. } => source.is_timeout(),
            Self::Resolve { .. } | Self::Over { .. } | Self::Content(_) => false,
        }
    }

    /// The reply that caused it.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Smtp { source, .. } => source.reply(),
            _ => None,
        }
    }
}

/// How much to read at a time: little for commands, more when a lot comes.
#[derive(Debug, Clone, Copy)]
pub struct ReadSize(usize);

impl ReadSize {
    const LEAST: usize = 4 * 1024;
    const MOST: usize = 128 * 1024;

    /// Octets of room to make for the next read.
    pub fn octets(self) -> usize {
        self.0
    }

    /// Takes note of how much a read gave.
    pub fn note(&mut self, received: usize) {
        self.0 = match received {
            received if received >= self.0 => self.0.saturating_mul(2).min(Self::MOST),
            received if received < self.0.div_euclid(4) => self.0.div_euclid(2).max(Self::LEAST),
            _ => self.0,
        };
    }
}

impl Default for ReadSize {
    fn default() -> Self {
        Self(Self::LEAST)
    }
}
