//! What a server shows its clients.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::client::unusable;
use super::pem::Pem;
use super::{SetupError, default_provider};

/// How many sessions can be resumed, as many as rustls keeps by itself.
const KEPT_SESSIONS: usize = 256;

/// TLS in a server: its certificate, and which certificates of clients it trusts. TLS 1.2 and 1.3.
///
/// Clones share the certificate: what is replaced in one is replaced in all. Connections made from then on have the
/// new one; sessions that run keep what they have.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl ServerTls {
    /// With a certificate and its key in PEM files: the certificate of the key first, then those that lead to the
    /// authority.
    ///
    /// # Errors
    /// When a file cannot be read, has no certificate or no key in it, or they do not belong together; and when there
    /// is no crypto provider.
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, SetupError> {
        let (certificates, key) = (Pem::file(certificates.as_ref())?, Pem::file(key.as_ref())?);
        Self::new(&certificates, &key, default_provider()?)
    }

    /// With a certificate and its key in PEM.
    ///
    /// # Errors
    /// As [`ServerTls::from_pem_files`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, SetupError> {
        Self::with_provider(certificates, key, default_provider()?)
    }

    /// With a certificate and its key in PEM, and a crypto provider of one's own.
    ///
    /// # Errors
    /// As [`ServerTls::from_pem_files`].
    pub fn with_provider(certificates: &[u8], key: &[u8], provider: Arc<CryptoProvider>) -> Result<Self, SetupError> {
        let (certificates, key) = given(certificates, key);
        Self::new(&certificates, &key, provider)
    }

    /// With a configuration of one's own. Clients' certificates that its verifier takes count as verified.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config: Arc::new(RwLock::new(config)) }
    }

    /// Asks clients for a certificate, and trusts those of these authorities, in PEM (SASL EXTERNAL, RFC 4422
    /// appendix A). A client that has none is served all the same; one with another is not.
    ///
    /// For what was made [from PEM](ServerTls::from_pem): of a configuration of one's own, only the certificate is
    /// kept.
    ///
    /// # Errors
    /// When there is no authority or one cannot be used.
    pub fn client_ca_pem(self, authorities: &[u8]) -> Result<Self, SetupError> {
        let authorities = Pem::given(authorities, "the authorities given");
        let (roots, config) = (Arc::new(authorities.authorities()?), self.config());
        let provider = Arc::clone(config.crypto_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| authorities.bad_authority(&error))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(SetupError::Provider)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::clone(&config.cert_resolver));
        Ok(Self::from_config(Arc::new(config)))
    }

    /// Has another certificate from now on, and all else as before. On errors everything stays as it was.
    ///
    /// # Errors
    /// As [`ServerTls::from_pem_files`].
    pub fn replace_pem_files(&self, certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<(), SetupError> {
        let (certificates, key) = (Pem::file(certificates.as_ref())?, Pem::file(key.as_ref())?);
        self.replace(&certificates, &key)
    }

    /// Has another certificate from now on, and all else as before. On errors everything stays as it was.
    ///
    /// # Errors
    /// As [`ServerTls::from_pem_files`].
    pub fn replace_pem(&self, certificates: &[u8], key: &[u8]) -> Result<(), SetupError> {
        let (certificates, key) = given(certificates, key);
        self.replace(&certificates, &key)
    }

    /// Has another configuration from now on.
    pub fn replace_config(&self, config: Arc<ServerConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The configuration that new connections get.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn new(certificates: &Pem, key: &Pem, provider: Arc<CryptoProvider>) -> Result<Self, SetupError> {
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(SetupError::Provider)?
            .with_no_client_auth()
            .with_single_cert(certificates.certificates()?, key.key()?)
            .map_err(unusable)?;
        Ok(Self::from_config(Arc::new(config)))
    }

    fn replace(&self, certificates: &Pem, key: &Pem) -> Result<(), SetupError> {
        let mut config = ServerConfig::clone(&self.config());
        let certified = CertifiedKey::from_der(certificates.certificates()?, key.key()?, config.crypto_provider());
        config.cert_resolver = Arc::new(SingleCertAndKey::from(certified.map_err(unusable)?));
        // Nobody goes on with a session that the old certificate began.
        config.session_storage = ServerSessionMemoryCache::new(KEPT_SESSIONS);
        self.replace_config(Arc::new(config));
        Ok(())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn given(certificates: &[u8], key: &[u8]) -> (Pem, Pem) {
    (Pem::given(certificates, "the certificates given"), Pem::given(key, "the key given"))
}
