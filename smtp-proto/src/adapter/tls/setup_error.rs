//! Why TLS cannot be had as it was asked for.

use std::io;
use std::path::PathBuf;

/// Why TLS cannot be had as it was asked for. Nothing of a key is ever in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What should be PEM is damaged.
    #[error("{place} is damaged: a section between -----BEGIN and -----END cannot be read")]
    DamagedPem {
        /// The file, or what the argument is.
        place: String,
    },
    /// There is no certificate.
    #[error("there is no certificate in {place}; it must be PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// The file, or what the argument is.
        place: String,
    },
    /// There is no private key.
    #[error("there is no private key in {place}; it must be PEM (-----BEGIN PRIVATE KEY-----)")]
    NoKey {
        /// The file, or what the argument is.
        place: String,
    },
    /// The private key is encrypted.
    #[error("the private key in {place} is encrypted; give it without (openssl pkey -in encrypted -out clear)")]
    EncryptedKey {
        /// The file, or what the argument is.
        place: String,
    },
    /// The private key is not that of the certificate.
    #[error("the private key does not belong to the certificate; in a chain, the certificate of the key comes first")]
    KeyMismatch,
    /// The certificate or its key cannot be used.
    #[error("cannot use the certificate or its key: {0}; keys are RSA, ECDSA or Ed25519")]
    Unusable(rustls::Error),
    /// The certificate of an authority cannot be used.
    #[error("cannot use a certificate in {place} as an authority: {reason}")]
    BadAuthority {
        /// The file, or what the argument is.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The system's authorities cannot be had. Install its package of CA certificates, or give authorities.
    #[error("the system has no usable CA certificates (is the package ca-certificates installed?): {0}")]
    NoSystemRoots(rustls::Error),
    /// There is no crypto provider.
    #[error("there is no crypto provider: enable the feature `ring` or `aws-lc-rs`, or install one at the start")]
    NoProvider,
    /// The crypto provider does not fit.
    #[error("the crypto provider cannot be used: {0}")]
    Provider(rustls::Error),
    /// This is no name of a server.
    #[error(
        "`{0}` is neither a host name nor an IP address, so no certificate can be for it; say which name to verify"
    )]
    ServerName(String),
    /// This side has no certificate, and TLS is asked for.
    #[error("the server has no certificate")]
    NoServerCertificate,
}
