//! The client: what the adapters share, on async-std.

use smtp_proto::adapter::sending;

use crate::runtime::AsyncStd;
use crate::socket::Socket;

/// A session with a server, over a [`Socket`] or a stream of the application's own.
pub type Client<S = Socket> = sending::Client<AsyncStd, S>;

/// Opens connections to servers.
pub type Connector = sending::Connector<AsyncStd>;
