//! The parameters of RCPT.

use alloc::vec::Vec;
use core::fmt;

use super::{Notify, OriginalRecipient, Parameter, ParameterError, Rrvs, are_ascii, push_once, set, split};

/// The parameters of a RCPT command: the known ones typed, the others kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecipientParameters {
    /// NOTIFY: when to send notifications (DSN, RFC 3461).
    pub notify: Option<Notify>,
    /// ORCPT: whom the sender named as the recipient (DSN, RFC 3461).
    pub original_recipient: Option<OriginalRecipient>,
    /// RRVS: since when the mailbox must have had the same owner (RFC 7293).
    pub rrvs: Option<Rrvs>,
    /// All others, in their order.
    pub other: Vec<Parameter>,
}

impl RecipientParameters {
    /// The keywords that [`RecipientParameters::other`] cannot have.
    pub(crate) const KNOWN: [&str; 3] = ["NOTIFY", "ORCPT", "RRVS"];

    pub(crate) fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parsed = Self::default();
        for parameter in split(text)? {
            let value = parameter.value();
            match () {
                () if parameter.is("NOTIFY") => set(&mut parsed.notify, value.and_then(Notify::parse))?,
                () if parameter.is("ORCPT") => {
                    set(&mut parsed.original_recipient, value.and_then(OriginalRecipient::parse))?;
                }
                () if parameter.is("RRVS") => set(&mut parsed.rrvs, value.and_then(Rrvs::parse))?,
                () => push_once(&mut parsed.other, parameter)?,
            }
        }
        Ok(parsed)
    }

    /// The extensions that these parameters belong to, by their keywords in the reply to EHLO. What
    /// [`RecipientParameters::other`] belongs to is not known.
    pub fn extensions(&self) -> impl Iterator<Item = &'static str> {
        [(self.notify.is_some() || self.original_recipient.is_some(), "DSN"), (self.rrvs.is_some(), "RRVS")]
            .into_iter()
            .filter_map(|(given, keyword)| given.then_some(keyword))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they can be written without SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.original_recipient.as_ref().is_none_or(OriginalRecipient::is_ascii) && are_ascii(&self.other)
    }
}

/// Each parameter with a space before it.
impl fmt::Display for RecipientParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(notify) = &self.notify {
            write!(f, " NOTIFY={notify}")?;
        }
        if let Some(original_recipient) = &self.original_recipient {
            write!(f, " ORCPT={original_recipient}")?;
        }
        if let Some(rrvs) = &self.rrvs {
            write!(f, " RRVS={rrvs}")?;
        }
        self.other.iter().try_for_each(|parameter| write!(f, " {parameter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn known_parameters_are_typed_and_the_others_kept() {
        // DSN-001, DSN-002, DSN-009, EXT-010
        let text = " X=1 rrvs=2014-04-03T23:01:00Z;C orcpt=rfc822;a+40b Notify=delay,failure FLAG";
        let parsed = RecipientParameters::parse(text).unwrap();
        assert_eq!(parsed.notify, Some(Notify { failure: true, delay: true, ..Notify::NEVER }));
        assert_eq!(parsed.original_recipient, Some(OriginalRecipient::new("RFC822", "a@b").unwrap()));
        let canonical = " NOTIFY=FAILURE,DELAY ORCPT=rfc822;a@b RRVS=2014-04-03T23:01:00Z;C X=1 FLAG";
        assert_eq!(parsed.to_string(), canonical);
        assert_eq!(parsed.extensions().collect::<Vec<_>>(), ["DSN", "RRVS"]);
        assert!(parsed.is_ascii() && !parsed.is_empty());
        assert_eq!(RecipientParameters::parse(canonical), Ok(parsed));
        let none = RecipientParameters::parse("").unwrap();
        assert!(none.is_empty() && none.extensions().next().is_none());
        assert_eq!(RecipientParameters::parse(" X=1").unwrap().extensions().next(), None);
    }

    #[test]
    fn utf_8_in_a_parameter_needs_smtputf8() {
        // DSN-010
        for (text, ascii) in
            [(" ORCPT=utf-8;\\x{E9}", true), (" ORCPT=utf-8;é", false), (" X=é", false), (" NOTIFY=NEVER", true)]
        {
            let parsed = RecipientParameters::parse(text).unwrap();
            assert_eq!((parsed.is_ascii(), parsed.to_string().as_str()), (ascii, text));
        }
    }

    #[test]
    fn wrong_values_and_repetitions_are_told_apart() {
        // DSN-001, DSN-002, DSN-005, EXT-010
        for (text, error) in [
            (" NOTIFY", ParameterError::Value),
            (" NOTIFY=", ParameterError::Syntax),
            (" NOTIFY=NEVER,DELAY", ParameterError::Value),
            (" NOTIFY=DELAY NOTIFY=DELAY", ParameterError::Repeated),
            (" ORCPT", ParameterError::Value),
            (" ORCPT=a@b.test", ParameterError::Value),
            (" ORCPT=rfc822;a=b", ParameterError::Syntax),
            (" ORCPT=rfc822;+00", ParameterError::Value),
            (" ORCPT=rfc822;a orcpt=rfc822;a", ParameterError::Repeated),
            (" RRVS", ParameterError::Value),
            (" RRVS=yesterday", ParameterError::Value),
            (" RRVS=2014-04-03T23:01:00Z RRVS=2014-04-03T23:01:00Z", ParameterError::Repeated),
            (" A=1 a=2", ParameterError::Repeated),
            ("NOTIFY=NEVER", ParameterError::Syntax),
        ] {
            assert_eq!(RecipientParameters::parse(text), Err(error), "{text:?}");
        }
    }
}
