//! Certificates and keys from PEM (RFC 7468).

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::SetupError;

/// PEM text and what it is called when something is wrong with it.
pub(super) struct Pem {
    text: Zeroizing<Vec<u8>>,
    place: String,
}

impl Pem {
    /// Given as an argument.
    pub(super) fn given(text: &[u8], place: &str) -> Self {
        Self { text: Zeroizing::new(text.to_vec()), place: place.to_owned() }
    }

    /// From a file.
    pub(super) fn file(path: &Path) -> Result<Self, SetupError> {
        let text = std::fs::read(path).map_err(|source| SetupError::File { path: path.to_owned(), source })?;
        Ok(Self { text: Zeroizing::new(text), place: path.display().to_string() })
    }

    /// All certificates in it; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, SetupError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => Err(SetupError::NoCertificate { place: self.place.clone() }),
            Ok(certificates) => Ok(certificates),
            // What the parser says may quote the text.
            Err(_) => Err(SetupError::DamagedPem { place: self.place.clone() }),
        }
    }

    /// The first key in it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, SetupError> {
        // In the form of PKCS #8, and in the older one.
        const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
        let place = || self.place.clone();
        let encrypted = ENCRYPTED.iter().any(|mark| memchr::memmem::find(&self.text, mark).is_some());
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| match error {
            _ if encrypted => SetupError::EncryptedKey { place: place() },
            pem::Error::NoItemsFound => SetupError::NoKey { place: place() },
            _ => SetupError::DamagedPem { place: place() },
        })
    }

    /// All certificates in it as authorities.
    pub(super) fn authorities(&self) -> Result<RootCertStore, SetupError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.bad_authority(&error))?;
        }
        Ok(roots)
    }

    /// The error for an authority that cannot be used.
    pub(super) fn bad_authority(&self, reason: &impl ToString) -> SetupError {
        SetupError::BadAuthority { place: self.place.clone(), reason: reason.to_string() }
    }
}
