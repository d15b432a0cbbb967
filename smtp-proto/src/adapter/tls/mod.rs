//! TLS with `rustls`, for adapters: whose certificates are trusted and shown, and a connection under TLS.
//!
//! The crypto provider is the one given, else the one that the program installed with
//! [`CryptoProvider::install_default`], else that of the feature `ring` or `aws-lc-rs`, the first of them that is
//! enabled.

mod classify;
mod client;
mod info;
mod pem;
mod server;
mod setup_error;
mod side;
#[cfg(test)]
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod tests;
mod tunnel;

use std::sync::Arc;

pub use rustls;
use rustls::crypto::CryptoProvider;

pub use client::{ClientTls, Trust};
pub use server::ServerTls;
pub use setup_error::SetupError;
pub use side::TlsSide;
pub use tunnel::Tunnel;

/// The provider where none was given.
fn default_provider() -> Result<Arc<CryptoProvider>, SetupError> {
    match CryptoProvider::get_default() {
        Some(installed) => Ok(Arc::clone(installed)),
        None => built_in_provider(),
    }
}

#[cfg(feature = "ring")]
#[allow(clippy::unnecessary_wraps, reason = "others of the same name fail")]
fn built_in_provider() -> Result<Arc<CryptoProvider>, SetupError> {
    Ok(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
#[allow(clippy::unnecessary_wraps, reason = "others of the same name fail")]
fn built_in_provider() -> Result<Arc<CryptoProvider>, SetupError> {
    Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn built_in_provider() -> Result<Arc<CryptoProvider>, SetupError> {
    Err(SetupError::NoProvider)
}

#[cfg(test)]
#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
#[test]
fn without_a_provider_there_is_an_error_and_no_panic() {
    assert!(matches!(ClientTls::system_roots(), Err(SetupError::NoProvider)));
    assert!(matches!(ClientTls::accepting_unverified_certificates(), Err(SetupError::NoProvider)));
    assert!(matches!(ServerTls::from_pem(b"", b""), Err(SetupError::NoProvider)));
}
