//! Certificates made on the spot.

use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// An authority that nobody knows.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, both in PEM.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn new() -> Result<Self, rcgen::Error> {
        // No two have the same name.
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("Authority {number} of process {} for one test", std::process::id()))
    }

    /// Makes one of this name.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn named(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server with these names or addresses.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn server(&self, names: &[&str]) -> Result<Certificate, rcgen::Error> {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, false)
    }

    /// One that was good until the end of 2020.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn expired_server(&self, names: &[&str]) -> Result<Certificate, rcgen::Error> {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, true)
    }

    /// A certificate for a client.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn client(&self, name: &str) -> Result<Certificate, rcgen::Error> {
        self.issue(&[name], ExtendedKeyUsagePurpose::ClientAuth, false)
    }

    fn issue(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        expired: bool,
    ) -> Result<Certificate, rcgen::Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "A certificate for one test");
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { certificate, key: key.serialize_pem() })
    }
}
