//! SMTP client and server on [`std::net`] and threads, driven by the sans-IO core [`smtp_proto`].
//!
//! This crate moves octets and keeps time; every rule of the protocol is in the core, whose types it shares:
//! [`smtp_proto::client`] and [`smtp_proto::server`] hold configurations, envelopes, outcomes, events and decisions.

mod client;
mod driver;
mod handler;
mod server;
mod stream;

pub use client::{Client, Connector};
pub use handler::Handler;
pub use server::{Handle, Server, serve_connection};
pub use smtp_proto::adapter::Error;
pub use stream::Stream;
