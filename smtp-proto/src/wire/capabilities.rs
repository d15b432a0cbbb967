//! What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::date_time::DateTime;
use super::params::{FutureReleaseInterval, decimal, digits, is_keyword};

/// The most keywords kept of one EHLO reply; more are ignored.
pub const MAX_CAPABILITIES: usize = 64;

/// The longest capability, in octets: it must fit one line of a reply.
const MAX_CAPABILITY: usize = 500;

/// One line of an EHLO reply. Keywords compare without case.
#[derive(Debug, Clone)]
pub struct Capability {
    keyword: String,
    parameters: String,
}

/// What LIMITS states (RFC 9422 section 4). What is not stated is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// MAILMAX: the most transactions in a session.
    pub mail_max: Option<u32>,
    /// RCPTMAX: the most recipients of a transaction.
    pub rcpt_max: Option<u32>,
    /// RCPTDOMAINMAX: the most domains that the recipients of a session may have.
    pub rcpt_domain_max: Option<u32>,
}

/// For how long a server holds messages back (RFC 4865 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FutureReleaseMaxima {
    /// The max-future-release-interval.
    pub interval: FutureReleaseInterval,
    /// The max-future-release-date-time.
    pub date_time: DateTime,
}

/// The list of what a server offers, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities(Vec<Capability>);

impl Capability {
    /// A keyword with its parameters separated by spaces; `None` when it cannot stand in a reply.
    pub fn new(keyword: &str, parameters: &str) -> Option<Self> {
        let printable = parameters.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let length = keyword.len().saturating_add(parameters.len());
        (is_keyword(keyword) && printable && length <= MAX_CAPABILITY && parameters.trim_matches(' ') == parameters)
            .then(|| Self { keyword: keyword.to_owned(), parameters: parameters.to_owned() })
    }

    /// The keyword as written.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// The parameters as written, without the space before them.
    pub fn parameters(&self) -> &str {
        &self.parameters
    }
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        self.keyword.eq_ignore_ascii_case(&other.keyword) && self.parameters == other.parameters
    }
}

impl Eq for Capability {}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keyword)?;
        if self.parameters.is_empty() { Ok(()) } else { write!(f, " {}", self.parameters) }
    }
}

impl Capabilities {
    /// No capabilities.
    pub(crate) const NONE: &Self = &Self(Vec::new());

    /// Reads the text of an EHLO reply: the first line is the greeting, every further one a capability.
    ///
    /// Lines that are not in the grammar are ignored (WIRE-019), and so are those beyond [`MAX_CAPABILITIES`].
    pub fn parse(reply_text: &str) -> Self {
        let parse = |line: &str| {
            let (keyword, parameters) = line.split_once(' ').unwrap_or((line, ""));
            Capability::new(keyword, parameters.trim_matches(' '))
        };
        Self(reply_text.split('\n').skip(1).filter_map(parse).take(MAX_CAPABILITIES).collect())
    }

    /// The capability with this keyword.
    pub fn find(&self, keyword: &str) -> Option<&Capability> {
        self.0.iter().find(|capability| capability.keyword.eq_ignore_ascii_case(keyword))
    }

    /// Whether the keyword is listed.
    pub fn contains(&self, keyword: &str) -> bool {
        self.find(keyword).is_some()
    }

    /// The largest message the server takes, in octets, where it states one (RFC 1870 section 4).
    pub fn size_limit(&self) -> Option<u64> {
        decimal(self.find("SIZE")?.parameters()).filter(|limit| *limit > 0)
    }

