//! What adapters share of their clients: connecting, sessions, mailers. It is written once as futures, for any runtime
//! that has time and sockets.

mod client;
mod connector;
mod mailer;
mod once;
mod outcomes;
mod racing;
mod runtime;
#[cfg(feature = "sockets")]
mod sockets;
#[cfg(feature = "socks")]
mod socks;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(not(feature = "tracing"))]
#[path = "without_tracing.rs"]
mod trace;

pub use client::Client;
pub use connector::Connector;
pub use mailer::{MailObserver, Mailer, Reports, Resolver, Task};
pub use once::send;
pub use outcomes::Outcomes;
pub use runtime::{Drive, Drives, Reads, Runtime, System};
#[cfg(feature = "sockets")]
pub use sockets::{acknowledge_at_once, open_from};
#[cfg(feature = "socks")]
pub use socks::Socks5;
