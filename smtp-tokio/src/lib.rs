//! SMTP client and server for tokio, driven by the sans-IO core [`smtp_proto`].
//!
//! This crate moves octets and keeps time; every rule of the protocol is in the core, whose types it shares:
//! [`smtp_proto::client`] and [`smtp_proto::server`] hold configurations, envelopes, outcomes, events and decisions.
//!
//! # Features
//!
//! - `tls` (default): STARTTLS and implicit TLS with `rustls`.
//! - `ring` (default), `aws-lc-rs`: the crypto provider; without them, the application installs or gives one.
//! - `scram` (default): authentication with SCRAM-SHA-1 and SCRAM-SHA-256.
//! - `cram-md5`: authentication with CRAM-MD5.
//! - `socks`: connections through a SOCKS5 proxy.
//! - `mx`: mail exchangers by the DNS, with hickory-resolver.
//! - `lettre`: `LettreTransport`, a mailer that is a transport of the crate lettre.
//! - `tracing`: a span for each session, that of a server one in which its hooks run, and events; never with
//!   credentials.

mod channel;
mod client;
mod deadline;
mod driver;
#[cfg(feature = "lettre")]
mod lettre;
mod listener;
mod mailer;
#[cfg(feature = "mx")]
mod resolver;
mod runtime;
mod server;
mod socket;

pub use client::{Client, Connector};
#[cfg(feature = "lettre")]
pub use lettre::LettreTransport;
pub use listener::Listener;
pub use mailer::{Mailer, Reports, send};
#[cfg(feature = "mx")]
pub use resolver::DnsResolver;
pub use runtime::Tokio;
pub use server::{Server, serve_connection};
#[cfg(feature = "socks")]
pub use smtp_proto::adapter::sending::Socks5;
pub use smtp_proto::adapter::sending::{MailObserver, Outcomes, Resolver};
pub use smtp_proto::adapter::serving::{ConnectionLimits, Counts, Handle, LocalAddress, Observer, TurnedAway};
#[cfg(feature = "tls")]
pub use smtp_proto::adapter::tls;
pub use smtp_proto::adapter::{Error, Service};
pub use socket::Socket;