    /// The mechanisms that AUTH lists, as written (RFC 4954 section 3).
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.words("AUTH")
    }

    /// The limits that LIMITS states (RFC 9422). None of them when its syntax is wrong; those that are unknown or have a
    /// value they cannot have are ignored. Of a limit that stands twice, the lower value holds.
    pub fn limits(&self) -> Limits {
        if !self.words("LIMITS").all(is_limit) {
            return Limits::default();
        }
        let lowest = |name: &str| {
            let pairs = self.words("LIMITS").filter_map(|word| word.split_once('='));
            pairs
                .filter(|(other, _)| other.eq_ignore_ascii_case(name))
                .filter_map(|(_, value)| limit_value(value))
                .min()
        };
        Limits { mail_max: lowest("MAILMAX"), rcpt_max: lowest("RCPTMAX"), rcpt_domain_max: lowest("RCPTDOMAINMAX") }
    }

    /// The least seconds that a message to be returned if it is late must have, where DELIVERBY states them (RFC 2852
    /// section 3).
    pub fn deliver_by_minimum(&self) -> Option<u32> {
        let parameters = self.find("DELIVERBY")?.parameters();
        // What follows a comma is for extensions.
        let minimum = parameters.split(',').next().unwrap_or_default();
        u32::try_from(digits(minimum.trim_matches(' '), 9)?).ok()
    }

    /// For how long the server holds messages back. `None` when it does not offer FUTURERELEASE with both values that
    /// it must have.
    pub fn future_release_maxima(&self) -> Option<FutureReleaseMaxima> {
        let mut words = self.words("FUTURERELEASE");
        let interval = FutureReleaseInterval::parse(words.next()?)?;
        let date_time = words.next()?.parse().ok()?;
        words.next().is_none().then_some(FutureReleaseMaxima { interval, date_time })
    }

    /// The name of the Priority Assignment Policy, where MT-PRIORITY states one (RFC 6710 section 3).
    pub fn priority_assignment_policy(&self) -> Option<&str> {
        self.words("MT-PRIORITY").next()
    }

    /// The parameters of a capability.
    fn words(&self, keyword: &str) -> impl Iterator<Item = &str> + use<'_> {
        let parameters = self.find(keyword).map_or("", Capability::parameters);
        parameters.split(' ').filter(|word| !word.is_empty())
    }

    /// Adds a capability, in place of one with the same keyword.
    pub fn insert(&mut self, capability: Capability) {
        self.remove(&capability.keyword);
        self.0.push(capability);
    }

    /// Takes a capability off the list.
    pub fn remove(&mut self, keyword: &str) {
        self.0.retain(|capability| !capability.keyword.eq_ignore_ascii_case(keyword));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.0.iter()
    }
}

/// One capability a line, without a line end after the last.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for capability in &self.0 {
            write!(f, "{separator}{capability}")?;
            separator = "\n";
        }
        Ok(())
    }
}

/// A limit-name, alone or with `=` and a limit-value (RFC 9422 section 3).
fn is_limit(word: &str) -> bool {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    let is_value =
        |value: &str| !value.is_empty() && value.bytes().all(|octet| matches!(octet, b'!'..=b'~' if octet != b';'));
    !name.is_empty() && name.bytes().all(is_name) && value.is_none_or(is_value)
}

