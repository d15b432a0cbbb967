//! What a server of an adapter needs for every session.

use std::io;
use std::sync::Arc;

use super::tls::ServerTls;
use crate::server::{Config, Server};
use crate::time::Instant;
use crate::transcript::{Entry, SharedTap};

/// The port of SMTP.
const SMTP_PORT: u16 = 25;

/// How sessions are served: the configuration of the protocol, the certificate if there is TLS, and who listens in.
#[derive(Debug, Clone)]
pub struct Service {
    config: Arc<Config>,
    tls: Option<ServerTls>,
    transcript: Option<SharedTap>,
}

impl Service {
    /// With this configuration, without TLS, and without a transcript.
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { config: config.into(), tls: None, transcript: None }
    }

    /// Has TLS, for STARTTLS and from the first octet on, as the configuration says.
    #[must_use]
    pub fn tls(self, tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Hands every command and reply of the sessions to `tap`, such as
    /// [`to_writer`](crate::transcript::to_writer), without what is secret. All sessions share it and wait for it;
    /// [`Entry::session`] tells them apart.
    #[must_use]
    pub fn transcript(self, tap: impl FnMut(Entry<'_>) + Send + 'static) -> Self {
        Self { transcript: Some(SharedTap::new(tap)), ..self }
    }

    /// The configuration of the protocol.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether it may listen on this port.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for LMTP on port 25 (RFC 2033 section 5).
    pub fn check_port(&self, port: u16) -> io::Result<()> {
        if self.config.lmtp && port == SMTP_PORT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "port 25 is for SMTP: LMTP must not be spoken there",
            ));
        }
        Ok(())
    }

    /// A machine for the session of this number, and the certificate for it.
    pub fn into_machine(self, session: u64) -> (Server, Option<ServerTls>) {
        let mut machine = Server::new(self.config, Instant::default());
        if let Some(tap) = self.transcript {
            machine.set_transcript(tap.tap(session));
        }
        if self.tls.is_none() {
            machine.tls_unavailable();
        }
        (machine, self.tls)
    }
}

impl From<Arc<Config>> for Service {
    fn from(config: Arc<Config>) -> Self {
        Self::new(config)
    }
}

impl From<Config> for Service {
    fn from(config: Config) -> Self {
        Self::new(config)
    }
}
