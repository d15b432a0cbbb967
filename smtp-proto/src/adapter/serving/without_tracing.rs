//! Stands in for `trace` where `tracing` is not built in: the same names, and nothing behind them.

use crate::server::{CloseReason, Connection, Decision, Event};

/// Nothing.
pub(super) struct Trace;

impl Trace {
    pub(super) fn new(_: &Connection) -> Self {
        Self
    }

    pub(super) fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        call()
    }

    pub(super) fn event(&self, _: &Event) {}

    pub(super) fn decided(&self, _: &'static str, _: Option<&Decision>) {}

    pub(super) fn failed(&self, _: &'static str) {}

    pub(super) fn accepted(&self, _: u64) {}

    pub(super) fn closed(&self, _: Option<&CloseReason>) {}
}