/// One to six digits, the first of which is not 0.
fn limit_value(value: &str) -> Option<u32> {
    u32::try_from(digits(value, 6).filter(|_| !value.starts_with('0'))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn keywords_have_no_case_and_odd_lines_are_ignored() {
        // WIRE-018, WIRE-019
        let list = Capabilities::parse("host says hi\nsize 10\nFROB x=y  z\nAUTH=LOGIN\n\n8BitMime\nBAD_KEY\nOK ");
        assert!(list.contains("8BITMIME") && list.contains("ok") && !list.contains("host"));
        assert_eq!(list.size_limit(), Some(10));
        assert_eq!(list.find("frob").unwrap().parameters(), "x=y  z");
        assert_eq!(list.iter().count(), 4);
        assert_eq!(Capabilities::parse(&format!("host\n{list}")), list);
    }

    #[test]
    fn a_size_without_a_usable_number_states_no_limit() {
        // SIZE-001
        for line in ["SIZE", "SIZE 0", "SIZE ten", "SIZE -1"] {
            assert_eq!(Capabilities::parse(&format!("host\n{line}")).size_limit(), None);
        }
    }

    fn offered(line: &str) -> Capabilities {
        Capabilities::parse(&format!("host\n{line}"))
    }

    #[test]
    fn limits_that_cannot_be_are_ignored_alone_and_bad_syntax_as_a_whole() {
        // EXT-005
        for (line, limits) in [
            ("LIMITS MAILMAX=10 RCPTMAX=100 RCPTDOMAINMAX=1", [Some(10), Some(100), Some(1)]),
            ("limits rcptmax=999999 FOO=bar BAZ", [None, Some(999_999), None]),
            ("LIMITS MAILMAX=99999  RCPTMAX=1000000", [Some(99_999), None, None]),
            ("LIMITS MAILMAX=0 RCPTMAX=010 RCPTDOMAINMAX=5", [None, None, Some(5)]),
            ("LIMITS MAILMAX=-1 RCPTMAX=+5 RCPTDOMAINMAX=x", [None, None, None]),
            ("LIMITS MAILMAX RCPTMAX=5", [None, Some(5), None]),
            ("LIMITS MAILMAX=7 MAILMAX=3 MAILMAX=5", [Some(3), None, None]),
            ("LIMITS RCPTMAX=5=5 MAILMAX=1", [Some(1), None, None]),
            ("LIMITS RCPTMAX=5;MAILMAX=1", [None, None, None]),
            ("LIMITS RCPTMAX=5 MAILMAX=", [None, None, None]),
            ("LIMITS RCPTMAX=5 =1", [None, None, None]),
            ("LIMITS RCPTMAX=5 A,B", [None, None, None]),
            ("LIMITS", [None, None, None]),
            ("SIZE 10", [None, None, None]),
        ] {
            let [mail_max, rcpt_max, rcpt_domain_max] = limits;
            assert_eq!(offered(line).limits(), Limits { mail_max, rcpt_max, rcpt_domain_max }, "{line}");
        }
    }

    #[test]
    fn parameters_of_extensions_are_read() {
        // EXT-006, EXT-007, EXT-008, EXT-009, AUTH-001, BDAT-016
        for (line, minimum) in [
            ("DELIVERBY", None),
            ("DELIVERBY 240", Some(240)),
            ("deliverby 240,FOO", Some(240)),
            ("DELIVERBY 999999999", Some(999_999_999)),
            ("DELIVERBY 1000000000", None),
            ("DELIVERBY -1", None),
            ("SIZE 10", None),
        ] {
            assert_eq!(offered(line).deliver_by_minimum(), minimum, "{line}");
        }
        let maxima = offered("FUTURERELEASE 86400 2030-01-01T00:00:00Z").future_release_maxima().unwrap();
        assert_eq!((maxima.interval.seconds(), maxima.date_time.unix_seconds()), (86_400, 1_893_456_000));
        for line in
            ["FUTURERELEASE", "FUTURERELEASE 0 2030-01-01T00:00:00Z", "FUTURERELEASE 1", "FUTURERELEASE 1 2 3", "X"]
        {
            assert_eq!(offered(line).future_release_maxima(), None, "{line}");
        }
        assert!(offered("AUTH PLAIN  scram-sha-256").mechanisms().eq(["PLAIN", "scram-sha-256"]));
        assert_eq!(offered("AUTH").mechanisms().count() + offered("X").mechanisms().count(), 0);
        assert_eq!(offered("MT-PRIORITY MIXER").priority_assignment_policy(), Some("MIXER"));
        assert_eq!(offered("MT-PRIORITY").priority_assignment_policy(), None);
    }

    #[test]
    fn only_so_many_keywords_are_kept() {
        let text: String = (0..100).map(|n| format!("\nX{n}")).collect();
        assert_eq!(Capabilities::parse(&text).iter().count(), MAX_CAPABILITIES);
    }
}
