//! lettre's interface for mailers, so that a program that uses lettre changes a line.

use lettre::Transport;
use smtp_proto::adapter::Error;
use smtp_proto::client::Envelope;
use smtp_proto::delivery::Report;

use crate::mailer::Mailer;

/// An error when the message was not accepted for all its recipients: [`Error::Undelivered`] has what became of each.
impl Transport for Mailer {
    type Ok = Report;
    type Error = Error;

    fn send_raw(&self, envelope: &lettre::address::Envelope, email: &[u8]) -> Result<Report, Error> {
        let from = envelope.from().map_or("", AsRef::as_ref);
        let report = Mailer::send(self, Envelope::new(from, envelope.to())?, email.to_vec())?;
        Error::unless_delivered(report)
    }

    fn shutdown(&self) {
        self.close();
    }
}
