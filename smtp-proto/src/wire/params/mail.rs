//! The parameters of MAIL.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::{
    DeliverBy, EnvelopeId, Hold, Parameter, ParameterError, Priority, Ret, are_ascii, decimal, push_once, set,
    set_flag, split,
};
use crate::wire::address::ReversePath;
use crate::wire::xtext::{self, Xtext};

/// What the content of a message may hold: the BODY parameter (RFC 6152 section 2, RFC 3030 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BodyType {
    /// ASCII only.
    #[default]
    SevenBit,
    /// Any octets in lines.
    EightBitMime,
    /// Any octets. It can be sent in chunks only.
    BinaryMime,
}

impl BodyType {
    fn parse(value: &str) -> Option<Self> {
        [Self::SevenBit, Self::EightBitMime, Self::BinaryMime]
            .into_iter()
            .find(|body| value.eq_ignore_ascii_case(body.keyword()))
    }

    /// How it is written.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}

/// The parameters of a MAIL command: the known ones typed, the others kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MailParameters {
    /// SIZE: the octets of the content as the client counts them (RFC 1870). A number too large for 64 bits is
    /// the largest there is.
    pub size: Option<u64>,
    /// BODY (RFC 6152, RFC 3030).
    pub body: Option<BodyType>,
    /// SMTPUTF8: addresses or header fields may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// REQUIRETLS: the message must not travel without verified TLS (RFC 8689). A relay has to hold on to it.
    pub requiretls: bool,
    /// AUTH: who submitted the message, as far as the client says and is trusted (RFC 4954 section 5). Null: nobody
    /// knows.
    pub auth: Option<ReversePath>,
    /// RET: how much of the message a notification returns (DSN, RFC 3461).
    pub ret: Option<Ret>,
    /// ENVID: what the sender calls the transaction in notifications (DSN, RFC 3461).
    pub envelope_id: Option<EnvelopeId>,
    /// BY: by when the message is to be delivered (DELIVERBY, RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// HOLDFOR or HOLDUNTIL: until when the message is held back (FUTURERELEASE, RFC 4865).
    pub hold: Option<Hold>,
    /// MT-PRIORITY: how urgent the message is (RFC 6710).
    pub priority: Option<Priority>,
    /// All others, in their order.
    pub other: Vec<Parameter>,
}

impl MailParameters {
    /// The keywords that [`MailParameters::other`] cannot have.
    pub(crate) const KNOWN: [&str; 11] =
        ["SIZE", "BODY", "SMTPUTF8", "REQUIRETLS", "AUTH", "RET", "ENVID", "BY", "HOLDFOR", "HOLDUNTIL", "MT-PRIORITY"];

    pub(crate) fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parsed = Self::default();
        for parameter in split(text)? {
            let value = parameter.value();
            match () {
                () if parameter.is("SIZE") => set(&mut parsed.size, value.and_then(decimal))?,
                () if parameter.is("BODY") => set(&mut parsed.body, value.and_then(BodyType::parse))?,
                () if parameter.is("SMTPUTF8") => set_flag(&mut parsed.smtputf8, value)?,
                () if parameter.is("REQUIRETLS") => set_flag(&mut parsed.requiretls, value)?,
                () if parameter.is("AUTH") => set(&mut parsed.auth, value.and_then(submitter))?,
                () if parameter.is("RET") => set(&mut parsed.ret, value.and_then(Ret::parse))?,
                () if parameter.is("ENVID") => set(&mut parsed.envelope_id, value.and_then(EnvelopeId::parse))?,
                () if parameter.is("BY") => set(&mut parsed.deliver_by, value.and_then(DeliverBy::parse))?,
                () if parameter.is("HOLDFOR") => set(&mut parsed.hold, value.and_then(Hold::parse_interval))?,
                () if parameter.is("HOLDUNTIL") => set(&mut parsed.hold, value.and_then(Hold::parse_date_time))?,
                () if parameter.is("MT-PRIORITY") => set(&mut parsed.priority, value.and_then(Priority::parse))?,
                () => push_once(&mut parsed.other, parameter)?,
            }
        }
        Ok(parsed)
    }

    /// The extensions that these parameters belong to, by their keywords in the reply to EHLO. What
    /// [`MailParameters::other`] belongs to is not known.
    pub fn extensions(&self) -> impl Iterator<Item = &'static str> {
        let binary = self.body == Some(BodyType::BinaryMime);
        [
            (self.size.is_some(), "SIZE"),
            (self.body.is_some() && !binary, "8BITMIME"),
            (binary, "BINARYMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.requiretls, "REQUIRETLS"),
            (self.auth.is_some(), "AUTH"),
            (self.ret.is_some() || self.envelope_id.is_some(), "DSN"),
            (self.deliver_by.is_some(), "DELIVERBY"),
            (self.hold.is_some(), "FUTURERELEASE"),
            (self.priority.is_some(), "MT-PRIORITY"),
        ]
        .into_iter()
        .filter_map(|(given, keyword)| given.then_some(keyword))
    }

    /// Whether it can be written without SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        are_ascii(&self.other)
    }
}

