//! Mailboxes and paths (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
//!
//! One parser serves both roles and every place an address can stand in. A local part is opaque: it is kept
//! octet for octet without its quoting, never case-folded, never normalised, and never joined with its domain
//! into one string that somebody would have to take apart again.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use super::domain::Domain;

/// The longest local part, in octets of its shortest written form (RFC 5321 section 4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;
/// The longest path, in octets with its angle brackets (RFC 5321 section 4.5.3.1.3).
pub const MAX_PATH: usize = 256;

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The local part is missing, has a character that needs quoting, or its quoting is broken.
    #[error("malformed local part")]
    LocalPart,
    /// The domain is missing or is not letters, digits and inner hyphens in dot-separated labels.
    #[error("malformed domain")]
    Domain,
    /// The address literal in square brackets is not an IPv4, IPv6 or general literal.
    #[error("malformed address literal")]
    Literal,
    /// It is not a local part, `@` and a domain, or angle brackets are missing or too many.
    #[error("not of the form local-part@domain")]
    Path,
    /// The local part is longer than 64 octets.
    #[error("local part longer than {MAX_LOCAL_PART} octets")]
    LocalPartTooLong,
    /// The domain is longer than 255 octets, or one of its labels than 63.
    #[error("domain too long")]
    DomainTooLong,
    /// The whole path is longer than 256 octets.
    #[error("path longer than {MAX_PATH} octets")]
    PathTooLong,
}

/// A mailbox: a local part at a domain.
///
/// All quoted forms of one local part are equal (RFC 5321 section 4.1.2); the shortest one is written.
///
/// ```
/// use smtp_proto::wire::Mailbox;
/// let plain: Mailbox = "jane@Example.org".parse()?;
/// let quoted: Mailbox = r#""jane"@example.ORG"#.parse()?;
/// assert_eq!(plain, quoted);
/// assert_eq!(quoted.to_string(), "jane@example.ORG");
/// # Ok::<(), smtp_proto::wire::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local_part: String,
    domain: Domain,
}

/// Where notifications about a message go: the argument of `MAIL FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: nobody. Used by notifications themselves.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Where a message goes: the argument of `RCPT TO`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: the postmaster of the server itself (RFC 5321 section 4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl Mailbox {
    /// Makes a mailbox of a local part without quoting, and a domain.
    ///
    /// # Errors
    /// When the local part is empty, too long or holds a control character, or the whole is too long for a path.
    pub fn new(local_part: &str, domain: Domain) -> Result<Self, AddressError> {
        if local_part.is_empty() || local_part.chars().any(char::is_control) {
            return Err(AddressError::LocalPart);
        }
        let mailbox = Self { local_part: local_part.to_owned(), domain };
        mailbox.check_length()?;
        Ok(mailbox)
    }

    /// The local part without quoting. Only the host of the domain may interpret it.
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local_part.is_ascii() && self.domain.is_ascii()
    }

    fn check_length(&self) -> Result<(), AddressError> {
        if written_length(&LocalPart(&self.local_part)) > MAX_LOCAL_PART {
            return Err(AddressError::LocalPartTooLong);
        }
        if written_length(self) > MAX_PATH.saturating_sub(2) {
            return Err(AddressError::PathTooLong);
        }
        Ok(())
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, AddressError> {
        let local_part = cursor.local_part()?;
        if !cursor.eat('@') {
            return Err(AddressError::Path);
        }
        let mailbox = Self { local_part, domain: cursor.domain()? };
        mailbox.check_length()?;
        Ok(mailbox)
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut cursor = Cursor { rest: text };
        let mailbox = Self::parse(&mut cursor)?;
        if cursor.rest.is_empty() { Ok(mailbox) } else { Err(AddressError::Path) }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", LocalPart(&self.local_part), self.domain)
    }
}

/// Writes a local part in its shortest form.
struct LocalPart<'a>(&'a str);

impl fmt::Display for LocalPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            fmt::Write::write_char(f, character)?;
        }
        f.write_str("\"")
    }
}

impl ReversePath {
    /// The mailbox, or `None` for the null reverse path.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// Reads a path at the front of `text`; returns it with what follows.
    pub(crate) fn parse_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        if let Some(rest) = text.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        let (mailbox, rest) = bracketed_mailbox(text)?;
        Ok((Self::Mailbox(mailbox), rest))
    }
}

impl From<Mailbox> for ReversePath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

/// Reads an address without brackets; the empty text is the null reverse path.
impl FromStr for ReversePath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() { Ok(Self::Null) } else { text.parse().map(Self::Mailbox) }
    }
}

