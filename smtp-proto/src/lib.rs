//! SMTP without I/O: the protocol of client and server as state machines that touch no socket, clock or thread.
//!
//! [`server::Server`] takes the octets of a client and gives events, asks the application to decide, and writes
//! replies. [`client::Client`] takes intents, writes commands, and gives an outcome for each recipient of each
//! message. Both are driven through one trait, [`Machine`]: call [`step`](Machine::step), do what the returned
//! [`Step`] says. [`wire`] is the syntax alone.
//!
//! The crates `smtp-tokio`, `smtp-async-std` and `smtp-blocking` do the driving; use this crate by itself to embed
//! SMTP in a runtime, an event loop or a test of your own.
//!
//! # Features
//!
//! - `std` (default): faster searches for octets, vectored writes, and `adapter`. Without it the crate needs
//!   `alloc` only.
//! - `scram`: the mechanisms SCRAM-SHA-1 and SCRAM-SHA-256, with and without channel binding, and SASLprep,
//!   which needs a target that has the standard library.
//! - `cram-md5`: the mechanism CRAM-MD5.
//! - `getrandom`: the nonces that these need, from the operating system.
//! - `rustls`, `ring`, `aws-lc-rs`, `sockets`, `socks`, `tracing`: what only `adapter` has.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::string_slice)
)]

extern crate alloc;

#[cfg(feature = "std")]
pub mod adapter;
pub mod client;
pub mod delivery;
pub mod sasl;
pub mod server;
pub mod transcript;
pub mod wire;

mod error;
mod machine;
mod output;
mod secret;
mod time;
mod tls;

pub use error::{
    ApiMisuse, AuthenticationError, Error, InvalidArgument, NonAscii, PeerFault, Phase, Problem, TlsError, Unsendable,
};
pub use machine::{Machine, Step};
pub use output::Output;
pub use secret::Secret;
pub use time::Instant;
pub use tls::TlsInfo;
