//! What a client may write and when, from the RFCs and with nothing of the crate: both directions of a session are read,
//! and whatever the client must not do is a panic (P7).

use std::collections::VecDeque;

use smtp_tests::link::Moved;

/// What may be on its way without a reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) octets: usize,
    pub(crate) messages: usize,
    pub(crate) chunks: usize,
}

/// What has been written and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello,
    Mail,
    Rcpt,
    Data,
    Chunk,
    /// The last chunk, or the final dot.
    End,
    Reset,
    Quit,
    Other,
}

#[derive(Debug)]
struct Sent {
    kind: Kind,
    octets: usize,
    transaction: usize,
    /// Replies in LMTP that have come already.
    answered: usize,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Command,
    Content,
    Chunk { left: usize, last: bool },
}

/// The transaction that is being written.
#[derive(Debug, Default)]
struct Open {
    sender: String,
    recipients: usize,
    size: Option<usize>,
    utf8: bool,
    eight_bit: bool,
    binary: bool,
    chunks: bool,
    /// A chunk of it was refused when the client had nothing left to write.
    refused: bool,
    content: Vec<u8>,
}

/// Reads a session.
#[derive(Debug)]
pub(crate) struct Reader {
    lmtp: bool,
    bounds: Bounds,
    state: State,
    /// Written and not understood yet.
    rest: Vec<u8>,
    /// Given and not understood yet.
    unended: Vec<u8>,
    greeted: bool,
    offered: Vec<String>,
    sent: VecDeque<Sent>,
    open: Option<Open>,
    transactions: usize,
    /// Accepted recipients of each transaction.
    accepted: Vec<usize>,
    /// Messages that were written to their end: sender and content.
    pub(crate) messages: Vec<(String, Vec<u8>)>,
    /// How many replies at most were awaited.
    pub(crate) most_awaited: usize,
}

impl Reader {
    pub(crate) fn new(lmtp: bool, bounds: Bounds) -> Self {
        Self {
            lmtp,
            bounds,
            state: State::Command,
            rest: Vec::new(),
            unended: Vec::new(),
            greeted: false,
            offered: Vec::new(),
            sent: VecDeque::new(),
            open: None,
            transactions: 0,
            accepted: Vec::new(),
            messages: Vec::new(),
            most_awaited: 0,
        }
    }

    /// Reads all that moved.
    pub(crate) fn read(&mut self, moved: &[Moved]) {
        for piece in moved {
            match piece {
                Moved::Written(octets) => self.written(octets),
                Moved::Given { octets, silent } => self.given(octets, *silent),
            }
        }
    }

    fn offers(&self, keyword: &str) -> bool {
        self.offered.iter().any(|line| line.split(' ').next() == Some(keyword))
    }

    /// RFC 5321 section 4.3.1, RFC 2920 section 3.1.
    fn may_speak(&self) {
        assert!(self.greeted, "before the greeting");
        assert!(self.sent.is_empty() || self.offers("PIPELINING"), "not in a group: {:?}", self.sent);
        let last = self.sent.back().map(|sent| sent.kind);
        assert!(
            !matches!(last, Some(Kind::Hello | Kind::Data | Kind::Quit | Kind::Other)),
            "behind the last command of a group: {last:?}"
        );
    }

    fn written(&mut self, octets: &[u8]) {
        for octet in octets {
            match self.state {
                State::Command => {
                    if self.rest.is_empty() {
                        self.may_speak();
                    }
                    self.rest.push(*octet);
                    if *octet == b'\n' {
                        let line = std::mem::take(&mut self.rest);
                        let line = line.strip_suffix(b"\r\n").expect("a line end is CRLF");
                        self.command(std::str::from_utf8(line).expect("commands are UTF-8"));
                    }
                }
                State::Chunk { left, last } => {
                    self.open.as_mut().expect("a transaction").content.push(*octet);
                    self.state = State::Chunk { left: left - 1, last };
                    self.chunk_end();
                }
                State::Content => {
                    self.rest.push(*octet);
                    if self.rest == b".\r\n" || self.rest.ends_with(b"\r\n.\r\n") {
                        let raw = std::mem::take(&mut self.rest);
                        self.open.as_mut().expect("a transaction").content = unstuffed(&raw);
                        self.state = State::Command;
                        self.send(Kind::End, 0);
                        self.content_end();
                    }
                }
            }
        }
    }

