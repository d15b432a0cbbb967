//! Interop tests: the `receive` and `send` tools against SMTP software from
//! Debian, PyPI and npm, on each of the three runtimes.
//!
//! `.ci/peers` installs the peers. A peer that is missing gives a line that
//! begins with `SKIP interop:` on stderr and the test passes; with
//! `SMTP_INTEROP=required` in the environment the test fails instead.
//!
//! - [`into_receive`]: the peer is the client, `receive` is the server.
//! - [`from_send`]: `send` is the client, the peer is the server.
//! - [`delivery`]: the library delivers to servers, and what they have is
//!   compared.
//! - [`edge`]: proxies in front of `receive` say who the client is.
//! - [`lmtp`]: mail servers deliver to `receive` by LMTP.
//! - [`pipelined`]: what clients send to `receive` in one go.
//! - [`relays`]: mail servers relay to `receive`.
//! - [`secure_into_receive`], [`secure_from_send`]: the same over TLS and with
//!   passwords.
//! - [`scram`]: SCRAM with an implementation by others, well-behaved and not.
//! - [`certificates`]: certificates for one test.
//! - [`support`]: processes, look-up of peers, the messages.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

/// Makes a `#[test]` of each given function for each runtime. The function
/// takes the runtime's name as the tools spell it.
macro_rules! on_each_runtime {
    ($($test:ident),+ $(,)?) => {
        mod tokio {
            $(#[test] fn $test() { super::$test("tokio"); })+
        }
        mod async_std {
            $(#[test] fn $test() { super::$test("async-std"); })+
        }
        mod blocking {
            $(#[test] fn $test() { super::$test("blocking"); })+
        }
    };
}

mod certificates;
mod delivery;
mod edge;
mod from_send;
mod into_receive;
mod lmtp;
mod pipelined;
mod relays;
mod scram;
mod secure_from_send;
mod secure_into_receive;
mod support;
