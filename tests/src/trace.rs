//! What a server that delivers a message puts in front of it: Return-Path and Received (RFC 5321 section 4.4).

use std::net::IpAddr;
use std::time::SystemTime;

use smtp_proto::server::Session;
use smtp_proto::wire::{Attribute, AttributeName, AttributeValue, Domain, ForwardPath, ProxyHeader, ReversePath};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The fields, each with its CRLF. The peer is the other end of the connection; XCLIENT and a PROXY header know
/// better.
pub fn fields(
    session: &Session,
    peer: Option<IpAddr>,
    hostname: &str,
    reverse_path: &ReversePath,
    recipients: &[ForwardPath],
    now: SystemTime,
) -> String {
    let asserted = session.asserted();
    let address = asserted.client().iter().find(|attribute| attribute.name() == AttributeName::Addr);
    let client = match (address.map(Attribute::value), asserted.proxy()) {
        (Some(AttributeValue::Address(address)), _) => Some(*address),
        // Somebody else, of whom nothing is known.
        (Some(_), _) => None,
        (None, Some(ProxyHeader::Proxied { source, .. })) => Some(source.ip()),
        _ => peer,
    };
    let literal = client.map(|client| match client.to_canonical() {
        IpAddr::V4(address) => Domain::Ipv4(address),
        IpAddr::V6(address) => Domain::Ipv6(address),
    });
    // What is no domain could have any meaning in a field.
    let name = session.hello().and_then(|hello| hello.name.domain());
    let from = match (name, literal) {
        (Some(name), Some(literal)) => format!("{name} ({literal})"),
        (name, literal) => name.or(literal).map_or_else(|| "unknown".to_owned(), |domain| domain.to_string()),
    };
    // With several, each would learn of the others (DATA-017).
    let recipient = match recipients {
        [recipient] => format!("\r\n\tfor <{recipient}>"),
        _ => String::new(),
    };
    let with = session.protocol();
    // Before the year 0 and behind 9999 there is no date to write.
    let date = OffsetDateTime::from(now).format(&Rfc2822).unwrap_or_default();
    let received = format!("from {from}\r\n\tby {hostname} with {with}{recipient};\r\n\t{date}");
    format!("Return-Path: <{reverse_path}>\r\nReceived: {received}\r\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn fields_for(peer: &str, reverse_path: &str, recipients: &[&str]) -> String {
        let recipients: Vec<_> = recipients.iter().map(|recipient| recipient.parse().unwrap()).collect();
        let now = UNIX_EPOCH + Duration::from_secs(1_177_977_601);
        let reverse_path = reverse_path.parse().unwrap();
        fields(&Session::default(), peer.parse().ok(), "mail.example", &reverse_path, &recipients, now)
    }

    #[test]
    fn one_recipient_is_named_and_several_are_not() {
        // DATA-016, DATA-017
        assert_eq!(
            fields_for("192.0.2.1", "a@a.test", &["b@b.test"]),
            "Return-Path: <a@a.test>\r\n\
             Received: from [192.0.2.1]\r\n\
             \tby mail.example with ESMTP\r\n\
             \tfor <b@b.test>;\r\n\
             \tTue, 01 May 2007 00:00:01 +0000\r\n"
        );
        assert_eq!(
            fields_for("::ffff:192.0.2.1", "", &["b@b.test", "c@b.test"]),
            "Return-Path: <>\r\n\
             Received: from [192.0.2.1]\r\n\
             \tby mail.example with ESMTP;\r\n\
             \tTue, 01 May 2007 00:00:01 +0000\r\n"
        );
        assert!(fields_for("2001:db8::1", "", &[]).contains("Received: from [IPv6:2001:db8::1]\r\n"));
        assert!(fields_for("", "", &[]).contains("Received: from unknown\r\n"));
    }
}