    fn send(&mut self, kind: Kind, octets: usize) {
        let before: usize = self.sent.iter().map(|sent| sent.octets).sum();
        // RSET stands behind the last chunk whatever the room.
        let behind = kind == Kind::Reset && self.sent.back().is_some_and(|sent| sent.kind == Kind::End);
        assert!(behind || octets == 0 || before < self.bounds.octets, "{before} octets are on their way");
        self.sent.push_back(Sent { kind, octets, transaction: self.transactions, answered: 0 });
        self.most_awaited = self.most_awaited.max(self.sent.len());
        let mut open: Vec<usize> =
            self.sent.iter().filter(|sent| of_message(sent)).map(|sent| sent.transaction).collect();
        open.dedup();
        assert!(open.len() <= self.bounds.messages, "{} messages are on their way", open.len());
        let now = self.transactions;
        let chunks = self.sent.iter().filter(|sent| sent.transaction == now && sent.kind == Kind::Chunk).count();
        assert!(chunks <= self.bounds.chunks, "{chunks} chunks are on their way");
    }

    fn command(&mut self, line: &str) {
        let octets = line.len() + 2;
        assert!(octets <= 2048, "{octets} octets");
        let utf8 =
            line.ends_with(" SMTPUTF8") || line.contains(" SMTPUTF8 ") || self.open.as_ref().is_some_and(|o| o.utf8);
        assert!(line.is_ascii() || utf8, "{line:?} is not ASCII");
        assert!(!line.chars().any(char::is_control) && !line.ends_with(' '), "{line:?}");
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let kind = match verb {
            "EHLO" | "LHLO" => {
                assert!((verb == "LHLO") == self.lmtp && domain(argument), "{line}");
                Kind::Hello
            }
            "MAIL" => {
                self.mail(argument);
                Kind::Mail
            }
            "RCPT" => {
                self.rcpt(argument);
                Kind::Rcpt
            }
            "DATA" => {
                let open = self.open.as_ref().expect("DATA in a transaction");
                assert!(argument.is_empty() && open.recipients > 0 && !open.chunks && !open.binary, "{line}");
                Kind::Data
            }
            "BDAT" => return self.bdat(argument, octets),
            "RSET" => {
                assert!(argument.is_empty());
                self.open = None;
                Kind::Reset
            }
            "QUIT" => {
                assert!(argument.is_empty() && self.open.is_none(), "QUIT in a transaction");
                Kind::Quit
            }
            "NOOP" | "VRFY" => {
                assert!(self.open.is_none(), "{verb} in a transaction");
                Kind::Other
            }
            _ => panic!("{line:?} is no command"),
        };
        self.send(kind, octets);
    }

