//! The syntax of SMTP: what stands on the wire and what it means, without any state of a session.
//!
//! What parses can be written, and reads back the same.

mod address;
mod attribute;
mod capabilities;
mod command;
mod content;
mod date_time;
mod domain;
mod escape;
mod line;
mod params;
mod proxy;
mod reply;
mod xtext;

pub use address::{AddressError, ForwardPath, MAX_LOCAL_PART, MAX_PATH, Mailbox, ReversePath};
pub use attribute::{Attribute, AttributeError, AttributeName, AttributeValue, MessageSource};
pub use capabilities::{Capabilities, Capability, FutureReleaseMaxima, Limits, MAX_CAPABILITIES};
pub use command::{
    AbsoluteUri, Command, CommandError, HelloName, InitialResponse, InvalidAbsoluteUri, Node, NodeScope, Query,
};
pub use content::{BareNewline, ContentDecoder, ContentEncoder, ContentFault, Decoded, MAX_TEXT_LINE, Survey};
pub use date_time::{DateTime, InvalidDateTime};
pub use domain::{Domain, DomainName, GeneralLiteral, MAX_DOMAIN};
pub use escape::Escaped;
pub use line::{Line, LineReader};
pub(crate) use params::are_ascii;
pub use params::{
    BodyType, ByMode, DeliverBy, EnvelopeId, FutureReleaseInterval, Hold, MailParameters, NoSupportAction, Notify,
    OriginalRecipient, Parameter, ParameterError, Priority, RecipientParameters, Ret, Rrvs,
};
pub use proxy::{ProxyError, ProxyHeader};
pub use reply::{
    EnhancedStatusCode, InvalidReply, MAX_REPLY_LINE, Reply, ReplyCode, ReplyForm, ReplyLimits, ReplyReader, Severity,
};
