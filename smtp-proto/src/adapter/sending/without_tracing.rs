//! Stands in for `trace` where `tracing` is not built in: the same names, and nothing behind them.

use crate::adapter::Error;
use crate::client::{Client, Outcome};

/// Nothing.
pub(super) struct Trace;

#[allow(clippy::unused_self, reason = "the twin does")]
impl Trace {
    pub(super) fn new(_: &str) -> Self {
        Self
    }

    pub(super) fn ready(&self, _: &Client) {}

    pub(super) fn outcome(&self, _: &Outcome) {}

    pub(super) fn failed(&self, _: &Error) {}

    pub(super) fn closed(&self) {}
}
