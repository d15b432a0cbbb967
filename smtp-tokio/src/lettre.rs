//! lettre's interface, so that a program that uses lettre changes a line.

use async_trait::async_trait;
use lettre::AsyncTransport;
use smtp_proto::adapter::Error;
use smtp_proto::client::Envelope;
use smtp_proto::delivery::Report;

use crate::mailer::Mailer;

/// A [`Mailer`] as an [`AsyncTransport`] of lettre, to stand where an `AsyncSmtpTransport` was.
///
/// A type of its own, since a mailer's `send` would hide that of the trait.
#[derive(Debug, Clone)]
pub struct LettreTransport(Mailer);

impl LettreTransport {
    /// All that a [`Url`](smtp_proto::delivery::Url) says. Nothing is connected yet.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Mailer::from_url(url).map(Self)
    }
}

impl From<Mailer> for LettreTransport {
    fn from(mailer: Mailer) -> Self {
        Self(mailer)
    }
}

/// An error when the message was not accepted for all its recipients: [`Error::Undelivered`] has what became of each.
#[async_trait]
impl AsyncTransport for LettreTransport {
    type Ok = Report;
    type Error = Error;

    async fn send_raw(&self, envelope: &lettre::address::Envelope, email: &[u8]) -> Result<Report, Error> {
        let from = envelope.from().map_or("", AsRef::as_ref);
        let report = self.0.send(Envelope::new(from, envelope.to())?, email.to_vec()).await?;
        Error::unless_delivered(report)
    }

    async fn shutdown(&self) {
        self.0.close().await;
    }
}
