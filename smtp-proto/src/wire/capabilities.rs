//! What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::params::{decimal, is_keyword};

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

    #[test]
    fn only_so_many_keywords_are_kept() {
        let text: String = (0..100).map(|n| format!("\nX{n}")).collect();
        assert_eq!(Capabilities::parse(&text).iter().count(), MAX_CAPABILITIES);
    }
}
