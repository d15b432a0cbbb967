//! What an error of `rustls` means to the reader of a message.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::adapter::{TlsFailure, TlsProblem};

/// An error of `rustls` with the problem it stands for.
pub(super) fn failure(error: Error, handshaking: bool) -> TlsFailure {
    TlsFailure::new(problem(&error, handshaking), io::Error::new(io::ErrorKind::InvalidData, error))
}

fn problem(error: &Error, handshaking: bool) -> TlsProblem {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::NoCertificatesPresented => TlsProblem::Certificate(error.to_string()),
        Error::AlertReceived(alert) => alert_received(*alert),
        Error::PeerIncompatible(_) => TlsProblem::Incompatible(error.to_string()),
        // Text where the head of a record should be.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) if handshaking => TlsProblem::NotTls,
        error => TlsProblem::Protocol(error.to_string()),
    }
}

fn certificate(error: &CertificateError) -> TlsProblem {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsProblem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsProblem::NotYetValid,
        CertificateError::UnknownIssuer => TlsProblem::UnknownIssuer,
        // The name of a trusted authority, and not its key: an authority that was made anew, or somebody else's.
        CertificateError::BadSignature => TlsProblem::UnknownIssuer,
        CertificateError::Revoked => TlsProblem::Revoked,
        CertificateError::NotValidForNameContext { expected, presented } => TlsProblem::WrongName {
            expected: expected.to_str().into_owned(),
            certified: presented.iter().map(|name| bare(name).to_owned()).collect(),
        },
        CertificateError::NotValidForName => {
            TlsProblem::WrongName { expected: "the server's name".to_owned(), certified: Vec::new() }
        }
        error => TlsProblem::Certificate(error.to_string()),
    }
}

/// A name out of its wrapping, as in `DnsName("mail.example")` and `IpAddress(192.0.2.1)`.
fn bare(name: &str) -> &str {
    match name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')) {
        Some(inner) => inner.trim_matches('"'),
        None => name,
    }
}

fn alert_received(alert: AlertDescription) -> TlsProblem {
    let name = format!("{alert:?}");
    match alert {
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => TlsProblem::CertificateRefused(name),
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => TlsProblem::Incompatible(format!("alert {name}")),
        _ => TlsProblem::Alert(name),
    }
}
