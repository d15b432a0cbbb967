//! What the tests with TLS and passwords share.

use std::net::SocketAddr;

use serde_json::Value;

use super::messages::{self, Message};
use super::tools::{Receive, text};
use crate::certificates::{self, Certificates};

/// The only one who may log in. The part behind the @ is the realm for Cyrus
/// SASL.
pub(crate) const USER: &str = "jane@example.org";
pub(crate) const PASSWORD: &str = "not-a-real-password";
pub(crate) const WRONG_PASSWORD: &str = "another-unreal-password";

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    StartTls,
    Implicit,
}

impl Tls {
    pub(crate) const ALL: [Self; 2] = [Self::StartTls, Self::Implicit];

    /// Its name in the options of the scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }

    /// Its name as a policy of `send`.
    pub(crate) fn policy(self) -> &'static str {
        match self {
            Self::StartTls => "required",
            Self::Implicit => "implicit",
        }
    }

    /// All messages over and over. Already the first three have the large one
    /// among them; with either way to begin, another one comes first.
    pub(crate) fn messages(self) -> impl Iterator<Item = &'static Message> {
        let first = match self {
            Self::StartTls => 3,
            Self::Implicit => 1,
        };
        messages::all().iter().cycle().skip(first)
    }
}

/// A `receive` that takes mail over TLS only, and from one user only.
pub(crate) fn start_receive(
    runtime: &str,
    tls: Tls,
    certificates: &Certificates,
    password: &str,
    mechanisms: &[&str],
) -> Receive {
    let user = format!("{USER}:{password}");
    let (certificate, key) = (certificates.certificate(), certificates.key());
    let mechanisms = mechanisms.join(",");
    let mut options = vec!["--tls-cert", certificates::text(&certificate), "--tls-key", certificates::text(&key)];
    options.extend(["--auth", &user, "--require-auth", "--mechanisms", &mechanisms]);
    options.push(match tls {
        Tls::StartTls => "--require-tls",
        Tls::Implicit => "--implicit-tls",
    });
    Receive::start(runtime, &options)
}

/// Arguments for `send` to log in over TLS.
pub(crate) fn log_in(tls: Tls, certificates: &Certificates, password: &str, mechanism: Option<&str>) -> Vec<String> {
    let mut arguments = trust(tls, certificates);
    arguments.extend(["--auth".to_owned(), format!("{USER}:{password}")]);
    if let Some(mechanism) = mechanism {
        arguments.extend(["--mechanism".to_owned(), mechanism.to_owned()]);
    }
    arguments
}

/// Arguments for `send` to use TLS and trust the authority.
pub(crate) fn trust(tls: Tls, certificates: &Certificates) -> Vec<String> {
    let authority = certificates.authority();
    ["--tls", tls.policy(), "--ca", certificates::text(&authority)].map(str::to_owned).to_vec()
}

/// One log-in as `receive` tells it: mechanism, user, whether it was accepted.
pub(crate) type LogIn = (String, String, bool);

/// All log-ins among the events.
pub(crate) fn log_ins(events: &[Value]) -> Vec<LogIn> {
    let attempts = events.iter().filter(|event| event["event"] == "auth");
    attempts
        .map(|event| {
            let accepted = event["accepted"].as_bool().expect("whether it was accepted");
            // Who wanted to get in is not always known when it fails.
            let user = event["user"].as_str().unwrap_or_default();
            (text(event, "mechanism").to_owned(), user.to_owned(), accepted)
        })
        .collect()
}

/// The log-in of the one user there is.
pub(crate) fn accepted(mechanism: &str) -> LogIn {
    (mechanism.to_owned(), USER.to_owned(), true)
}

/// The only member of the error line that `send` printed for its message, in
/// lower case.
pub(crate) fn error_in(report: &Value) -> String {
    text(report, "error").to_lowercase()
}

/// A server's address on the loopback interface.
pub(crate) fn local(port: &Value) -> SocketAddr {
    let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    SocketAddr::from(([127, 0, 0, 1], port))
}
