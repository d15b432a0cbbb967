//! What flags ask of the server by parameters of MAIL and RCPT.

use smtp_proto::client::Envelope;
use smtp_proto::wire::{Command, EnvelopeId, MailParameters, Notify, RecipientParameters};

/// Parameters for every message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    mail: MailParameters,
    envelope_id: Option<EnvelopeId>,
    notify: Option<Notify>,
}

impl Parameters {
    /// The flags that take a value.
    pub(crate) const FLAGS: [&str; 6] = ["dsn", "dsn-ret", "dsn-envid", "deliver-by", "hold", "priority"];

    /// Takes the value of a flag. All but `dsn-envid` are written as on the wire, by whose parser they are read.
    pub(crate) fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        let wrong = |expected: &str| format!("--{flag} {value:?}: {expected}");
        match flag {
            "dsn" => {
                let expected = "never, or some of success, failure and delay, separated by commas";
                self.notify = rcpt(&format!("NOTIFY={value}")).ok_or_else(|| wrong(expected))?.notify;
            }
            "dsn-ret" => {
                self.mail.ret = mail(&format!("RET={value}")).ok_or_else(|| wrong("full or hdrs"))?.ret;
            }
            "dsn-envid" => {
                let expected = "printable characters of ASCII, at most 100 once they are encoded";
                self.envelope_id = Some(EnvelopeId::new(value).map_err(|_| wrong(expected))?);
            }
            "deliver-by" => {
                let expected = "SECONDS;R or SECONDS;N, for example 3600;R";
                self.mail.deliver_by = mail(&format!("BY={value}")).ok_or_else(|| wrong(expected))?.deliver_by;
            }
            "hold" => {
                let keyword = if value.contains(':') { "HOLDUNTIL" } else { "HOLDFOR" };
                let expected = "a number of seconds, or a time such as 2030-01-31T12:00:00Z";
                self.mail.hold = mail(&format!("{keyword}={value}")).ok_or_else(|| wrong(expected))?.hold;
            }
            "priority" => {
                let expected = "a number from -9 to 9";
                self.mail.priority = mail(&format!("MT-PRIORITY={value}")).ok_or_else(|| wrong(expected))?.priority;
            }
            _ => self.mail.requiretls = true,
        }
        Ok(())
    }

    /// Puts them on an envelope.
    pub(crate) fn apply(&self, envelope: &mut Envelope) {
        envelope.ret = self.mail.ret;
        envelope.envelope_id.clone_from(&self.envelope_id);
        envelope.deliver_by = self.mail.deliver_by;
        envelope.hold = self.mail.hold;
        envelope.priority = self.mail.priority;
        envelope.requiretls = self.mail.requiretls;
        for recipient in &mut envelope.recipients {
            recipient.parameters.notify = self.notify;
        }
    }
}

/// A parameter of MAIL, if it is one and no more.
fn mail(parameter: &str) -> Option<MailParameters> {
    match Command::parse(format!("MAIL FROM:<> {parameter}").as_bytes()) {
        Ok(Command::Mail { parameters, .. }) if !parameter.contains(char::is_whitespace) => Some(parameters),
        _ => None,
    }
}

/// The same of RCPT.
fn rcpt(parameter: &str) -> Option<RecipientParameters> {
    match Command::parse(format!("RCPT TO:<postmaster> {parameter}").as_bytes()) {
        Ok(Command::Rcpt { parameters, .. }) if !parameter.contains(char::is_whitespace) => Some(parameters),
        _ => None,
    }
}
