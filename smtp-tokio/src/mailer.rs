//! Mailers: what the adapters share, on tokio.

use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending;
use smtp_proto::delivery::Report;

use crate::runtime::Tokio;

/// Sends messages from as many tasks as there are, to one server or to mail exchangers.
pub type Mailer = sending::Mailer<Tokio>;

/// What becomes of messages that a mailer sends, as they come to their ends.
pub type Reports<M> = sending::Reports<Tokio, M>;

/// Sends a message to where a [`Url`](smtp_proto::delivery::Url) says, and closes the connection.
///
/// # Errors
/// When it was not accepted for all its recipients. [`Error::Undelivered`] has what became of each; other errors say why
/// there was no session in which to send it.
pub async fn send(
    url: &str,
    from: &str,
    to: impl IntoIterator<Item = impl AsRef<str>>,
    message: impl AsRef<[u8]>,
) -> Result<Report, Error> {
    sending::send::<Tokio, _>(url, from, to, message).await
}
