//! What a proxy asserts about the client behind it: the attributes of XCLIENT and XFORWARD (XCLIENT_README and
//! XFORWARD_README of Postfix).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::Command;
use super::address::written_length;
use super::params::digits;
use super::xtext::{self, Xtext};

/// The longest value, in octets of its shortest written form.
const MAX_VALUE: usize = 255;
/// The longest name of a protocol, in octets.
const MAX_PROTOCOL: usize = 64;
/// The longest command, in octets without its CRLF.
const MAX_COMMAND: usize = 510;

/// One attribute: a name and a value of the kind that the name has.
///
/// ```
/// use smtp_proto::wire::{Attribute, AttributeName, AttributeValue};
/// let address = AttributeValue::Address("2001:db8::1".parse()?);
/// let attribute = Attribute::new(AttributeName::Addr, address)?;
/// assert_eq!(attribute.to_string(), "ADDR=IPV6:2001:db8::1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    name: AttributeName,
    value: AttributeValue,
}

/// The name of an attribute. It compares without case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttributeName {
    /// NAME: the host name of the client.
    Name,
    /// ADDR: the address of the client.
    Addr,
    /// PORT: the port of the client.
    Port,
    /// PROTO: the protocol that the client speaks; for XCLIENT, SMTP or ESMTP.
    Proto,
    /// HELO: what the client calls itself.
    Helo,
    /// LOGIN: the user that the client is authenticated as. XCLIENT only.
    Login,
    /// DESTADDR: the address that the client connected to. XCLIENT only.
    DestAddr,
    /// DESTPORT: the port that the client connected to. XCLIENT only.
    DestPort,
    /// IDENT: what the proxy calls the message. XFORWARD only.
    Ident,
    /// SOURCE: where the message came from. XFORWARD only.
    Source,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttributeValue {
    /// `[UNAVAILABLE]`: there is none.
    Unavailable,
    /// `[TEMPUNAVAIL]`: it cannot be found out at present.
    TemporarilyUnavailable,
    /// Of NAME, PROTO, HELO, LOGIN and IDENT: not encoded, and without control characters. That of LOGIN can be any
    /// text; the others have printable ASCII only, without spaces and `<>()\";@`.
    Text(String),
    /// Of ADDR and DESTADDR.
    Address(IpAddr),
    /// Of PORT and DESTPORT.
    Port(u16),
    /// Of SOURCE.
    Source(MessageSource),
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageSource {
    /// LOCAL: from within the network of the proxy.
    Local,
    /// REMOTE: from elsewhere.
    Remote,
}

/// Why an attribute cannot stand in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// It is not a name, `=` and a value, or there is none at all.
    #[error("not of the form name=value")]
    Syntax,
    /// The command has no attribute with this name.
    #[error("unknown attribute")]
    Name,
    /// The value is not one that an attribute with this name can have.
    #[error("attribute with an invalid value")]
    Value,
    /// The value is longer than 255 octets.
    #[error("attribute with a value of more than {MAX_VALUE} octets")]
    TooLong,
    /// The same name stands twice.
    #[error("attribute given twice")]
    Repeated,
}

/// What XCLIENT can have.
pub(super) const XCLIENT: [AttributeName; 8] = {
    use AttributeName::{Addr, DestAddr, DestPort, Helo, Login, Name, Port, Proto};
    [Name, Addr, Port, Proto, Helo, Login, DestAddr, DestPort]
};

/// What XFORWARD can have.
pub(super) const XFORWARD: [AttributeName; 7] = {
    use AttributeName::{Addr, Helo, Ident, Name, Port, Proto, Source};
    [Name, Addr, Port, Proto, Helo, Ident, Source]
};

