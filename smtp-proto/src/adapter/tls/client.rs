//! What a client takes for its server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::pem::Pem;
use super::{SetupError, default_provider};

/// Which servers a client trusts.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Trust<'a> {
    /// Those with a certificate of an authority that the system trusts.
    System,
    /// Those with a certificate of one of these authorities, in PEM, and no others.
    Authorities(&'a [u8]),
    /// Every server, whoever it may be: [`ClientTls::accepting_unverified_certificates`].
    Anyone,
}

/// TLS in a client: which servers it trusts and what it shows them. TLS 1.2 and 1.3.
///
/// The certificate must be for the host that the program named, or for [`ClientTls::server_name`] (RFC 7817,
/// RFC 9525). Clones share the sessions that can be resumed: keep one for many connections.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    verifies: bool,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Trusts the authorities that the system trusts.
    ///
    /// # Errors
    /// When the system has none, or there is no crypto provider.
    pub fn system_roots() -> Result<Self, SetupError> {
        Self::with_provider(Trust::System, default_provider()?)
    }

    /// Trusts these authorities, in PEM, and no others.
    ///
    /// # Errors
    /// When there is none or one cannot be used, or there is no crypto provider.
    pub fn with_ca_pem(authorities: &[u8]) -> Result<Self, SetupError> {
        Self::with_provider(Trust::Authorities(authorities), default_provider()?)
    }

    /// Trusts the authorities in this PEM file, and no others.
    ///
    /// # Errors
    /// As [`ClientTls::with_ca_pem`]; and when the file cannot be read.
    pub fn with_ca_file(path: impl AsRef<Path>) -> Result<Self, SetupError> {
        trusting(&Pem::file(path.as_ref())?, default_provider()?)
    }

    /// Takes any certificate of any server: nobody can listen in, but anybody can pretend to be the server. Only for
    /// relaying where TLS is better than nothing (RFC 7435); never for logging in.
    ///
    /// That the server has the key of its certificate is verified all the same.
    /// [`TlsInfo::verified`](crate::TlsInfo::verified) is false.
    ///
    /// # Errors
    /// When there is no crypto provider.
    pub fn accepting_unverified_certificates() -> Result<Self, SetupError> {
        Self::with_provider(Trust::Anyone, default_provider()?)
    }

    /// Trusts these servers, with a crypto provider of one's own.
    ///
    /// # Errors
    /// When an authority or the provider cannot be used.
    pub fn with_provider(trust: Trust<'_>, provider: Arc<CryptoProvider>) -> Result<Self, SetupError> {
        match trust {
            Trust::System => {
                let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider));
                Self::verifying(Arc::new(verifier.map_err(SetupError::NoSystemRoots)?), provider, true)
            }
            Trust::Authorities(authorities) => trusting(&Pem::given(authorities, "the authorities given"), provider),
            Trust::Anyone => Self::verifying(Arc::new(AnyCertificate(Arc::clone(&provider))), provider, false),
        }
    }

    /// With a configuration of one's own. Its verifier counts as one that verifies.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { config, verifies: true, server_name: None }
    }

    /// Asks for this server (SNI) and takes only a certificate that is for it, whatever the connection is made to.
    ///
    /// # Errors
    /// When it is neither a host name nor an IP address.
    pub fn server_name(self, name: &str) -> Result<Self, SetupError> {
        Ok(Self { server_name: Some(parse(name)?), ..self })
    }

    /// Shows this certificate to servers that ask for one (SASL EXTERNAL, RFC 4422 appendix A). In PEM, the
    /// certificate of the key first.
    ///
    /// # Errors
    /// When there is no certificate or key, or they do not belong together.
    pub fn certificate_pem(self, certificates: &[u8], key: &[u8]) -> Result<Self, SetupError> {
        let certificates = Pem::given(certificates, "the certificates given").certificates()?;
        let key = Pem::given(key, "the key given").key()?;
        let certified = CertifiedKey::from_der(certificates, key, self.config.crypto_provider());
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified.map_err(unusable)?));
        // A session of somebody else is not to be resumed.
        config.resumption = Resumption::default();
        Ok(Self { config: Arc::new(config), ..self })
    }

    /// The configuration in use.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    fn verifying(
        verifier: Arc<dyn ServerCertVerifier>,
        provider: Arc<CryptoProvider>,
        verifies: bool,
    ) -> Result<Self, SetupError> {
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(SetupError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), verifies, server_name: None })
    }

    pub(super) fn verifies(&self) -> bool {
        self.verifies
    }

    /// The name that the certificate has to be for, when the connection is to `peer`, written as a host or as
    /// `host:port`.
    pub(super) fn name_for(&self, peer: &str) -> Result<ServerName<'static>, SetupError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => parse(host(peer)),
        }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("verifies", &self.verifies)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

fn trusting(authorities: &Pem, provider: Arc<CryptoProvider>) -> Result<ClientTls, SetupError> {
    let roots = Arc::new(authorities.authorities()?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| authorities.bad_authority(&error))?;
    ClientTls::verifying(verifier, provider, true)
}

/// Sorts out why a certificate and its key cannot be used.
pub(super) fn unusable(error: rustls::Error) -> SetupError {
    match error {
        rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => SetupError::KeyMismatch,
        error => SetupError::Unusable(error),
    }
}

/// The host of `host`, `host:port`, `[address]:port` or `[address]`. An IPv6 address without brackets has no port.
fn host(peer: &str) -> &str {
    if let Some((address, _)) = peer.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match peer.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => peer,
    }
}

fn parse(name: &str) -> Result<ServerName<'static>, SetupError> {
    // The dot at the end of an absolute name is in no certificate and not in SNI (RFC 6066 section 3).
    let name = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(name).map(|name| name.to_owned()).map_err(|_| SetupError::ServerName(name.to_owned()))
}

/// Takes every certificate. The signatures of the handshake are verified, so that the peer has the certificate's key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_server() {
        let cases = [
            ("mail.example:25", "mail.example"),
            ("mail.example", "mail.example"),
            ("192.0.2.1:25", "192.0.2.1"),
            ("[2001:db8::1]:25", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ];
        for (peer, expected) in cases {
            assert_eq!(host(peer), expected, "{peer}");
        }
    }

    #[test]
    fn names_are_host_names_or_addresses() {
        assert_eq!(parse("mail.example.").unwrap().to_str(), "mail.example");
        assert!(matches!(parse("192.0.2.1"), Ok(ServerName::IpAddress(_))));
        assert!(matches!(parse("2001:db8::1"), Ok(ServerName::IpAddress(_))));
        for name in ["", "the other end", "a\r\nb", "."] {
            assert!(matches!(parse(name), Err(SetupError::ServerName(_))), "{name}");
        }
    }
}