    fn mail(&mut self, argument: &str) {
        assert!(self.open.is_none(), "MAIL in a transaction");
        let path = argument.strip_prefix("FROM:").expect("FROM:");
        let (sender, parameters) = if let Some(rest) = path.strip_prefix("<>") { ("", rest) } else { mailbox(path) };
        let mut open = Open { sender: sender.to_owned(), ..Open::default() };
        for (keyword, value) in split(parameters) {
            let needs = match keyword {
                "BODY" if value == "BINARYMIME" => "BINARYMIME",
                "BODY" => "8BITMIME",
                "RET" | "ENVID" => "DSN",
                "BY" => "DELIVERBY",
                keyword => keyword,
            };
            assert!(self.offers(needs), "{keyword} is not offered");
            let valid = match keyword {
                "SIZE" => value.bytes().all(|octet| octet.is_ascii_digit()) && (1..=20).contains(&value.len()),
                "BODY" => matches!(value, "8BITMIME" | "BINARYMIME"),
                "SMTPUTF8" => value.is_empty(),
                "RET" => matches!(value, "FULL" | "HDRS"),
                "ENVID" | "AUTH" => !value.is_empty() && xtext(value),
                "MT-PRIORITY" => value.parse::<i8>().is_ok_and(|priority| (-9..=9).contains(&priority)),
                "BY" => value.split_once(';').is_some_and(|(time, mode)| time.parse::<i32>().is_ok() && mode == "N"),
                _ => false,
            };
            assert!(valid, "{keyword}={value}");
            match keyword {
                "SIZE" => open.size = value.parse().ok(),
                "SMTPUTF8" => open.utf8 = true,
                _ => {}
            }
            open.binary |= value == "BINARYMIME";
            open.eight_bit |= keyword == "BODY";
        }
        self.transactions += 1;
        self.accepted.push(0);
        self.open = Some(open);
    }

    fn rcpt(&mut self, argument: &str) {
        let path = argument.strip_prefix("TO:").expect("TO:");
        let parameters = match path.get(..12) {
            Some(postmaster) if postmaster.eq_ignore_ascii_case("<postmaster>") => &path[12..],
            _ => mailbox(path).1,
        };
        for (keyword, value) in split(parameters) {
            assert!(self.offers("DSN"), "{keyword} is not offered");
            let valid = match keyword {
                "NOTIFY" => value.split(',').all(|word| matches!(word, "NEVER" | "SUCCESS" | "FAILURE" | "DELAY")),
                "ORCPT" => value.split_once(';').is_some_and(|(kind, text)| kind == "rfc822" && xtext(text)),
                _ => false,
            };
            assert!(valid, "{keyword}={value}");
        }
        let open = self.open.as_mut().expect("RCPT in a transaction");
        assert!(!open.chunks, "RCPT between chunks");
        open.recipients += 1;
    }

    fn bdat(&mut self, argument: &str, octets: usize) {
        assert!(self.offers("CHUNKING"), "BDAT is not offered");
        let (size, last) = argument.strip_suffix(" LAST").map_or((argument, false), |size| (size, true));
        assert!(size.bytes().all(|octet| octet.is_ascii_digit()) && !size.is_empty(), "BDAT {argument}");
        let left: usize = size.parse().expect("a size");
        assert!(left <= 1024 * 1024 + 2, "a chunk of {left}");
        let open = self.open.as_mut().expect("BDAT in a transaction");
        // BDAT-018
        assert!(open.recipients > 0 && !open.refused, "BDAT for nobody, or behind a refusal");
        open.chunks = true;
        self.state = State::Chunk { left, last };
        self.send(if last { Kind::End } else { Kind::Chunk }, octets);
        self.chunk_end();
    }

    fn chunk_end(&mut self) {
        if let State::Chunk { left: 0, last } = self.state {
            self.state = State::Command;
            if last {
                self.content_end();
            }
        }
    }

    fn content_end(&mut self) {
        let open = self.open.take().expect("a transaction");
        if !open.content.is_ascii() {
            assert!(open.eight_bit, "eight bits are not announced");
        }
        if !open.binary {
            assert!(open.content.is_empty() || open.content.ends_with(b"\r\n"), "the last line has no end");
            let text = String::from_utf8_lossy(&open.content).replace("\r\n", "");
            assert!(!text.contains(['\r', '\n']), "a stray CR or LF");
        }
        // SIZE-008
        assert!(open.size.is_none_or(|size| size == open.content.len()), "SIZE={:?}", open.size);
        self.messages.push((open.sender, open.content));
    }

