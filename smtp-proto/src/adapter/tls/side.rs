//! Which side of TLS a session is on.

use std::io;
use std::sync::OnceLock;

use rustls::{ClientConnection, ServerConnection};

use super::{ClientTls, ServerTls, SetupError, Tunnel};
use crate::adapter::{TlsFailure, TlsProblem};

/// Which side of TLS a session is on, and what it was given for it.
#[derive(Debug, Clone)]
pub enum TlsSide {
    /// The client's. Where nothing was given, it trusts what the system trusted when that was first asked for.
    Client(Option<ClientTls>),
    /// The server's.
    Server(Option<ServerTls>),
}

/// What the system trusts, read once: that takes milliseconds.
fn system() -> Result<&'static ClientTls, SetupError> {
    static SYSTEM: OnceLock<ClientTls> = OnceLock::new();
    match SYSTEM.get() {
        Some(system) => Ok(system),
        None => {
            let read = ClientTls::system_roots()?;
            Ok(SYSTEM.get_or_init(|| read))
        }
    }
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
                let tls = match given {
                    Some(tls) => tls,
                    None => system()?,
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