/// Writes the address without brackets; nothing for the null reverse path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |mailbox| mailbox.fmt(f))
    }
}

impl ForwardPath {
    /// The mailbox, or `None` for the postmaster without a domain.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// Reads a path at the front of `text`; returns it with what follows.
    pub(crate) fn parse_prefix(text: &str) -> Result<(Self, &str), AddressError> {
        let postmaster = "<postmaster>";
        if let Some((head, rest)) = text.split_at_checked(postmaster.len())
            && head.eq_ignore_ascii_case(postmaster)
        {
            return Ok((Self::Postmaster, rest));
        }
        let (mailbox, rest) = bracketed_mailbox(text)?;
        Ok((Self::Mailbox(mailbox), rest))
    }
}

impl From<Mailbox> for ForwardPath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

/// Reads an address without brackets, or the word `Postmaster`.
impl FromStr for ForwardPath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        text.parse().map(Self::Mailbox)
    }
}

/// Writes the address without brackets.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("Postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// `<[source route:]mailbox>`. The route is checked and dropped (RFC 5321 appendix C).
fn bracketed_mailbox(text: &str) -> Result<(Mailbox, &str), AddressError> {
    let mut cursor = Cursor { rest: text };
    if !cursor.eat('<') {
        return Err(AddressError::Path);
    }
    if cursor.rest.starts_with('@') {
        loop {
            if !cursor.eat('@') {
                return Err(AddressError::Path);
            }
            cursor.domain()?;
            if cursor.eat(':') {
                break;
            }
            if !cursor.eat(',') {
                return Err(AddressError::Path);
            }
        }
    }
    let mailbox = Mailbox::parse(&mut cursor)?;
    if !cursor.eat('>') {
        return Err(AddressError::Path);
    }
    if text.len().saturating_sub(cursor.rest.len()) > MAX_PATH {
        return Err(AddressError::PathTooLong);
    }
    Ok((mailbox, cursor.rest))
}

/// A reading position. Every method leaves `rest` at a character boundary.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        Some(character)
    }

    pub(super) fn eat(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !accept(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn local_part(&mut self) -> Result<String, AddressError> {
        if !self.eat('"') {
            let text = self.take_while(|character| character == '.' || is_atext(character));
            if text.split('.').any(str::is_empty) {
                return Err(AddressError::LocalPart);
            }
            return Ok(text.to_owned());
        }
        let mut content = String::new();
        loop {
            match self.next().ok_or(AddressError::LocalPart)? {
                '"' => break,
                // A quoted pair is `\` and any printable ASCII character (RFC 5321 section 4.1.2).
                '\\' => match self.next() {
                    Some(character @ ' '..='~') => content.push(character),
                    _ => return Err(AddressError::LocalPart),
                },
                character if character.is_control() => return Err(AddressError::LocalPart),
                character => content.push(character),
            }
        }
        // `""@domain` is grammatical but names nobody, and its shortest form would not read back.
        if content.is_empty() { Err(AddressError::LocalPart) } else { Ok(content) }
    }
}

pub(super) fn is_atext(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character);
    }
    !character.is_control()
}

