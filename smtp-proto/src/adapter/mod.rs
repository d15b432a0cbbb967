//! What the adapters share that is neither protocol nor runtime: errors, TLS, how much they read at a time, and what
//! clients and servers are around their sessions.

mod error;
pub mod sending;
mod service;
pub mod serving;
#[cfg(feature = "rustls")]
pub mod tls;
#[cfg(not(feature = "rustls"))]
#[doc(hidden)]
#[path = "without_tls.rs"]
pub mod tls;
mod tls_problem;

pub use error::Error;
pub use service::Service;
pub use tls_problem::{TlsFailure, TlsProblem};

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
