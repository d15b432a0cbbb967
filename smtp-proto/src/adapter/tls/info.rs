//! What is told about a connection under TLS.

use rustls::pki_types::ServerName;
use rustls::{Connection, ProtocolVersion};

use crate::TlsInfo;
use crate::sasl::ChannelBinding;

/// What `rustls` knows of a connection after the handshake.
pub(super) fn facts(connection: &Connection, verifies: bool, asked: Option<&ServerName<'_>>) -> TlsInfo {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        version => format!("{version:?}"),
    };
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    // The registered names of the suites of TLS 1.3 do not have the version.
    let suite = suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1);
    let certificates = connection.peer_certificates().unwrap_or_default();
    TlsInfo {
        verified: verifies && !certificates.is_empty(),
        peer_certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect(),
        server_name: match connection {
            Connection::Client(_) => asked.and_then(host_name),
            Connection::Server(server) => server.server_name().map(str::to_owned),
        },
        channel_bindings: tls_exporter(connection).into_iter().collect(),
        ..TlsInfo::new(version, suite)
    }
}

/// Addresses are not sent as names (RFC 6066 section 3).
fn host_name(name: &ServerName<'_>) -> Option<String> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}

/// The channel binding `tls-exporter` (RFC 9266). Under TLS 1.2 it needs the extended master secret, and `rustls` does
/// not tell whether that is in use, so there is none.
///
/// There is no `tls-server-end-point` either: a server is not told which of its certificates was shown, and both sides
/// need it.
fn tls_exporter(connection: &Connection) -> Option<ChannelBinding> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    let exported = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
    exported.ok().map(ChannelBinding::tls_exporter)
}
