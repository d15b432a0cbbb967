//! Which side of TLS a session is on.

use std::io;

use rustls::{ClientConnection, ServerConnection};

use super::{ClientTls, ServerTls, SetupError, Tunnel};
use crate::adapter::{TlsFailure, TlsProblem};

/// Which side of TLS a session is on, and what it was given for it.
#[derive(Debug, Clone)]
pub enum TlsSide {
    /// The client's. Where nothing was given, it trusts what the system trusts.
    Client(Option<ClientTls>),
    /// The server's.
    Server(Option<ServerTls>),
}

impl TlsSide {
    /// Begins a connection under TLS. A client verifies that `peer`, a host or `host:port`, is at the other end.
    ///
    /// # Errors
    /// A [`TlsFailure`] when TLS cannot be had.
    pub fn begin(&self, peer: &str) -> io::Result<Tunnel> {
        self.tunnel(peer).map_err(|error| {
            let problem = TlsProblem::Setup(error.to_string());
            TlsFailure::new(problem, io::Error::other(error)).into()
        })
    }

    fn tunnel(&self, peer: &str) -> Result<Tunnel, SetupError> {
        match self {
            Self::Client(given) => {
                let system;
                let tls = match given {
                    Some(tls) => tls,
                    None => {
                        system = ClientTls::system_roots()?;
                        &system
                    }
                };
                let name = tls.name_for(peer)?;
                let connection = ClientConnection::new(tls.config(), name.clone()).map_err(SetupError::Provider)?;
                Ok(Tunnel::new(connection.into(), tls.verifies(), Some(name)))
            }
            Self::Server(Some(tls)) => {
                let connection = ServerConnection::new(tls.config()).map_err(SetupError::Provider)?;
                Ok(Tunnel::new(connection.into(), true, None))
            }
            Self::Server(None) => Err(SetupError::NoServerCertificate),
        }
    }
}
