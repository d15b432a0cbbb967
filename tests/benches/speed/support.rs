//! What finds, starts and stops other programs, for the interop tests and for this.

#![allow(dead_code, reason = "the interop tests use the rest")]

#[path = "../../interop/support/peers.rs"]
pub(crate) mod peers;
#[path = "../../interop/support/postfix.rs"]
pub(crate) mod postfix;
#[path = "../../interop/support/process.rs"]
pub(crate) mod process;
