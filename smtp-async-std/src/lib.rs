//! SMTP client and server for async-std, driven by the sans-IO core [`smtp_proto`].
//!
//! Everything but the opening of sockets is written on the traits of `futures-io`, so that
//! [`Connector::connect_over`] and [`serve_connection`] serve any runtime that has those.
//!
//! This crate moves octets and keeps time; every rule of the protocol is in the core, whose types it shares:
//! [`smtp_proto::client`] and [`smtp_proto::server`] hold configurations, envelopes, outcomes, events and decisions.

mod client;
mod deadline;
mod driver;
mod server;

pub use client::{Client, Connector};
pub use server::{Handle, Server, serve_connection};
pub use smtp_proto::adapter::Error;
