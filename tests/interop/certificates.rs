//! Certificates for one test, as the files that programs take.

use std::fs;
use std::path::{Path, PathBuf};

use smtp_tests::certificates::{Authority, Certificate};
use tempfile::TempDir;

/// An authority and a certificate of a server that it issued, for `localhost`
/// and 127.0.0.1, as PEM files in a folder of their own.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let authority = Authority::new().expect("an authority");
        let server = authority.server(&Self::NAMES).expect("a certificate");
        Self::write(&authority, &server)
    }

    /// Those of an authority of this name.
    pub(crate) fn of(name: &str) -> Self {
        let authority = Authority::named(name).expect("an authority");
        let server = authority.server(&Self::NAMES).expect("a certificate");
        Self::write(&authority, &server)
    }

    /// The server's certificate was good once.
    pub(crate) fn expired() -> Self {
        let authority = Authority::new().expect("an authority");
        let server = authority.expired_server(&Self::NAMES).expect("a certificate");
        Self::write(&authority, &server)
    }

    const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

    fn write(authority: &Authority, server: &Certificate) -> Self {
        let certificates = Self { folder: TempDir::new().expect("a folder for the certificates") };
        fs::write(certificates.authority(), authority.pem()).expect("write a certificate");
        fs::write(certificates.certificate(), &server.certificate).expect("write a certificate");
        fs::write(certificates.key(), &server.key).expect("write a key");
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

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
