//! SMTP client and server on [`std::net`] and threads, driven by the sans-IO core [`smtp_proto`].
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
//! - `lettre`: `LettreTransport`, a mailer that is a transport of the crate lettre.
//! - `tracing`: a span for each session, that of a server one in which its hooks run, and events; never with
//!   credentials.

mod channel;
mod client;
mod driver;
mod handler;
#[cfg(feature = "lettre")]
mod lettre;
mod listener;
mod mailer;
mod runtime;
mod server;
mod socket;
mod stream;
mod waiting;

pub use client::{Client, Connector, Outcomes};
pub use handler::Handler;
#[cfg(feature = "lettre")]
pub use lettre::LettreTransport;
pub use listener::Listener;
pub use mailer::{Mailer, Reports, Resolver, send};
pub use server::{Server, serve_connection};
pub use smtp_proto::adapter::sending::MailObserver;
#[cfg(feature = "socks")]
pub use smtp_proto::adapter::sending::Socks5;
pub use smtp_proto::adapter::serving::{ConnectionLimits, Counts, Handle, LocalAddress, Observer, TurnedAway};
#[cfg(feature = "tls")]
pub use smtp_proto::adapter::tls;
pub use smtp_proto::adapter::{Error, Service};
pub use socket::Socket;
pub use stream::Stream;
