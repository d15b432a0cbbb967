//! The client: what the adapters share, on tokio.

use smtp_proto::adapter::sending;

use crate::runtime::Tokio;
use crate::socket::Socket;

/// A session with a server, over a [`Socket`] or a stream of the application's own.
pub type Client<S = Socket> = sending::Client<Tokio, S>;

/// Opens connections to servers.
pub type Connector = sending::Connector<Tokio>;
