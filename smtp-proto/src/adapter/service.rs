//! What a server of an adapter needs for every session.

use std::sync::Arc;

use super::tls::ServerTls;
use crate::server::Config;

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

    /// Its parts, for an adapter.
    pub fn into_parts(self) -> (Arc<Config>, Option<ServerTls>) {
        (self.config, self.tls)
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
