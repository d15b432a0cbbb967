//! What to send and to whom.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::MAX_COMMAND;
use crate::error::{InvalidArgument, NonAscii, Problem};
use crate::wire::{
    AddressError, DeliverBy, EnvelopeId, ForwardPath, Hold, MAX_PATH, MailParameters, Parameter, ParameterError,
    Priority, RecipientParameters, Ret, ReversePath, are_ascii,
};

/// Sender and recipients of a message.
///
/// ```
/// use smtp_proto::client::Envelope;
/// let envelope = Envelope::new("jane@example.org", ["joe@example.net", "postmaster@example.com"])?;
/// assert!(Envelope::new("jane@example.org", ["joe@example.net\r\nDATA"]).is_err());
/// # Ok::<(), smtp_proto::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Where notifications go.
    pub reverse_path: ReversePath,
    /// Where the message goes.
    pub recipients: Vec<Recipient>,
    /// Whether header fields hold UTF-8, so that SMTPUTF8 is needed even when all addresses are ASCII.
    pub smtputf8: bool,
    /// Whether the message must not travel without verified TLS, here and further on (REQUIRETLS, RFC 8689).
    pub requiretls: bool,
    /// Whether the content is no text, so that its octets must stay as they are (BINARYMIME, RFC 3030).
    pub binary: bool,
    /// Who submitted the message, as far as the client knows (RFC 4954 section 5). Left out where the server has no
    /// AUTH.
    pub auth: Option<ReversePath>,
    /// How much of the message a notification returns (DSN, RFC 3461). Left out where the server has no DSN.
    pub ret: Option<Ret>,
    /// What notifications call the message (DSN, RFC 3461). Left out where the server has no DSN.
    pub envelope_id: Option<EnvelopeId>,
    /// By when the message is to be delivered (DELIVERBY, RFC 2852). Where the server does not offer that, it is left out
    /// if the sender is only to be notified, and the message is not sent if it is to be returned.
    pub deliver_by: Option<DeliverBy>,
    /// Until when the message is to be held back (FUTURERELEASE, RFC 4865). A server without that gets no message.
    pub hold: Option<Hold>,
    /// How urgent the message is (RFC 6710). Left out where the server has no MT-PRIORITY.
    pub priority: Option<Priority>,
    /// Further parameters of MAIL. The server must know them; those that have a field here, SIZE and BODY are added where
    /// they are due.
    pub parameters: Vec<Parameter>,
}

/// One recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipient {
    /// Its address.
    pub forward_path: ForwardPath,
    /// Parameters of RCPT. NOTIFY and ORCPT are left out where the server has no DSN (RFC 3461), RRVS where it has none
    /// unless it says to refuse then (RFC 7293); further ones the server must know.
    pub parameters: RecipientParameters,
}

impl From<ForwardPath> for Recipient {
    fn from(forward_path: ForwardPath) -> Self {
        Self { forward_path, parameters: RecipientParameters::default() }
    }
}

/// Writes the address without brackets.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.forward_path.fmt(f)
    }
}

impl Envelope {
    /// An envelope of addresses without angle brackets. An empty sender is the null reverse path.
    ///
    /// # Errors
    /// When one of them is no address, or there is no recipient.
    pub fn new<R: AsRef<str>>(
        reverse_path: &str,
        recipients: impl IntoIterator<Item = R>,
    ) -> Result<Self, InvalidArgument> {
        fn invalid(argument: &'static str, text: &str, problem: AddressError) -> InvalidArgument {
            InvalidArgument::new(argument, text, problem)
        }
        let recipient = |(index, text): (usize, R)| {
            let parsed = text.as_ref().parse().map(|path: ForwardPath| path.into());
            parsed.map_err(|problem| invalid("recipient", text.as_ref(), problem).numbered(index.saturating_add(1)))
        };
        let envelope = Self {
            reverse_path: reverse_path.parse().map_err(|problem| invalid("sender", reverse_path, problem))?,
            recipients: recipients.into_iter().enumerate().map(recipient).collect::<Result<_, _>>()?,
            smtputf8: false,
            requiretls: false,
            binary: false,
            auth: None,
            ret: None,
            envelope_id: None,
            deliver_by: None,
            hold: None,
            priority: None,
            parameters: Vec::new(),
        };
        envelope.check()?;
        Ok(envelope)
    }

    /// What the types alone do not prevent.
    pub(crate) fn check(&self) -> Result<(), InvalidArgument> {
        if self.recipients.is_empty() {
            return Err(InvalidArgument::new("list of recipients", "", Problem::Empty));
        }
        // The typed ones have at most so many octets, of which ENVID has 106 and AUTH, all of it encoded, 780.
        check_parameters("parameter of MAIL", &self.parameters, &MailParameters::KNOWN, 1100)?;
        // The typed ones have at most 29, 507 and 28 octets.
        let own = &RecipientParameters::KNOWN;
        self.recipients
            .iter()
            .try_for_each(|recipient| check_parameters("parameter of RCPT", &recipient.parameters.other, own, 600))
    }

    /// What SMTPUTF8 is needed for, if anything.
    pub(super) fn non_ascii(&self) -> Option<NonAscii> {
        let recipients = &self.recipients;
        let recipient = recipients.iter().position(|one| !one.forward_path.is_ascii());
        let parameters = are_ascii(&self.parameters) && recipients.iter().all(|one| one.parameters.is_ascii());
        (!self.reverse_path.is_ascii())
            .then_some(NonAscii::Sender)
            .or(recipient.map(|index| NonAscii::Recipient(index.saturating_add(1))))
            .or((!parameters).then_some(NonAscii::Parameter))
            .or(self.smtputf8.then_some(NonAscii::HeaderFields))
    }
}

/// Parameters that the client adds by itself, in so many octets, that stand twice, or that make the line too long.
fn check_parameters(
    argument: &'static str,
    parameters: &[Parameter],
    own: &[&str],
    own_length: usize,
) -> Result<(), InvalidArgument> {
    let mut length = MAX_PATH.saturating_add(own_length);
    for (index, parameter) in parameters.iter().enumerate() {
        let before = parameters.get(..index).unwrap_or_default();
        let refused = |problem: Problem| Err(InvalidArgument::new(argument, &parameter.to_string(), problem));
        if own.iter().any(|keyword| parameter.is(keyword)) || before.iter().any(|other| other.is(parameter.keyword())) {
            return refused(ParameterError::Repeated.into());
        }
        let value = parameter.value().map_or(0, str::len);
        length = length.saturating_add(parameter.keyword().len()).saturating_add(value).saturating_add(2);
        if length > MAX_COMMAND {
            return refused(Problem::TooLong);
        }
    }
    Ok(())
}

/// The content of a message: header fields and body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// All of it. It is looked through before it is sent, so that what cannot be sent is refused before any octet
    /// is on the wire.
    Whole(Bytes),
    /// It comes in pieces, each when [`Event::WantContent`](super::Event::WantContent) asks for it.
    Streamed {
        /// Its size in octets with CRLF line ends, as far as it is known: the server may refuse it early.
        size: Option<u64>,
    },
}

impl From<Bytes> for Content {
    fn from(content: Bytes) -> Self {
        Self::Whole(content)
    }
}

impl From<Vec<u8>> for Content {
    fn from(content: Vec<u8>) -> Self {
        Self::Whole(content.into())
    }
}

impl From<&'static str> for Content {
    fn from(content: &'static str) -> Self {
        Self::Whole(Bytes::from_static(content.as_bytes()))
    }
}

impl From<alloc::string::String> for Content {
    fn from(content: alloc::string::String) -> Self {
        Self::Whole(content.into())
    }
}