    fn given(&mut self, octets: &[u8], silent: bool) {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            self.unended.extend_from_slice(line);
            let start = self.unended[..self.unended.len().saturating_sub(1)].iter().rposition(|octet| *octet == b'\n');
            let last = &self.unended[start.map_or(0, |at| at + 1)..];
            if last.ends_with(b"\n") && last.get(3) != Some(&b'-') {
                let reply = std::mem::take(&mut self.unended);
                self.reply(std::str::from_utf8(&reply).expect("replies are text"), silent);
            }
        }
    }

    fn reply(&mut self, reply: &str, silent: bool) {
        if !std::mem::replace(&mut self.greeted, true) {
            return;
        }
        let positive = reply.starts_with('2');
        let Some(sent) = self.sent.front_mut() else { return };
        let number = sent.transaction;
        match sent.kind {
            Kind::Hello => {
                let lines = reply.lines().skip(1).map(|line| line[4..].to_owned());
                self.offered = lines.collect();
            }
            Kind::Rcpt if positive => self.accepted[number - 1] += 1,
            Kind::Data if reply.starts_with("354") => {
                self.state = State::Content;
            }
            Kind::Chunk if !positive && silent && number == self.transactions => {
                self.open.iter_mut().for_each(|open| open.refused = true);
            }
            Kind::End if self.lmtp => {
                sent.answered += 1;
                if sent.answered < self.accepted[number - 1] {
                    return;
                }
            }
            _ => {}
        }
        self.sent.pop_front();
    }
}

fn of_message(sent: &Sent) -> bool {
    matches!(sent.kind, Kind::Mail | Kind::Rcpt | Kind::Data | Kind::Chunk | Kind::End)
}

/// The content behind a 354 reply (RFC 5321 section 4.5.2). However a reader takes line ends, it ends once (P9).
fn unstuffed(raw: &[u8]) -> Vec<u8> {
    let lines = raw.split(|octet| matches!(octet, b'\r' | b'\n'));
    assert_eq!(lines.filter(|line| *line == b".").count(), 1, "{}", raw.escape_ascii());
    let mut content = Vec::new();
    for line in raw[..raw.len() - 3].split_inclusive(|octet| *octet == b'\n') {
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    content
}

/// `<Mailbox>`, and what stands behind it.
fn mailbox(path: &str) -> (&str, &str) {
    let inside = path.strip_prefix('<').unwrap_or_else(|| panic!("{path}"));
    let local = if let Some(quoted) = inside.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        end.expect("an end of the quoted string") + 2
    } else {
        let atom = |character: char| {
            !character.is_ascii() || character.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(character)
        };
        let local = inside.find(|character| !atom(character)).expect("an end of the local part");
        assert!(local > 0 && !inside[..local].starts_with('.') && !inside[..local].ends_with('.'), "{path}");
        local
    };
    let behind = inside[local..].strip_prefix('@').unwrap_or_else(|| panic!("no domain in {path}"));
    let (name, parameters) = behind.split_once('>').expect("an end of the path");
    assert!(domain(name) || name.starts_with('[') && name.ends_with(']'), "{name}");
    (&inside[..local + 1 + name.len()], parameters)
}

fn domain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |character: char| !character.is_ascii() || character.is_ascii_alphanumeric() || character == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(label)
}

fn xtext(value: &str) -> bool {
    let mut octets = value.bytes();
    let upper = |octet: Option<u8>| octet.is_some_and(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'));
    while let Some(octet) = octets.next() {
        let fits = match octet {
            b'+' => upper(octets.next()) && upper(octets.next()),
            octet => matches!(octet, b'!'..=b'~' if octet != b'='),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// ` keyword=value keyword`, each keyword once.
fn split(parameters: &str) -> Vec<(&str, &str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let words = if parameters.is_empty() { "" } else { parameters.strip_prefix(' ').expect("a space") };
    for word in words.split(' ').filter(|_| !parameters.is_empty()) {
        let (keyword, value) = word.split_once('=').unwrap_or((word, ""));
        assert!(keyword.starts_with(|first: char| first.is_ascii_alphanumeric()), "{parameters:?}");
        assert!(keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-'), "{parameters:?}");
        assert!(!value.contains('=') && !found.iter().any(|(other, _)| *other == keyword), "{parameters:?}");
        found.push((keyword, value));
    }
    found
}
