//! What to send and to whom.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::error::{InvalidArgument, Problem};
use crate::wire::{ForwardPath, Parameter, ReversePath};

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
    pub recipients: Vec<ForwardPath>,
    /// Whether header fields hold UTF-8, so that SMTPUTF8 is needed even when all addresses are ASCII.
    pub smtputf8: bool,
    /// Further parameters of MAIL. The server must know them; SIZE, BODY and SMTPUTF8 are added where they are due.
    pub parameters: Vec<Parameter>,
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
        let reverse_path = reverse_path
            .parse()
            .map_err(|problem| InvalidArgument::new("sender", reverse_path, Problem::Address(problem)))?;
        let recipients = recipients
            .into_iter()
            .enumerate()
            .map(|(index, recipient)| {
                let recipient = recipient.as_ref();
                recipient.parse().map_err(|problem| {
                    InvalidArgument::new("recipient", recipient, Problem::Address(problem))
                        .numbered(index.saturating_add(1))
                })
            })
            .collect::<Result<Vec<ForwardPath>, _>>()?;
        if recipients.is_empty() {
            return Err(InvalidArgument::new("list of recipients", "", Problem::Empty));
        }
        Ok(Self { reverse_path, recipients, smtputf8: false, parameters: Vec::new() })
    }

    pub(super) fn needs_smtputf8(&self) -> bool {
        self.smtputf8 || !self.reverse_path.is_ascii() || !self.recipients.iter().all(ForwardPath::is_ascii)
    }
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