impl AttributeName {
    /// The name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Proto => "PROTO",
            Self::Helo => "HELO",
            Self::Login => "LOGIN",
            Self::DestAddr => "DESTADDR",
            Self::DestPort => "DESTPORT",
            Self::Ident => "IDENT",
            Self::Source => "SOURCE",
        }
    }

    fn value(self, text: &str) -> Option<AttributeValue> {
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        match self {
            _ if is(UNAVAILABLE) => Some(AttributeValue::Unavailable),
            _ if is(TEMPUNAVAIL) => Some(AttributeValue::TemporarilyUnavailable),
            Self::Addr | Self::DestAddr => address(text).map(AttributeValue::Address),
            Self::Port | Self::DestPort => u16::try_from(digits(text, 5)?).ok().map(AttributeValue::Port),
            Self::Source if is("LOCAL") => Some(AttributeValue::Source(MessageSource::Local)),
            Self::Source if is("REMOTE") => Some(AttributeValue::Source(MessageSource::Remote)),
            Self::Source => None,
            Self::Name | Self::Proto | Self::Helo | Self::Login | Self::Ident => {
                Some(AttributeValue::Text(text.to_owned()))
            }
        }
    }
}

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPUNAVAIL: &str = "[TEMPUNAVAIL]";

fn address(text: &str) -> Option<IpAddr> {
    match text.split_at_checked(5) {
        Some((prefix, address)) if prefix.eq_ignore_ascii_case("IPV6:") => address.parse().ok().map(IpAddr::V6),
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

impl Attribute {
    /// An attribute.
    ///
    /// # Errors
    /// When the value is not of the name's kind, or is a text that is empty, too long, or has characters that it must
    /// not have.
    pub fn new(name: AttributeName, value: AttributeValue) -> Result<Self, AttributeError> {
        use AttributeName as N;
        let fits = match (&value, name) {
            (AttributeValue::Unavailable | AttributeValue::TemporarilyUnavailable, _)
            | (AttributeValue::Address(_), N::Addr | N::DestAddr)
            | (AttributeValue::Port(_), N::Port | N::DestPort)
            | (AttributeValue::Source(_), N::Source) => true,
            (AttributeValue::Text(text), N::Login) => !text.chars().any(char::is_control),
            (AttributeValue::Text(text), N::Name | N::Proto | N::Helo | N::Ident) => text.chars().all(is_plain),
            _ => false,
        };
        if let AttributeValue::Text(text) = &value {
            if text.is_empty() || [UNAVAILABLE, TEMPUNAVAIL].iter().any(|word| text.eq_ignore_ascii_case(word)) {
                return Err(AttributeError::Value);
            }
            if written_length(&Xtext(text)) > if name == N::Proto { MAX_PROTOCOL } else { MAX_VALUE } {
                return Err(AttributeError::TooLong);
            }
        }
        if fits { Ok(Self { name, value }) } else { Err(AttributeError::Value) }
    }

    /// The name.
    pub fn name(&self) -> AttributeName {
        self.name
    }

    /// The value.
    pub fn value(&self) -> &AttributeValue {
        &self.value
    }

    fn parse(word: &str, names: &[AttributeName]) -> Result<Self, AttributeError> {
        let (name, value) = word.split_once('=').ok_or(AttributeError::Syntax)?;
        let mut names = names.iter().copied();
        let name = names.find(|known| name.eq_ignore_ascii_case(known.as_str())).ok_or(AttributeError::Name)?;
        let text = xtext::decode(value).ok_or(AttributeError::Value)?;
        Self::new(name, name.value(&text).ok_or(AttributeError::Value)?)
    }
}

/// A printable ASCII character that is not special to whoever writes it into a header field or a log.
fn is_plain(character: char) -> bool {
    matches!(character, '!'..='~') && !r#"<>()\";@"#.contains(character)
}

/// Reads the attributes of a command that can have these, in their order.
pub(super) fn parse(text: &str, names: &[AttributeName]) -> Result<Vec<Attribute>, AttributeError> {
    let mut attributes: Vec<Attribute> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let attribute = Attribute::parse(word, names)?;
        if attributes.iter().any(|other| other.name == attribute.name) {
            return Err(AttributeError::Repeated);
        }
        attributes.push(attribute);
    }
    if attributes.is_empty() { Err(AttributeError::Syntax) } else { Ok(attributes) }
}

impl Command {
    /// XCLIENT with these attributes, in their order, in as many commands as they need: none has more than 512 octets
    /// with its CRLF.
    ///
    /// The server greets again behind each of them. What all of them said holds together.
    ///
    /// # Errors
    /// When there are none, or one that XCLIENT does not have, or one twice.
    pub fn xclient(attributes: Vec<Attribute>) -> Result<Vec<Self>, AttributeError> {
        distribute(Self::Xclient, attributes, &XCLIENT)
    }

    /// XFORWARD with these attributes, in their order, in as many commands as they need: none has more than 512 octets
    /// with its CRLF.
    ///
    /// # Errors
    /// When there are none, or one that XFORWARD does not have, or one twice.
    pub fn xforward(attributes: Vec<Attribute>) -> Result<Vec<Self>, AttributeError> {
        distribute(Self::Xforward, attributes, &XFORWARD)
    }
}

/// Fills one command after the other.
fn distribute(
    command: impl Fn(Vec<Attribute>) -> Command,
    attributes: Vec<Attribute>,
    names: &[AttributeName],
) -> Result<Vec<Command>, AttributeError> {
    let verb = written_length(&command(Vec::new()));
    let (mut commands, mut current, mut length) = (Vec::new(), Vec::new(), verb);
    let mut seen: Vec<AttributeName> = Vec::new();
    for attribute in attributes {
        if !names.contains(&attribute.name) {
            return Err(AttributeError::Name);
        }
        if seen.contains(&attribute.name) {
            return Err(AttributeError::Repeated);
        }
        seen.push(attribute.name);
        let more = written_length(&attribute).saturating_add(1);
        // One alone always fits.
        if length.saturating_add(more) > MAX_COMMAND {
            commands.push(command(core::mem::take(&mut current)));
            length = verb;
        }
        length = length.saturating_add(more);
        current.push(attribute);
    }
    if current.is_empty() {
        return Err(AttributeError::Syntax);
    }
    commands.push(command(current));
    Ok(commands)
}

/// Writes name, `=` and the encoded value.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.name.as_str())?;
        match &self.value {
            AttributeValue::Unavailable => f.write_str(UNAVAILABLE),
            AttributeValue::TemporarilyUnavailable => f.write_str(TEMPUNAVAIL),
            AttributeValue::Text(text) => Xtext(text).fmt(f),
            AttributeValue::Address(IpAddr::V4(address)) => address.fmt(f),
            AttributeValue::Address(IpAddr::V6(address)) => write!(f, "IPV6:{address}"),
            AttributeValue::Port(port) => port.fmt(f),
            AttributeValue::Source(MessageSource::Local) => f.write_str("LOCAL"),
            AttributeValue::Source(MessageSource::Remote) => f.write_str("REMOTE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    fn one(text: &str) -> Result<Attribute, AttributeError> {
        let names = if text.starts_with("IDENT") || text.starts_with("SOURCE") { &XFORWARD[..] } else { &XCLIENT[..] };
        let mut attributes = parse(text, names)?;
        assert_eq!(attributes.len(), 1);
        Ok(attributes.remove(0))
    }

    #[test]
    fn values_are_typed_and_read_back_the_same() {
        // PROXY-002, PROXY-004, PROXY-005
        for (text, canonical) in [
            ("name=mx.a.test", "NAME=mx.a.test"),
            ("NAME=[unavailable]", "NAME=[UNAVAILABLE]"),
            ("NAME=+5BTempUnavail]", "NAME=[TEMPUNAVAIL]"),
            ("Addr=192.0.2.1", "ADDR=192.0.2.1"),
            ("NAME=[TEMPUNAVAIL]", "NAME=[TEMPUNAVAIL]"),
            ("ADDR=[Unavailable]", "ADDR=[UNAVAILABLE]"),
            ("PORT=[tempunavail]", "PORT=[TEMPUNAVAIL]"),
            ("PROTO=[UNAVAILABLE]", "PROTO=[UNAVAILABLE]"),
            ("LOGIN=[unavailable+5D", "LOGIN=[UNAVAILABLE]"),
            ("SOURCE=[UNAVAILABLE]", "SOURCE=[UNAVAILABLE]"),
            ("ADDR=ipv6:2001:DB8:0::1", "ADDR=IPV6:2001:db8::1"),
            ("ADDR=IPv6:::1", "ADDR=IPV6:::1"),
            ("ADDR=+49PV6:::1", "ADDR=IPV6:::1"),
            ("PORT=00025", "PORT=25"),
            ("PORT=65535", "PORT=65535"),
            ("PROTO=ESMTP", "PROTO=ESMTP"),
            ("HELO=[IPv6:::1]", "HELO=[IPv6:::1]"),
            ("HELO=my_pc", "HELO=my_pc"),
            ("LOGIN=a+2Bb+20c@d.test", "LOGIN=a+2Bb+20c@d.test"),
            ("LOGIN=+C3+A9", "LOGIN=+C3+A9"),
            ("DESTADDR=IPV6:::1", "DESTADDR=IPV6:::1"),
            ("DESTPORT=0", "DESTPORT=0"),
            ("IDENT=4F3+2B", "IDENT=4F3+2B"),
            ("SOURCE=local", "SOURCE=LOCAL"),
            ("SOURCE=Remote", "SOURCE=REMOTE"),
        ] {
            let attribute = one(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(attribute.to_string(), canonical);
            assert_eq!(one(canonical).as_ref(), Ok(&attribute));
            assert_eq!(Attribute::new(attribute.name(), attribute.value().clone()), Ok(attribute));
        }
    }

    #[test]
    fn what_is_wrong_with_an_attribute_is_said() {
        // PROXY-002, PROXY-004
        use AttributeError as E;
        for (text, error) in [
            ("", E::Syntax),
            ("NAME", E::Syntax),
            ("=a", E::Name),
            ("FOO=a", E::Name),
            ("IDENT=1 NAME=a LOGIN=a", E::Name),
            ("NAME=", E::Value),
            ("NAME=a=b", E::Value),
            ("NAME=+0D+0A", E::Value),
            ("NAME=+00", E::Value),
            ("NAME=a+09", E::Value),
            ("NAME=a+22", E::Value),
            ("NAME=a+28", E::Value),
            ("NAME=a+3Cb+3E", E::Value),
            ("NAME=a+40b", E::Value),
            ("NAME=a+5Cb", E::Value),
            ("NAME=a+3Bb", E::Value),
            ("NAME=a+", E::Value),
            ("NAME=a+2", E::Value),
            ("NAME=a+2b", E::Value),
            ("NAME=+C3+A9", E::Value),
            ("NAME=é", E::Value),
            ("HELO=a+20b", E::Value),
            ("HELO=<a>", E::Value),
            ("LOGIN=a+0Ab", E::Value),
            ("LOGIN=+1B[2J", E::Value),
            ("LOGIN=+7F", E::Value),
            ("LOGIN=+C2+85", E::Value),
            ("LOGIN=+FF", E::Value),
            ("ADDR=2001:db8::1", E::Value),
            ("ADDR=IPV6:192.0.2.1", E::Value),
            ("ADDR=192.0.2.256", E::Value),
            ("ADDR=192.0.2", E::Value),
            ("ADDR=mx.a.test", E::Value),
            ("PORT=65536", E::Value),
            ("PORT=+2D1", E::Value),
            ("PORT=-1", E::Value),
            ("PORT=000025", E::Value),
            ("SOURCE=ELSEWHERE", E::Value),
            ("NAME=a name=b", E::Repeated),
        ] {
            let names =
                [&XCLIENT[..], &XFORWARD[..]][usize::from(text.starts_with("SOURCE") || text.starts_with("IDENT"))];
            assert_eq!(parse(text, names), Err(error), "{text}");
        }
        assert_eq!(parse("LOGIN=a", &XFORWARD), Err(E::Name));
        assert_eq!(parse("SOURCE=LOCAL", &XCLIENT), Err(E::Name));
        let text = AttributeValue::Text("[Unavailable]".to_owned());
        assert_eq!(Attribute::new(AttributeName::Name, text), Err(E::Value));
        assert_eq!(Attribute::new(AttributeName::Name, AttributeValue::Port(1)), Err(E::Value));
        assert_eq!(Attribute::new(AttributeName::Addr, AttributeValue::Text("a".to_owned())), Err(E::Value));
    }

    #[test]
    fn a_value_has_255_octets_once_encoded() {
        // PROXY-004
        for (length, fits) in [(254, true), (255, true), (256, false)] {
            let plain = AttributeValue::Text("x".repeat(length));
            assert_eq!(Attribute::new(AttributeName::Login, plain).is_ok(), fits, "{length}");
            let escaped = AttributeValue::Text("+".repeat(length / 3) + &"x".repeat(length % 3));
            assert_eq!(Attribute::new(AttributeName::Login, escaped).is_ok(), fits, "{length}");
        }
        for name in ["NAME", "HELO", "LOGIN", "IDENT"] {
            for (length, expected) in [(254, Ok(())), (255, Ok(())), (256, Err(AttributeError::TooLong))] {
                for value in ["x".repeat(length), "+2B".repeat(length / 3) + &"x".repeat(length % 3)] {
                    assert_eq!(one(&format!("{name}={value}")).map(|_| ()), expected, "{name}, {length}");
                }
            }
        }
        for (length, fits) in [(63, true), (64, true), (65, false)] {
            assert_eq!(one(&("PROTO=".to_owned() + &"x".repeat(length))).is_ok(), fits, "{length}");
        }
    }

    /// Attributes whose values have these lengths.
    fn texts(lengths: &[(AttributeName, usize)]) -> Vec<Attribute> {
        let text = |length| AttributeValue::Text("x".repeat(length));
        lengths.iter().map(|(name, length)| Attribute::new(*name, text(*length)).expect("a good value")).collect()
    }

    fn lengths(commands: &[Command]) -> Vec<usize> {
        commands.iter().map(|command| command.to_string().len() + "\r\n".len()).collect()
    }

    #[test]
    fn no_command_has_more_than_512_octets() {
        // PROXY-006, at one octet less, as many, and one more
        use AttributeName::{Helo, Ident, Login, Name, Proto};
        for (helo, expected) in [(235, vec![511]), (236, vec![512]), (237, vec![270, 252])] {
            let attributes = texts(&[(Name, 255), (Helo, helo)]);
            let commands = Command::xclient(attributes).expect("good attributes");
            assert_eq!(lengths(&commands), expected, "HELO with {helo} octets");
        }
        for (ident, expected) in [(233, vec![511]), (234, vec![512]), (235, vec![271, 252])] {
            let commands = Command::xforward(texts(&[(Name, 255), (Ident, ident)])).expect("good attributes");
            assert_eq!(lengths(&commands), expected, "IDENT with {ident} octets");
        }
        // The longest of all, and what escapes add counts.
        let attributes = texts(&[(Name, 255), (Helo, 255), (Proto, 64), (Login, 255)]);
        assert_eq!(lengths(&Command::xclient(attributes).expect("good attributes")), [270, 341, 271]);
        let login = |length| Attribute::new(Login, AttributeValue::Text("+".repeat(length))).expect("a good value");
        let attributes = [texts(&[(Name, 255)]), vec![login(78)]].concat();
        assert_eq!(lengths(&Command::xclient(attributes).expect("good attributes")), [511]);
        let attributes = [texts(&[(Name, 255)]), vec![login(79)]].concat();
        assert_eq!(lengths(&Command::xclient(attributes).expect("good attributes")), [270, 253]);
    }

    #[test]
    fn commands_carry_every_attribute_once_in_order() {
        // PROXY-006
        use AttributeName::{Addr, Helo, Login, Name, Port};
        let address = Attribute::new(Addr, AttributeValue::Address("2001:db8::1".parse().expect("an address")));
        let port = Attribute::new(Port, AttributeValue::Unavailable);
        let mut attributes = texts(&[(Name, 250), (Helo, 250), (Login, 250)]);
        attributes.insert(1, address.expect("a good value"));
        attributes.push(port.expect("a good value"));
        let commands = Command::xclient(attributes.clone()).expect("good attributes");
        assert_eq!(commands.len(), 3);
        let mut carried = Vec::new();
        for command in &commands {
            assert_eq!(Command::parse(command.to_string().as_bytes()).as_ref(), Ok(command));
            let Command::Xclient(attributes) = command else { panic!("{command}") };
            carried.extend(attributes.iter().cloned());
        }
        assert_eq!(carried, attributes);
    }

    #[test]
    fn attributes_of_the_other_command_are_not_written() {
        // PROXY-002, PROXY-005
        use AttributeName::{Ident, Login, Name};
        assert_eq!(Command::xclient(texts(&[(Name, 1), (Ident, 1)])), Err(AttributeError::Name));
        assert_eq!(Command::xforward(texts(&[(Name, 1), (Login, 1)])), Err(AttributeError::Name));
        assert_eq!(Command::xclient(texts(&[(Name, 255), (Login, 255), (Name, 1)])), Err(AttributeError::Repeated));
        assert_eq!(Command::xforward(Vec::new()), Err(AttributeError::Syntax));
    }
}
