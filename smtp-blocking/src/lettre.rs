//! lettre's interface, so that a program that uses lettre changes a line.

use lettre::Transport;
use smtp_proto::adapter::Error;
use smtp_proto::client::Envelope;
use smtp_proto::delivery::Report;

use crate::mailer::Mailer;

/// A [`Mailer`] as a [`Transport`] of lettre, to stand where an `SmtpTransport` was.
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
impl Transport for LettreTransport {
    type Ok = Report;
    type Error = Error;

    fn send_raw(&self, envelope: &lettre::address::Envelope, email: &[u8]) -> Result<Report, Error> {
        let from = envelope.from().map_or("", AsRef::as_ref);
        let report = self.0.send(Envelope::new(from, envelope.to())?, email.to_vec())?;
        Error::unless_delivered(report)
    }

    fn shutdown(&self) {
        self.0.close();
    }
}
