//! The syntax of a URL, as much of RFC 3986 as there is to it here.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::options::Options;
use super::{Endpoint, Host, InvalidUrl, Scheme, Url, percent};
use crate::sasl::Login;

/// The longest domain name, in octets as it is written (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// The longest label of one.
const MAX_LABEL: usize = 63;

pub(super) fn url(text: &str) -> Result<Url, InvalidUrl> {
    let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "smtp" => Scheme::Smtp,
        "smtps" => Scheme::Smtps,
        "lmtp" => Scheme::Lmtp,
        "lmtp+unix" => Scheme::LmtpUnix,
        _ => return Err(InvalidUrl::Scheme),
    };
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, options) = behind.split_once('?').unwrap_or((behind, ""));
    let (endpoint, login) = if scheme == Scheme::LmtpUnix {
        (socket(authority, behind, path)?, None)
    } else {
        // Somebody's password has one of these in it. Before anything else is looked at, since all else would mislead.
        if behind.contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        if !matches!(path, "" | "/") || behind.contains('#') {
            return Err(InvalidUrl::BehindHost);
        }
        // An address as the user name has an @ too; a host has none.
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        let login = user_info.map(login).transpose()?;
        (server(host, scheme, login.is_some())?, login)
    };
    Ok(Url { scheme, endpoint, login, options: Options::parse(options, scheme)? })
}

fn socket(authority: &str, behind: &str, path: &str) -> Result<Endpoint, InvalidUrl> {
    if !authority.is_empty() || path.len() < 2 || behind.contains('#') {
        return Err(InvalidUrl::Socket);
    }
    let path = decoded_text(path)?;
    if path.contains('\0') { Err(InvalidUrl::Socket) } else { Ok(Endpoint::Unix(path)) }
}

fn login(user_info: &str) -> Result<Login, InvalidUrl> {
    let (user, password) = user_info.split_once(':').ok_or(InvalidUrl::Password)?;
    Ok(Login::password(decoded_text(user)?, decoded(password)?)?)
}

fn server(text: &str, scheme: Scheme, authenticates: bool) -> Result<Endpoint, InvalidUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let (address, behind) = literal.split_once(']').ok_or(InvalidUrl::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| InvalidUrl::Host)?;
            let port = match behind.strip_prefix(':') {
                None if !behind.is_empty() => return Err(InvalidUrl::Host),
                port => port,
            };
            (Host::Address(address.into()), port)
        }
        None => match text.split_once(':') {
            // An IPv6 address without brackets.
            Some((_, port)) if port.contains(':') => return Err(InvalidUrl::Host),
            Some((host, port)) => (self::host(host)?, Some(port)),
            None => (self::host(text)?, None),
        },
    };
    let port = match (port, scheme) {
        (Some(port), _) => number(port).filter(|port| *port > 0).ok_or(InvalidUrl::Port)?,
        (None, Scheme::Smtps) => 465,
        (None, Scheme::Smtp) => {
            if authenticates {
                587
            } else {
                25
            }
        }
        (None, Scheme::Lmtp | Scheme::LmtpUnix) => 24,
    };
    if scheme == Scheme::Lmtp && port == 25 {
        return Err(InvalidUrl::LmtpPort);
    }
    Ok(Endpoint::Tcp { host, port })
}

fn host(text: &str) -> Result<Host, InvalidUrl> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let is_label = |label: &str| {
        let letter = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // No top-level domain is a number: that is half an address, which some resolvers would complete.
    let is_number = |label: &str| label.bytes().all(|octet| octet.is_ascii_digit());
    let labels = || text.split('.');
    if text.len() > MAX_NAME || !labels().all(is_label) || labels().next_back().is_none_or(is_number) {
        return Err(InvalidUrl::Host);
    }
    Ok(Host::Name(text.to_string()))
}

/// A number in decimal digits alone.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    // The standard library's parser takes a sign.
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Text without its escapes.
pub(super) fn decoded_text(text: &str) -> Result<String, InvalidUrl> {
    String::from_utf8(decoded(text)?).map_err(|_| InvalidUrl::Escape)
}

fn decoded(text: &str) -> Result<Vec<u8>, InvalidUrl> {
    percent::decode(text).ok_or(InvalidUrl::Escape)
}
