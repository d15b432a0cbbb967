//! What a server of an adapter needs for every session.

use std::io;
use std::sync::Arc;

use super::tls::ServerTls;
use crate::server::{Config, Server};
use crate::time::Instant;

/// The port of SMTP.
const SMTP_PORT: u16 = 25;

/// How sessions are served: the configuration of the protocol, and the certificate if there is TLS.
#[derive(Debug, Clone)]
pub struct Service {
    config: Arc<Config>,
    tls: Option<ServerTls>,
}

impl Service {
    /// With this configuration and without TLS.
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self { config: config.into(), tls: None }
    }

    /// Has TLS, for STARTTLS and from the first octet on, as the configuration says.
    #[must_use]
    pub fn tls(self, tls: ServerTls) -> Self {
        Self { tls: Some(tls), ..self }
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

    /// A machine for one session, and the certificate for it.
    pub fn into_machine(self) -> (Server, Option<ServerTls>) {
        let mut machine = Server::new(self.config, Instant::default());
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
