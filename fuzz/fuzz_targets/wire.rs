//! What parses can be written, and reads back the same: commands, replies, addresses, names, capabilities, PROXY headers.
//! Nothing else that is written for the wire has a control character in it, and a reply or PROXY header is the same in
//! every segmentation. The one thing that is not written is the initial response of AUTH.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use smtp_proto::PeerFault;
use smtp_proto::wire::{
    Capabilities, Command, Domain, Escaped, ForwardPath, HelloName, MAX_REPLY_LINE, Mailbox, ProxyError, ProxyHeader,
    Reply, ReplyForm, ReplyLimits, ReplyReader, ReversePath,
};

/// What parsed is written; the text parses to the same value and is its own canonical form.
fn round_trip<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq,
{
    let value: T = text.parse().ok()?;
    let written = value.to_string();
    assert!(!written.contains(char::is_control), "{written:?}");
    let again: T = written.parse().unwrap_or_else(|error| panic!("{text:?} became {written:?}: {error:?}"));
    assert_eq!(again, value, "{text:?} became {written:?}");
    assert_eq!(again.to_string(), written);
    Some(value)
}

fn command(line: &[u8]) {
    let Ok(command) = Command::parse(line) else {
        return;
    };
    let written = command.to_string();
    assert!(!written.contains(char::is_control), "{written:?}");
    let again = Command::parse(written.as_bytes());
    if let Command::Auth { mechanism, initial_response: Some(_) } = &command {
        // What is secret is not written.
        assert_eq!(written, format!("AUTH {mechanism} ***"));
        assert!(matches!(again, Ok(Command::Auth { initial_response: Some(_), .. })), "{written:?}");
        return;
    }
    assert_eq!(again.as_ref(), Ok(&command), "{written:?}");
}

fn addresses(text: &str) {
    if let Some(mailbox) = round_trip::<Mailbox>(text) {
        let made = Mailbox::new(mailbox.local_part(), mailbox.domain().clone());
        assert_eq!(made.as_ref(), Ok(&mailbox));
        assert_eq!(text.is_ascii(), mailbox.is_ascii(), "{text:?}");
        let line = format!("RCPT TO:<{mailbox}>");
        let expected = Command::Rcpt { forward_path: mailbox.into(), parameters: Default::default() };
        assert_eq!(Command::parse(line.as_bytes()), Ok(expected), "{line:?}");
    }
    round_trip::<ReversePath>(text);
    round_trip::<ForwardPath>(text);
    round_trip::<Domain>(text);
    if let Some(name) = round_trip::<HelloName>(text) {
        assert!(name.domain().is_some(), "{name:?}");
        let line = format!("EHLO {name}");
        assert_eq!(Command::parse(line.as_bytes()), Ok(Command::Ehlo(name)));
    }
}

/// Reads one reply in pieces of this length. Every line of it is a line of the text, and a code of another class is
/// no code.
fn read(octets: &[u8], length: usize) -> Result<Option<Reply>, PeerFault> {
    let (mut reader, mut rx) = (ReplyReader::new(), BytesMut::new());
    let mut taken = 0;
    for piece in octets.chunks(length.max(1)) {
        rx.extend_from_slice(piece);
        taken += piece.len();
        if let Some(reply) = reader.read(&mut rx, &ReplyLimits::default())? {
            let lines = octets[..taken - rx.len()].split(|octet| *octet == b'\n').count() - 1;
            assert_eq!(reply.text().split('\n').count(), lines, "{reply:?}");
            let class = reply.code().value() / 100;
            assert!(reply.enhanced().is_none_or(|enhanced| u16::from(enhanced.class()) == class), "{reply:?}");
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

/// Whether the text can be written as it is: no line is cut, nothing becomes `?`, nothing is taken for a code.
fn is_plain(reply: &Reply) -> bool {
    let plain = |line: &str| {
        let room = MAX_REPLY_LINE - "250 5.999.999 \r\n".len();
        let word = line.split(' ').next().unwrap_or_default();
        let code = word.split('.').filter_map(|number| number.parse().ok()).collect::<Vec<u16>>();
        let like_a_code = matches!(code[..], [2 | 4 | 5, _, _]);
        line.len() <= room && !line.contains(|c: char| c.is_control() && c != '\t') && !like_a_code
    };
    reply.text().split('\n').all(plain)
}

fn reply(octets: &[u8]) {
    let whole = read(octets, octets.len());
    assert_eq!(read(octets, 1), whole, "one octet at a time differs");
    let Ok(Some(reply)) = whole else {
        return;
    };
    assert!(!reply.to_string().contains(char::is_control), "{reply}");
    let mut written = BytesMut::new();
    reply.write(ReplyForm { enhanced: reply.enhanced().is_some(), utf8: true }, &mut written);
    if is_plain(&reply) {
        assert_eq!(read(&written, written.len()), Ok(Some(reply.clone())), "{}", written.escape_ascii());
    }
    let offered = Capabilities::parse(reply.text());
    assert_eq!(Capabilities::parse(&format!("name\n{offered}")), offered);
}

/// Reads a header in pieces of this length. What stands behind it stays where it is.
fn read_header(octets: &[u8], length: usize) -> Result<Option<ProxyHeader>, ProxyError> {
    let mut rx = BytesMut::new();
    let mut received = 0;
    for piece in octets.chunks(length.max(1)) {
        rx.extend_from_slice(piece);
        received += piece.len();
        let waiting = rx.len();
        match ProxyHeader::read(&mut rx)? {
            Some(header) => {
                assert!(octets[..received].ends_with(&rx) && rx.len() < waiting);
                return Ok(Some(header));
            }
            None => assert_eq!(rx.len(), waiting, "half a header is taken"),
        }
    }
    Ok(None)
}

fn header(octets: &[u8]) {
    let whole = read_header(octets, octets.len());
    assert_eq!(read_header(octets, 1), whole, "one octet at a time differs");
    let Ok(Some(header)) = whole else {
        return;
    };
    let mut written = BytesMut::new();
    header.write_v2(&mut written);
    assert_eq!(read_header(&written, written.len()), Ok(Some(header)), "{}", written.escape_ascii());
    written.clear();
    header.write_v1(&mut written);
    let expected = if header == ProxyHeader::Local { ProxyHeader::Unknown } else { header };
    assert_eq!(read_header(&written, written.len()), Ok(Some(expected)), "{}", written.escape_ascii());
}

fuzz_target!(|data: &[u8]| {
    command(data);
    reply(data);
    header(data);
    assert!(!Escaped(data).to_string().contains(char::is_control));
    if let Ok(text) = str::from_utf8(data) {
        addresses(text);
        if let Ok(reply) = text.parse::<Reply>() {
            let mut written = BytesMut::new();
            reply.write(ReplyForm::default(), &mut written);
            let lines = written.iter().filter(|octet| **octet == b'\n').count();
            if lines <= ReplyLimits::default().lines {
                let again = read(&written, 1).ok().flatten().map(|again| again.code());
                assert_eq!(again, Some(reply.code()), "{}", written.escape_ascii());
            }
        }
    }
});