/// Each parameter with a space before it.
impl fmt::Display for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(f, " SIZE={size}")?;
        }
        if let Some(body) = self.body {
            write!(f, " BODY={}", body.keyword())?;
        }
        if self.smtputf8 {
            f.write_str(" SMTPUTF8")?;
        }
        if self.requiretls {
            f.write_str(" REQUIRETLS")?;
        }
        match &self.auth {
            Some(ReversePath::Null) => f.write_str(" AUTH=<>")?,
            Some(ReversePath::Mailbox(mailbox)) => write!(f, " AUTH={}", Xtext(&mailbox.to_string()))?,
            None => {}
        }
        if let Some(ret) = self.ret {
            write!(f, " RET={ret}")?;
        }
        if let Some(envelope_id) = &self.envelope_id {
            write!(f, " ENVID={envelope_id}")?;
        }
        if let Some(deliver_by) = self.deliver_by {
            write!(f, " BY={deliver_by}")?;
        }
        if let Some(hold) = self.hold {
            write!(f, " {hold}")?;
        }
        if let Some(priority) = self.priority {
            write!(f, " MT-PRIORITY={priority}")?;
        }
        self.other.iter().try_for_each(|parameter| write!(f, " {parameter}"))
    }
}

/// The value of AUTH: `<>` or a mailbox in xtext.
fn submitter(value: &str) -> Option<ReversePath> {
    match value {
        "<>" => Some(ReversePath::Null),
        value => Some(ReversePath::Mailbox(xtext::decode(value)?.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_are_typed_and_the_others_kept() {
        // SIZE-002, I18N-001, I18N-005, WIRE-021
        let parsed = MailParameters::parse(" size=20 Body=8bitmime SMTPUTF8 X-Foo=bar FLAG").unwrap();
        assert_eq!((parsed.size, parsed.body, parsed.smtputf8), (Some(20), Some(BodyType::EightBitMime), true));
        assert_eq!(parsed.to_string(), " SIZE=20 BODY=8BITMIME SMTPUTF8 X-Foo=bar FLAG");
        assert_eq!(MailParameters::parse(&parsed.to_string()), Ok(parsed));
        assert_eq!(MailParameters::parse(""), Ok(MailParameters::default()));
        assert_eq!(MailParameters::parse("  SIZE=1  ").unwrap().size, Some(1));
    }

    #[test]
    fn who_submitted_a_message_is_nobody_or_a_mailbox() {
        // AUTH-013, EXT-001
        let parsed = MailParameters::parse(" AUTH=e+3Dmc2@a.test requiretls").unwrap();
        assert_eq!(parsed.auth, Some("e=mc2@a.test".parse().unwrap()));
        assert!(parsed.requiretls);
        assert_eq!(parsed.to_string(), " REQUIRETLS AUTH=e+3Dmc2@a.test");
        assert_eq!(MailParameters::parse(" AUTH=<>").unwrap().auth, Some(ReversePath::Null));
        assert_eq!(MailParameters::parse(" AUTH=<>").unwrap().to_string(), " AUTH=<>");
    }

    #[test]
    fn parameters_of_extensions_have_types_and_name_their_extension() {
        // DSN-003, EXT-006, EXT-008, EXT-009, BDAT-014
        let text = " ret=hdrs envid=QQ+2B1 by=+120;nt holdfor=60 mt-priority=-3 body=binarymime X=1";
        let parsed = MailParameters::parse(text).unwrap();
        assert_eq!((parsed.ret, parsed.body), (Some(Ret::Headers), Some(BodyType::BinaryMime)));
        assert_eq!(parsed.envelope_id.as_ref().map(EnvelopeId::as_str), Some("QQ+1"));
        let canonical = " BODY=BINARYMIME RET=HDRS ENVID=QQ+2B1 BY=120;NT HOLDFOR=60 MT-PRIORITY=-3 X=1";
        assert_eq!(parsed.to_string(), canonical);
        let extensions: Vec<_> = parsed.extensions().collect();
        assert_eq!(extensions, ["BINARYMIME", "DSN", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY"]);
        assert_eq!(MailParameters::parse(canonical), Ok(parsed));
        let older = MailParameters::parse(" SIZE=1 BODY=7BIT SMTPUTF8 REQUIRETLS AUTH=<> FLAG").unwrap();
        let extensions: Vec<_> = older.extensions().collect();
        assert_eq!(extensions, ["SIZE", "8BITMIME", "SMTPUTF8", "REQUIRETLS", "AUTH"]);
        let held = MailParameters::parse(" HOLDUNTIL=2030-01-01T00:00:00Z").unwrap();
        assert_eq!(held.to_string(), " HOLDUNTIL=2030-01-01T00:00:00Z");
    }

    #[test]
    fn wrong_values_repetitions_and_bad_grammar_are_told_apart() {
        // SIZE-002, DSN-003, DSN-004, DSN-005, EXT-006, EXT-008, EXT-009
        for (text, error) in [
            (" SIZE", ParameterError::Value),
            (" SIZE=x", ParameterError::Value),
            (" SIZE=+1", ParameterError::Value),
            (" SIZE=-1", ParameterError::Value),
            (" SIZE=111111111111111111111", ParameterError::Value),
            (" SIZE=", ParameterError::Syntax),
            (" SIZE=1 SIZE=1", ParameterError::Repeated),
            (" BODY=9BIT", ParameterError::Value),
            (" BODY", ParameterError::Value),
            (" BODY=7BIT BODY=7BIT", ParameterError::Repeated),
            (" SMTPUTF8=x", ParameterError::Value),
            (" REQUIRETLS=x", ParameterError::Value),
            (" REQUIRETLS REQUIRETLS", ParameterError::Repeated),
            (" AUTH", ParameterError::Value),
            (" AUTH=a", ParameterError::Value),
            (" AUTH=a+3d@b.test", ParameterError::Value),
            (" AUTH=<> AUTH=<>", ParameterError::Repeated),
            (" SMTPUTF8 smtputf8", ParameterError::Repeated),
            (" RET=ALL", ParameterError::Value),
            (" RET=FULL ret=HDRS", ParameterError::Repeated),
            (" ENVID", ParameterError::Value),
            (" ENVID=", ParameterError::Syntax),
            (" ENVID=+2b", ParameterError::Value),
            (" ENVID=+00", ParameterError::Value),
            (" ENVID=a ENVID=a", ParameterError::Repeated),
            (" BY=-1;R", ParameterError::Value),
            (" BY=1;R BY=1;R", ParameterError::Repeated),
            (" HOLDFOR=0", ParameterError::Value),
            (" HOLDUNTIL=60", ParameterError::Value),
            (" HOLDFOR=1 HOLDFOR=1", ParameterError::Repeated),
            (" HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z", ParameterError::Repeated),
            (" MT-PRIORITY=10", ParameterError::Value),
            (" MT-PRIORITY=1 MT-PRIORITY=1", ParameterError::Repeated),
            (" A=1 a=2", ParameterError::Repeated),
            (" A_B=1", ParameterError::Syntax),
            (" -A=1", ParameterError::Syntax),
            (" A=1=2", ParameterError::Syntax),
            (" =1", ParameterError::Syntax),
            ("A=1", ParameterError::Syntax),
            (" A=\u{7f}", ParameterError::Syntax),
        ] {
            assert_eq!(MailParameters::parse(text), Err(error), "{text:?}");
        }
    }
}
