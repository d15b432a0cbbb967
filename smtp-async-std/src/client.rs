//! The client: what the adapters share, on async-std.

use bytes::Bytes;
use smtp_proto::adapter::{Error, sending};
use smtp_proto::delivery::Report;

use crate::runtime::AsyncStd;
use crate::socket::Socket;

/// A session with a server, over a [`Socket`] or a stream of the application's own.
pub type Client<S = Socket> = sending::Client<AsyncStd, S>;

/// Opens connections to servers.
pub type Connector = sending::Connector<AsyncStd>;

/// Sends messages to one server, from as many tasks as there are.
pub type Mailer = sending::Mailer<AsyncStd>;

/// Sends a message to where a [`Url`](smtp_proto::delivery::Url) says, and closes the connection.
///
/// # Errors
/// When it was not accepted for all its recipients, whatever the reason: [`Error::Undelivered`] has what became of each.
pub async fn send(
    url: &str,
    from: &str,
    to: impl IntoIterator<Item = impl AsRef<str>>,
    message: impl Into<Bytes>,
) -> Result<Report, Error> {
    sending::send::<AsyncStd, _>(url, from, to, message).await
}
