//! A single message.

use bytes::Bytes;

use super::mailer::Mailer;
use super::runtime::Runtime;
use crate::adapter::Error;
use crate::client::Envelope;
use crate::delivery::Report;

/// Sends a message to where a URL says, and closes the connection.
///
/// # Errors
/// When it was not accepted for all its recipients. [`Error::Undelivered`] has what became of each; other errors say why
/// there was no session in which to send it.
pub async fn send<R: Runtime, T: AsRef<str>>(
    url: &str,
    from: &str,
    to: impl IntoIterator<Item = T>,
    message: impl AsRef<[u8]>,
) -> Result<Report, Error> {
    let mailer = Mailer::<R>::from_url(url)?;
    let report = mailer.send(Envelope::new(from, to)?, Bytes::copy_from_slice(message.as_ref())).await;
    mailer.close().await;
    Error::unless_delivered(report?)
}
