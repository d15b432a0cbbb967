//! Version 2: a block of octets (the PROXY protocol's specification, section 2.2).

use core::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};

use super::{Pair, ProxyError, ProxyHeader};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The most octets that may follow the first 16.
pub(super) const MAX_LENGTH: u16 = 4096;

const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPEC: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const CRC32C: u8 = 3;

/// Reads the header at the front, and tells its length. `None`: more octets are needed.
pub(super) fn read(octets: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let Some([version_and_command, rest @ ..]) = octets.strip_prefix(SIGNATURE) else { return Ok(None) };
    let (version, command) = (version_and_command >> 4, version_and_command & 15);
    if version != VERSION {
        return Err(ProxyError::Version(version));
    }
    if !matches!(command, LOCAL | PROXY) {
        return Err(ProxyError::Command(command));
    }
    let [family, rest @ ..] = rest else { return Ok(None) };
    let addresses = match address_length(*family) {
        Some(length) => length,
        None if command == LOCAL => 0,
        None => return Err(ProxyError::Family(*family)),
    };
    let [high, low, rest @ ..] = rest else { return Ok(None) };
    let length = u16::from_be_bytes([*high, *low]);
    if length > MAX_LENGTH {
        return Err(ProxyError::Length(length));
    }
    if command == PROXY && addresses > length.into() {
        return Err(ProxyError::Addresses);
    }
    let Some(block) = rest.get(..length.into()) else { return Ok(None) };
    let whole = octets.len().saturating_sub(rest.len()).saturating_add(block.len());
    let (header, tlvs) = (octets.get(..whole).unwrap_or_default(), block.get(addresses..).unwrap_or_default());
    let said = match (command, *family) {
        (PROXY, TCP_OVER_IPV4) => proxied::<4>(block),
        (PROXY, TCP_OVER_IPV6) => proxied::<16>(block),
        (LOCAL, _) => Some(ProxyHeader::Local),
        _ => Some(ProxyHeader::Unknown),
    };
    match check_tlvs(header, tlvs) {
        // What stands in the block is to be ignored then, and need not be TLVs.
        Err(ProxyError::Tlv) if command == LOCAL || addresses == 0 => {}
        checked => checked?,
    }
    Ok(Some((said.ok_or(ProxyError::Addresses)?, whole)))
}

/// How many octets of addresses a family and transport protocol have. `None`: there is none with this number.
fn address_length(family: u8) -> Option<usize> {
    match (family >> 4, family & 15) {
        (0, 0..=2) | (1..=3, 0) => Some(0),
        (1, 1 | 2) => Some(12),
        (2, 1 | 2) => Some(36),
        (3, 1 | 2) => Some(216),
        _ => None,
    }
}

fn proxied<const OCTETS: usize>(block: &[u8]) -> Option<ProxyHeader>
where
    IpAddr: From<[u8; OCTETS]>,
{
    let (source, block) = block.split_first_chunk()?;
    let (destination, block) = block.split_first_chunk()?;
    let (source_port, block) = block.split_first_chunk()?;
    let (destination_port, _) = block.split_first_chunk()?;
    let address =
        |octets: &[u8; OCTETS], port: &[u8; 2]| SocketAddr::new(IpAddr::from(*octets), u16::from_be_bytes(*port));
    Some(ProxyHeader::Proxied {
        source: address(source, source_port),
        destination: address(destination, destination_port),
    })
}

/// Checks that TLVs end where the header does, and a checksum among them. What else they say is ignored.
fn check_tlvs(header: &[u8], tlvs: &[u8]) -> Result<(), ProxyError> {
    let (mut rest, mut checksum) = (tlvs, None);
    while let [kind, high, low, behind @ ..] = rest {
        let length = u16::from_be_bytes([*high, *low]);
        let (value, behind) = behind.split_at_checked(length.into()).ok_or(ProxyError::Tlv)?;
        // Each of two would have to be right while the other is zero.
        if *kind == CRC32C && checksum.replace((value, behind)).is_some() {
            return Err(ProxyError::Checksum);
        }
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(ProxyError::Tlv);
    }
    let Some((value, behind)) = checksum else { return Ok(()) };
    let stated = value.try_into().map(u32::from_be_bytes).map_err(|_| ProxyError::Checksum)?;
    let before = header.len().saturating_sub(behind.len()).saturating_sub(value.len());
    let zeroed = header.iter().take(before).chain(&[0; 4]).chain(behind);
    if crc32c(zeroed) == stated { Ok(()) } else { Err(ProxyError::Checksum) }
}

/// CRC32c with the polynomial in reverse (RFC 9260 appendix A). Headers are rare and short: a table would not pay.
pub(super) fn crc32c<'a>(octets: impl Iterator<Item = &'a u8>) -> u32 {
    let divide = |remainder: u32, _| (remainder >> 1) ^ if remainder & 1 == 1 { 0x82F6_3B78 } else { 0 };
    !octets.fold(u32::MAX, |remainder, octet| (0..8).fold(remainder ^ u32::from(*octet), divide))
}

pub(super) fn write(header: &ProxyHeader, out: &mut BytesMut) {
    let mut begin = |command: u8, family: u8, length: u16| {
        out.put_slice(SIGNATURE);
        out.put_slice(&[VERSION << 4 | command, family]);
        out.put_u16(length);
    };
    let (source, destination) = match header {
        ProxyHeader::Local => return begin(LOCAL, UNSPEC, 0),
        ProxyHeader::Unknown => return begin(PROXY, UNSPEC, 0),
        ProxyHeader::Proxied { source, destination } => (source, destination),
    };
    match Pair::new(source, destination) {
        Pair::V4(source, destination) => {
            begin(PROXY, TCP_OVER_IPV4, 12);
            out.put_slice(&source.octets());
            out.put_slice(&destination.octets());
        }
        Pair::V6(source, destination) => {
            begin(PROXY, TCP_OVER_IPV6, 36);
            out.put_slice(&source.octets());
            out.put_slice(&destination.octets());
        }
    }
    out.put_u16(source.port());
    out.put_u16(destination.port());
}
