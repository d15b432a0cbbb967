//! The header by which a proxy says for whom it connects: the PROXY protocol, versions 1 and 2 (proxy-protocol.txt of
//! HAProxy).

#[cfg(test)]
mod tests;
mod version_1;
mod version_2;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};

/// What a PROXY header says (the PROXY protocol's specification, section 2).
///
/// Anybody who can connect can say anything: believe only what comes from a proxy that is known.
///
/// ```
/// use bytes::BytesMut;
/// use smtp_proto::wire::ProxyHeader;
/// let mut rx = BytesMut::from("PROXY TCP4 192.0.2.1 198.51.100.1 50000 25\r\nEHLO client.example\r\n");
/// let expected =
///     ProxyHeader::Proxied { source: "192.0.2.1:50000".parse()?, destination: "198.51.100.1:25".parse()? };
/// assert_eq!(ProxyHeader::read(&mut rx)?, Some(expected));
/// assert_eq!(rx, "EHLO client.example\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyHeader {
    /// LOCAL: the proxy connects for itself, to see whether the server is there. The socket's addresses hold. Version 2
    /// only.
    Local,
    /// The proxy connects for a client whose addresses it does not say, or not as addresses of TCP. The socket's
    /// addresses hold.
    Unknown,
    /// The proxy connects for a client.
    Proxied {
        /// The address of the client. An IPv4 address that is mapped into IPv6 stays that.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
}

/// Why octets are not a PROXY header. The connection has to be closed, without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// They begin like neither version.
    #[error("no PROXY header: whoever connected is no proxy, or one that is not set to send it")]
    NotAHeader,
    /// Version 1: the protocol is not TCP4, TCP6 or UNKNOWN.
    #[error("PROXY header for a protocol other than TCP4, TCP6 and UNKNOWN")]
    Protocol,
    /// Version 1: a CR or LF stands alone.
    #[error("PROXY header with a CR or LF alone")]
    LineEnd,
    /// Version 1: no CRLF within 107 octets.
    #[error("PROXY header without CRLF in its first {} octets", version_1::MAX_LINE)]
    LineLength,
    /// Addresses or ports are malformed, of another family than the header names, or too few octets for it.
    #[error("PROXY header with addresses or ports that are malformed or not of the family it names")]
    Addresses,
    /// Version 2: the version is this one.
    #[error("PROXY header of version {0}; 1 and 2 are known")]
    Version(u8),
    /// Version 2: the command, of which this is the number, is neither LOCAL nor PROXY.
    #[error("PROXY header with the unknown command {0}")]
    Command(u8),
    /// Version 2: there is no such family of addresses, or transport protocol; both are in this octet.
    #[error("PROXY header with the unknown address family or transport protocol {0:#04x}")]
    Family(u8),
    /// Version 2: so many octets are said to follow the first 16, which are more than 4096.
    #[error("PROXY header that says it has {0} octets behind its first 16; at most {max} are read", max = version_2::MAX_LENGTH)]
    Length(u16),
    /// Version 2: a TLV does not end where the header does.
    #[error("PROXY header with a TLV that runs over its end")]
    Tlv,
    /// Version 2: the CRC32c is not that of the header.
    #[error("PROXY header with a wrong CRC32c checksum: it was altered on its way, or built wrongly")]
    Checksum,
}

impl ProxyHeader {
    /// Takes a header of either version off the front of `rx`, and nothing behind it. `None`: it is not whole yet, and
    /// `rx` is as it was.
    ///
    /// Call it only where a header has to come: that is never guessed (section 2). Of version 1 it waits for 107
    /// octets at most. Of version 2 it waits for 16 and as many as these announce, up to 4096: the specification has
    /// headers fit into 536 octets, and a TLV with the client's certificate can take some thousand more.
    ///
    /// # Errors
    /// As soon as the octets cannot become a header, however they are segmented.
    pub fn read(rx: &mut BytesMut) -> Result<Option<Self>, ProxyError> {
        let read = if may_begin(rx, version_1::PREFIX) {
            version_1::read(rx)?
        } else if may_begin(rx, version_2::SIGNATURE) {
            version_2::read(rx)?
        } else {
            return Err(ProxyError::NotAHeader);
        };
        Ok(read.map(|(header, length)| {
            rx.advance(length);
            header
        }))
    }

    /// Writes the header of version 1 behind what is in `out`. It has to be the first that is sent, before TLS and
    /// SMTP (section 2).
    ///
    /// Version 1 has no `Local`, which is written like `Unknown`. Of two families, IPv4 is mapped into IPv6.
    pub fn write_v1(&self, out: &mut BytesMut) {
        version_1::write(self, out);
    }

    /// Writes the header of version 2, without TLVs, behind what is in `out`. It has to be the first that is sent,
    /// before TLS and SMTP (section 2).
    ///
    /// A receiver is free to refuse `Unknown`, but has to take `Local`. Of two families, IPv4 is mapped into IPv6.
    pub fn write_v2(&self, out: &mut BytesMut) {
        version_2::write(self, out);
    }
}

/// Whether octets begin with the pattern, as far as they go.
fn may_begin(octets: &[u8], pattern: &[u8]) -> bool {
    octets.starts_with(pattern) || pattern.starts_with(octets)
}

/// Source and destination in one family, which is what a header has.
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Pair {
    fn new(source: &SocketAddr, destination: &SocketAddr) -> Self {
        let mapped = |address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4(source, destination),
            (source, destination) => Self::V6(mapped(source), mapped(destination)),
        }
    }
}
