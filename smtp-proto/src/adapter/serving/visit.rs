//! A connection while it is served.

use super::gate::Ticket;
use super::handle::{Handle, Watch};
use crate::server::Connection;

/// A connection while it is served: its place among the others, and whether it is to end.
#[derive(Debug)]
pub struct Visit {
    /// What it is known by.
    pub connection: Connection,
    /// Whether it is to end.
    pub watch: Watch,
    _ticket: Option<Ticket>,
}

impl Visit {
    pub(super) fn new(connection: Connection, handle: &Handle, ticket: Option<Ticket>) -> Self {
        Self { connection, watch: handle.watch(), _ticket: ticket }
    }

    /// Of a connection that was accepted elsewhere: nobody counts it.
    pub fn uncounted(connection: Connection, handle: &Handle) -> Self {
        Self::new(connection, handle, None)
    }

    /// The other end, for messages.
    pub fn peer(&self) -> String {
        self.connection.peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string())
    }
}
