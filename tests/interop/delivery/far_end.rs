//! Servers that keep what they are sent where the tests can look.

use smtp_proto::client::Outcome;

/// The recipients that far ends know; those without SMTPUTF8 need not know the last one.
pub(crate) const KNOWN: [&str; 4] = ["one@example.net", "two@example.net", FULL, "drei-grüße@example.net"];

/// The recipient for whom some refuse each message when they have it, while the others get it.
pub(crate) const FULL: &str = "full@example.net";

/// The recipient that far ends refuse if they refuse any.
pub(crate) const UNKNOWN: &str = "unknown@example.net";

/// A running server.
pub(crate) trait FarEnd {
    /// Where it listens: `host:port`, or `unix:path`.
    fn server(&self) -> String;

    /// Whether it speaks LMTP.
    fn lmtp(&self) -> bool {
        false
    }

    /// Extensions that it must offer, so that no test passes for want of one.
    fn offers(&self) -> &'static [&'static str];

    /// Whether it refuses [`UNKNOWN`], and nobody else.
    fn refuses_recipients(&self) -> bool {
        true
    }

    /// The code and enhanced code with which it refuses a message for [`FULL`], if it does.
    fn refuses_for_full(&self) -> Option<Refusal> {
        None
    }

    /// The code and enhanced code with which it refuses a content that is no message by RFC 5322, if it does.
    fn refuses_what_has_no_header(&self) -> Option<Refusal> {
        None
    }

    /// Whether a content that is nothing but a line end becomes one that is nothing at all.
    fn drops_a_lone_line_end(&self) -> bool {
        false
    }

    /// What [`Kept::envelope`] has of the wishes for notifications in the test of these, for each of its two messages;
    /// `None` without DSN.
    fn notifications(&self) -> Option<[Shown; 2]> {
        None
    }

    /// What it has of a message. Each sender is of one message only, and asked for once, in the order in which they
    /// were sent.
    fn kept(&mut self, sender: &str, outcome: &Outcome) -> Kept;

    /// How many messages it has, when no more is to come.
    fn count(self: Box<Self>) -> usize;
}

/// The code and the enhanced code of a reply; that is empty where the server does not announce such codes.
pub(crate) type Refusal = (u16, &'static str);

/// Parts of a text.
pub(crate) type Shown = &'static [&'static str];

/// What a far end has of a message.
pub(crate) struct Kept {
    pub(crate) sender: String,
    /// In any order.
    pub(crate) recipients: Vec<String>,
    /// Without the fields that the far end added, with CRLF line ends.
    pub(crate) content: Vec<u8>,
    /// All that it knows besides, as it shows it.
    pub(crate) envelope: String,
}

/// The content behind fields with these names, which it must begin with.
pub(crate) fn behind_fields<'a>(mut content: &'a [u8], names: &[&str]) -> &'a [u8] {
    for name in names {
        let (begin, shown) = (format!("{name}: "), String::from_utf8_lossy(&content[..content.len().min(200)]));
        assert!(content.starts_with(begin.as_bytes()), "no field {name} first: {shown}");
        let mut lines = content.split_inclusive(|&octet| octet == b'\n');
        let first = lines.next().unwrap_or_default().len();
        let further = lines.take_while(|line| line.starts_with(b"\t") || line.starts_with(b" "));
        content = &content[first + further.map(<[u8]>::len).sum::<usize>()..];
    }
    content
}

/// What was kept with LF line ends, as it was.
pub(crate) fn with_crlf(kept: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(kept.len());
    for line in kept.split_inclusive(|&octet| octet == b'\n') {
        let text = line.strip_suffix(b"\n");
        content.extend_from_slice(text.unwrap_or(line));
        content.extend_from_slice(text.map_or(&[], |_| b"\r\n"));
    }
    content
}

/// The part of the reply to a message that stands behind this text, up to a blank: its id.
pub(crate) fn id_behind(text: &str, outcome: &Outcome) -> String {
    let reply = outcome.reply.as_ref().unwrap_or_else(|| panic!("no reply in {outcome:?}")).text();
    let id = reply.split_once(text).and_then(|(_, rest)| rest.split([' ', '\n']).next());
    id.unwrap_or_else(|| panic!("no id in {reply:?}")).to_owned()
}
