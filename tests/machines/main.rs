//! What a dialogue cannot express: calls that do not fit, and time that the application takes.

#![allow(clippy::unwrap_used, reason = "a failing test is to fail")]

mod client;
mod server;

use std::time::Duration;

use smtp_proto::Instant;
use smtp_proto::wire::Capability;

fn at(seconds: u64) -> Instant {
    Instant::since_epoch(Duration::from_secs(seconds))
}

#[test]
fn a_capability_fits_a_line() {
    assert!(Capability::new("X", &"x".repeat(499)).is_some());
    assert!(Capability::new("X", &"x".repeat(500)).is_none());
}
