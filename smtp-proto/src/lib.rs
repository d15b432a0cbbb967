//! SMTP without I/O: the protocol of client and server as state machines that touch no socket, clock or thread.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::string_slice)
)]

extern crate alloc;

#[cfg(feature = "std")]
pub mod adapter;
pub mod client;
pub mod server;
pub mod transcript;
pub mod wire;

mod error;
mod machine;
mod output;
mod time;

pub use error::{ApiMisuse, Error, InvalidArgument, PeerFault, Phase, Problem, Unsendable};
pub use machine::{Machine, Step};
pub use output::Output;
pub use time::Instant;
