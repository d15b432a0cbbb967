//! Certificates made for one test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;

use crate::support::messages::sha256;

/// An authority and a certificate of a server that it issued, for `localhost`
/// and 127.0.0.1, as PEM files in a folder of their own.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        Self::make(|_| {})
    }

    /// The server's certificate was good until the end of 2020.
    pub(crate) fn expired() -> Self {
        Self::make(|leaf| {
            leaf.not_before = date_time_ymd(2020, 1, 1);
            leaf.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn make(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        // A name of its own: a certificate of another authority is then not
        // taken for a forged one of this authority.
        let name = format!("Authority {}", sha256(authority_key.public_key_raw()));
        authority.distinguished_name.push(DnType::CommonName, &name[..64]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");

        let mut leaf = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        leaf.distinguished_name.push(DnType::CommonName, "localhost");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        change(&mut leaf);
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");

        let certificates = Self { folder: TempDir::new().expect("a folder for the certificates") };
        fs::write(certificates.authority(), authority_certificate.pem()).expect("write a certificate");
        fs::write(certificates.certificate(), certificate.pem()).expect("write a certificate");
        fs::write(certificates.key(), key.serialize_pem()).expect("write a key");
        certificates
    }

    /// Whom clients have to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The server's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The key of the server's certificate.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// A path as an argument or a member of JSON.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