pub(super) fn written_length(value: &impl fmt::Display) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.saturating_add(text.len());
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = fmt::Write::write_fmt(&mut count, format_args!("{value}"));
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn mailbox(text: &str) -> Result<Mailbox, AddressError> {
        text.parse()
    }

    #[test]
    fn every_form_of_an_address_reads_back_as_itself() {
        // ADDR-004, ADDR-005, ADDR-008..ADDR-011, ADDR-015
        for (text, written) in [
            ("a@b", "a@b"),
            ("User.Name+tag@Example.ORG", "User.Name+tag@Example.ORG"),
            (r#""plain"@b"#, "plain@b"),
            (r#""with space"@b"#, r#""with space"@b"#),
            (r#""a\"b\\c"@b"#, r#""a\"b\\c"@b"#),
            (r#""\a\b"@b"#, "ab@b"),
            (r#""a@evil.test"@b"#, r#""a@evil.test"@b"#),
            (r#""a>b"@b"#, r#""a>b"@b"#),
            (r#"".dot."@b"#, r#"".dot."@b"#),
            ("a%b!c@d", "a%b!c@d"),
            ("=?utf-8?q?x?=@d", "=?utf-8?q?x?=@d"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[192.000.002.001]", "a@[192.0.2.1]"),
            ("a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]"),
            ("a@[IPv6:::ffff:192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"),
            ("a@[x400:some-thing]", "a@[x400:some-thing]"),
            ("δοκιμή@παράδειγμα.gr", "δοκιμή@παράδειγμα.gr"),
            ("\"δ κ\"@b", "\"δ κ\"@b"),
        ] {
            let parsed = mailbox(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed.to_string(), written);
            assert_eq!(mailbox(written), Ok(parsed), "{written}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        // ADDR-004, ADDR-006..ADDR-011
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a b@c",
            "a@b c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a\u{1}@b",
            "\"a\u{1}\"@b",
            "\"a\u{7f}\"@b",
            "\"a@b",
            "\"a\"b@c",
            "\"\"@b",
            "\"a\\\"@b",
            "a@b\r",
            "a@b\n",
            "a\0@b",
            "a@[256.1.1.1]",
            "a@[1.2.3]",
            "a@[1.2.3.4.5]",
            "a@[1.2.3.0004]",
            "a@[+1.2.3.4]",
            "a@[1.2.3.4",
            "a@1.2.3.4]",
            "a@[IPv6:1:2:3:4:5:6:7]",
            "a@[IPv6:1::2::3]",
            "a@[IPv6:fe80::1%eth0]",
            "a@[2001:db8::1]",
            "a@[:x]",
            "a@[x-:y]",
            "a@[tag:]",
            "a(comment)@b",
            "<a@b>",
            "A <a@b>",
            "a@b,c@d",
            "a@b\u{202e}c",
            "a\u{85}@b",
            "\"a\u{85}\"@b",
        ] {
            // `a@[2001:db8::1]` has a general literal's form: tag `2001`. RFC 5321 leaves it to policy (ADDR-010).
            if text == "a@[2001:db8::1]" {
                assert!(matches!(mailbox(text).unwrap().domain(), Domain::General(_)));
                continue;
            }
            assert!(mailbox(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn lengths_are_octets_and_nothing_is_cut() {
        // ADDR-013, I18N-011
        let local = |n| format!("{}@b", "a".repeat(n));
        assert!(mailbox(&local(64)).is_ok());
        assert_eq!(mailbox(&local(65)), Err(AddressError::LocalPartTooLong));
        assert!(mailbox(&format!("{}@b", "é".repeat(32))).is_ok());
        assert_eq!(mailbox(&format!("{}a@b", "é".repeat(32))), Err(AddressError::LocalPartTooLong));
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "d".repeat(60));
        assert_eq!(domain.len(), 252);
        assert!(mailbox(&format!("a@{domain}")).is_ok(), "254 and two brackets are 256");
        assert_eq!(mailbox(&format!("aa@{domain}")), Err(AddressError::PathTooLong));
        assert_eq!(mailbox(&format!("a@{}", "d".repeat(64))), Err(AddressError::DomainTooLong));
        assert_eq!(mailbox(&format!("a@{domain}.{label}")), Err(AddressError::DomainTooLong));
    }

    #[test]
    fn domains_compare_without_case_and_local_parts_with() {
        // WIRE-005, I18N-013
        assert_eq!(mailbox("a@B.Test"), mailbox("a@b.tesT"));
        assert_ne!(mailbox("A@b"), mailbox("a@b"));
        assert_eq!(mailbox("Foo@B.Test").unwrap().local_part(), "Foo");
    }

    #[test]
    fn paths_know_null_postmaster_and_routes() {
        // ADDR-001, ADDR-002, WIRE-013, H-AD-2
        assert_eq!(ReversePath::parse_prefix("<> X"), Ok((ReversePath::Null, " X")));
        assert!(ForwardPath::parse_prefix("<>").is_err());
        assert_eq!(ForwardPath::parse_prefix("<pOsTmAsTeR>"), Ok((ForwardPath::Postmaster, "")));
        assert!(ReversePath::parse_prefix("<Postmaster>").is_err());
        let routed = ForwardPath::parse_prefix("<@x.test,@[192.0.2.1]:a@b.test> Y").unwrap();
        assert_eq!(routed, ("a@b.test".parse().unwrap(), " Y"));
        for text in [
            "a@b",
            "<a@b",
            "<a@b>>".trim_end_matches(">>"),
            "<@x.test a@b>",
            "<@x,y:a@b>",
            "<:a@b>",
            "< a@b>",
            "<a@b >",
        ] {
            assert!(ForwardPath::parse_prefix(text).is_err(), "{text}");
        }
        let long = format!("<@{}.test:{}@{}.test>", "r".repeat(63), "a".repeat(64), "d".repeat(63));
        assert!(ForwardPath::parse_prefix(&long).is_ok());
        let longer = format!("<@{0}.{0}.test:a@{0}.{0}>", "r".repeat(63));
        assert_eq!(ForwardPath::parse_prefix(&longer), Err(AddressError::PathTooLong));
    }
}
