//! What every adapter does alike, over real sockets on the loopback: clients and servers of all three runtimes with
//! each other, and with peers of plain sockets that misbehave.
//!
//! Nothing here waits for time to pass, but for deadlines of the protocol that were set short. What is to come
//! comes however slow the machine is; a wait of more than [`support::PATIENCE`] is a failure.
//!
//! `TCP_NODELAY` is not tested: a client keeps its stream to itself, the other end cannot see the option, and what it
//! does shows only in times.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

/// Makes a test of each function for each runtime.
macro_rules! on_each_runtime {
    ($($test:ident),+ $(,)?) => {
        on_each_runtime!(@ on_tokio Tokio $($test)+);
        on_each_runtime!(@ on_async_std AsyncStd $($test)+);
        on_each_runtime!(@ on_blocking Blocking $($test)+);
    };
    (@ $module:ident $runtime:ident $($test:ident)+) => {
        mod $module {
            $(#[test] fn $test() {
                super::super::support::limited(|| super::$test(smtp_tests::runtime::Runtime::$runtime));
            })+
        }
    };
}

mod authenticating;
mod batches;
mod cancelling;
mod certificates;
mod connecting;
mod deadlines;
mod delivery;
mod descriptors;
mod dialogue;
mod direct;
mod draining;
mod ending;
mod faulty_servers;
mod injection;
mod last_words;
mod limits;
mod listeners;
mod mailers;
mod many_messages;
mod observing;
mod own_streams;
mod panics;
mod pressure;
mod proxied;
mod proxied_clients;
mod reaching;
mod secured;
mod secured_delivery;
mod secured_ends;
mod support;
mod tls;
mod transcripts;
mod virtual_mailer;
mod virtual_time;
