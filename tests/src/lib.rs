//! The test kit: the three runtimes behind one face, a handler that records, transcripts, certificates, and sessions on
//! virtual time. The tools `receive` and `send` are made of it.

pub mod certificates;
pub mod delay;
pub mod link;
pub mod maildir;
pub mod mailer;
pub mod pair;
pub mod post_office;
pub mod recorder;
pub mod runtime;
pub mod secrets;
pub mod trace;
pub mod transcript;

use std::ffi::OsString;

use smtp_proto::{Secret, sasl};

/// The examples of the README, compiled and run with the other tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// A client without TLS, for tests of all else.
///
/// # Panics
/// When the name is none.
pub fn in_clear(hello: &str) -> smtp_proto::client::Config {
    match smtp_proto::client::Config::new(hello) {
        Ok(mut config) => {
            config.tls = smtp_proto::client::TlsPolicy::None;
            config
        }
        Err(error) => panic!("{error}"),
    }
}

/// The name of a policy on a command line.
///
/// # Errors
/// When it is none.
pub fn bare_newline(name: &str) -> Result<smtp_proto::wire::BareNewline, &'static str> {
    use smtp_proto::wire::BareNewline;
    match name {
        "reject" => Ok(BareNewline::Reject),
        "fix" => Ok(BareNewline::Fix),
        "strip" => Ok(BareNewline::Strip),
        "pass" => Ok(BareNewline::Pass),
        _ => Err("one of reject, fix, strip, pass"),
    }
}

/// Mechanisms on a command line, separated by commas.
///
/// # Errors
/// When one is not known.
pub fn mechanisms(names: &str) -> Result<Vec<&'static dyn sasl::Mechanism>, String> {
    let mut found = Vec::new();
    for name in names.split(',') {
        let mechanism = sasl::find(name).ok_or_else(|| format!("no mechanism {name}"))?;
        if !found.contains(&mechanism) {
            found.push(mechanism);
        }
    }
    Ok(found)
}

/// `USER:PASSWORD` on a command line.
///
/// # Errors
/// When it is not that; the error does not repeat it.
pub fn user_and_password(text: OsString) -> Result<(String, Secret), &'static str> {
    let text = text.into_string().map_err(|_| "--auth: USER:PASSWORD has to be UTF-8")?;
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => Ok((user.to_owned(), password.into())),
        _ => Err("--auth: USER:PASSWORD, with a colon between the two and neither of them empty"),
    }
}
