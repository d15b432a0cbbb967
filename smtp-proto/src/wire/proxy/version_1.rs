//! Version 1: a line of text (the PROXY protocol's specification, section 2.1).

use core::fmt::{self, Write as _};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;

use super::{Pair, ProxyError, ProxyHeader, may_begin};
use crate::wire::params::digits;

pub(super) const PREFIX: &[u8] = b"PROXY ";
/// The longest line, in octets with its CRLF.
pub(super) const MAX_LINE: usize = 107;

/// What can follow the prefix.
const PROTOCOLS: [&[u8]; 4] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN ", b"UNKNOWN\r"];

/// Reads the line at the front, and tells its length with its CRLF. `None`: more octets are needed.
pub(super) fn read(octets: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    let octets = octets.get(..MAX_LINE).unwrap_or(octets);
    let Some(text) = octets.strip_prefix(PREFIX) else { return Ok(None) };
    if !PROTOCOLS.iter().any(|protocol| may_begin(text, protocol)) {
        return Err(ProxyError::Protocol);
    }
    let end = memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len());
    let (text, line_end) = text.split_at(end);
    match line_end {
        [b'\r', b'\n', ..] => {
            let length = PREFIX.len().saturating_add(end).saturating_add(2);
            Ok(Some((parse(text).ok_or(ProxyError::Addresses)?, length)))
        }
        [] | [b'\r'] if octets.len() < MAX_LINE => Ok(None),
        [] | [b'\r'] => Err(ProxyError::LineLength),
        _ => Err(ProxyError::LineEnd),
    }
}

fn parse(text: &[u8]) -> Option<ProxyHeader> {
    // What stands behind UNKNOWN is to be ignored, whatever it is.
    if text.starts_with(b"UNKNOWN") {
        return Some(ProxyHeader::Unknown);
    }
    let mut words = str::from_utf8(text).ok()?.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |word| word.parse().ok().map(IpAddr::V4),
        _ => |word| word.parse().ok().map(IpAddr::V6),
    };
    let [source, destination] = [address(words.next()?)?, address(words.next()?)?];
    let [source_port, destination_port] = [port(words.next()?)?, port(words.next()?)?];
    words.next().is_none().then_some(ProxyHeader::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// A port without zeros in front.
fn port(word: &str) -> Option<u16> {
    let zeros = word.len() > 1 && word.starts_with('0');
    u16::try_from(digits(word, 5).filter(|_| !zeros)?).ok()
}

pub(super) fn write(header: &ProxyHeader, out: &mut BytesMut) {
    // Writing into a buffer that grows cannot fail.
    let _ = match header {
        ProxyHeader::Local | ProxyHeader::Unknown => out.write_str("PROXY UNKNOWN\r\n"),
        ProxyHeader::Proxied { source, destination } => {
            let ports = format_args!("{} {}", source.port(), destination.port());
            match Pair::new(source, destination) {
                Pair::V4(source, destination) => write!(out, "PROXY TCP4 {source} {destination} {ports}\r\n"),
                Pair::V6(source, destination) => {
                    write!(out, "PROXY TCP6 {} {} {ports}\r\n", Groups(source), Groups(destination))
                }
            }
        }
    };
}

/// Displays an address in groups of hexadecimal digits only: the grammar has no other form.
struct Groups(Ipv6Addr);

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_ipv4_mapped().map(|address| address.octets()) {
            Some([a, b, c, d]) => {
                write!(f, "::ffff:{:x}:{:x}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
            }
            None => self.0.fmt(f),
        }
    }
}
