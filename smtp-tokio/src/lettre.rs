//! lettre's interface for mailers, so that a program that uses lettre changes a line.

use async_trait::async_trait;
use lettre::AsyncTransport;
use smtp_proto::adapter::Error;
use smtp_proto::client::Envelope;
use smtp_proto::delivery::Report;

use crate::mailer::Mailer;

/// An error when the message was not accepted for all its recipients: [`Error::Undelivered`] has what became of each.
#[async_trait]
impl AsyncTransport for Mailer {
    type Ok = Report;
    type Error = Error;

    async fn send_raw(&self, envelope: &lettre::address::Envelope, email: &[u8]) -> Result<Report, Error> {
        let from = envelope.from().map_or("", AsRef::as_ref);
        let report = Mailer::send(self, Envelope::new(from, envelope.to())?, email.to_vec()).await?;
        Error::unless_delivered(report)
    }

    async fn shutdown(&self) {
        self.close().await;
    }
}
