//! Mail servers that keep messages in their queues.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use smtp_proto::client::Outcome;

use super::far_end::{FarEnd, KNOWN, Kept, Refusal, Shown, behind_fields, id_behind, with_crlf};
use crate::support::exim::Exim;
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::peers;
use crate::support::postfix::{Additions, Postfix};

/// Postfix, which holds everything.
struct Holding {
    postfix: Postfix,
    postcat: PathBuf,
}

pub(crate) fn postfix() -> Option<Box<dyn FarEnd>> {
    let postcat = peers::program("postcat", "Debian package postfix")?;
    // Nobody is a client of the house, whose messages would get what is missing in their headers.
    let main = "smtpd_sender_restrictions = check_sender_access static:hold\n\
                local_header_rewrite_clients =\n\
                message_size_limit = 33554432\n";
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let additions = Additions { main: main.to_owned(), ..Additions::default() };
    let postfix = Postfix::start(nowhere, &KNOWN, |_| additions)?;
    Some(Box::new(Holding { postfix, postcat }))
}

impl Holding {
    /// A part of a message, as `postcat` shows it.
    fn show(&self, id: &str, part: &str) -> Vec<u8> {
        let output = Command::new(&self.postcat).arg("-c").arg(self.postfix.config()).args([part, "-q", id]).output();
        let output = output.expect("postcat");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl FarEnd for Holding {
    fn server(&self) -> String {
        self.postfix.address.to_string()
    }

    fn offers(&self) -> &'static [&'static str] {
        &["PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN"]
    }

    fn notifications(&self) -> Option<[Shown; 2]> {
        // Flags: 2 and 8 are SUCCESS and DELAY, 1 is NEVER; 1 and 2 are FULL and HDRS.
        Some([
            &[
                "attribute: envelope_id=a+b=c\n",
                "attribute: ret_flags=2\n",
                "attribute: notify_flags=10\n\
                 named_attribute: dsn_orig_rcpt=rfc822;a+b@example.com\n\
                 original_recipient: one@example.net\n",
            ],
            &[
                "attribute: ret_flags=1\n",
                "attribute: notify_flags=1\n\
                 named_attribute: dsn_orig_rcpt=rfc822;two@example.net\n\
                 original_recipient: two@example.net\n",
            ],
        ])
    }

    fn kept(&mut self, _: &str, outcome: &Outcome) -> Kept {
        let id = id_behind("queued as ", outcome);
        let envelope = String::from_utf8(self.show(&id, "-e")).expect("UTF-8");
        let values = |name| envelope.lines().filter_map(move |line| line.strip_prefix(name)).map(str::to_owned);
        let shown = self.show(&id, "-bh");
        let content = behind_fields(&shown, &["Received"]);
        // Text that has no header gets an empty line in front, behind the field.
        let content = content.strip_prefix(b"\n").filter(|text| !text.is_empty()).unwrap_or(content);
        Kept {
            sender: values("sender: ").next().expect("a sender"),
            recipients: values("recipient: ").collect(),
            content: with_crlf(content),
            envelope,
        }
    }

    fn count(self: Box<Self>) -> usize {
        entries(&self.postfix.queue().join("hold")).len()
    }
}

/// Exim, which delivers nothing by itself.
struct Spooling(Exim);

pub(crate) fn exim() -> Option<Box<dyn FarEnd>> {
    Some(Box::new(Spooling(Exim::start_keeping(&KNOWN)?)))
}

impl FarEnd for Spooling {
    fn server(&self) -> String {
        self.0.address.to_string()
    }

    fn offers(&self) -> &'static [&'static str] {
        &["PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN"]
    }

    /// The header and the body are empty then.
    fn drops_a_lone_line_end(&self) -> bool {
        true
    }

    fn notifications(&self) -> Option<[Shown; 2]> {
        // The number behind the length of the address is of flags: 2 is NEVER, 4 and 16 are SUCCESS and DELAY. 1 and 2
        // are FULL and HDRS.
        Some([
            &["-dsn_envid a+2Bb+3Dc\n", "-dsn_ret 2\n", "\none@example.net rfc822;a+2Bb@example.com 24,20 "],
            &["-dsn_ret 1\n", "\ntwo@example.net  0,2 "],
        ])
    }

    /// One file has the id, who took it, the sender, the time, options, `XX`, recipients and their number, an empty
    /// line, and header fields, each behind its length and a letter. The other has the id and the body.
    fn kept(&mut self, _: &str, outcome: &Outcome) -> Kept {
        let id = id_behind("OK id=", outcome);
        let read = |part| fs::read(self.0.queue().join(format!("{id}-{part}"))).expect("a part of a message");
        let (head, body) = (read("H"), read("D"));
        let end = head.windows(2).position(|two| two == b"\n\n").expect("an empty line");
        let envelope = String::from_utf8(head[..end].to_vec()).expect("UTF-8");
        let (_, recipients) = envelope.split_once("\nXX\n").expect("recipients");

        let (mut fields, mut content) = (&head[end + 2..], Vec::new());
        while let Some(at) = fields.iter().position(|octet| !octet.is_ascii_digit()) {
            let length: usize = std::str::from_utf8(&fields[..at]).expect("digits").parse().expect("a length");
            let (field, further) = fields[at + 2..].split_at(length);
            // Its own Received field has a letter, and so has each that it removed.
            if !matches!(fields[at], b'P' | b'*') {
                content.extend_from_slice(field);
            }
            fields = further.strip_prefix(b"\n").unwrap_or(further);
        }
        let begin = format!("{id}-D\n");
        let body = body.strip_prefix(begin.as_bytes()).expect("the id");
        if !content.is_empty() {
            content.push(b'\n');
        }
        content.extend_from_slice(body);
        Kept {
            sender: envelope.lines().nth(2).unwrap_or_default().trim_matches(['<', '>']).to_owned(),
            recipients: recipients
                .lines()
                .skip(1)
                .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
                .collect(),
            content: with_crlf(&content),
            envelope,
        }
    }

    fn count(self: Box<Self>) -> usize {
        let of_head = |path: &&PathBuf| path.to_string_lossy().ends_with("-H");
        entries(&self.0.queue()).iter().filter(of_head).count()
    }
}

/// OpenSMTPD, which delivers nothing.
struct Paused(OpenSmtpd);

pub(crate) fn opensmtpd() -> Option<Box<dyn FarEnd>> {
    // Its configuration takes no UTF-8.
    let known: Vec<_> = KNOWN.into_iter().filter(|address| address.is_ascii()).collect();
    Some(Box::new(Paused(OpenSmtpd::start_keeping(&known)?)))
}

impl FarEnd for Paused {
    fn server(&self) -> String {
        self.0.address.to_string()
    }

    fn offers(&self) -> &'static [&'static str] {
        &["8BITMIME", "DSN"]
    }

    fn refuses_what_has_no_header(&self) -> Option<Refusal> {
        Some((550, "5.7.1"))
    }

    fn notifications(&self) -> Option<[Shown; 2]> {
        // Flags: 1, 4 and 8 are SUCCESS, DELAY and NEVER. It keeps the encoding, and passes on to the next recipients what was said
        // of the first.
        Some([
            &["dsn-envid: a+2Bb+3Dc\n", "dsn-ret: HDRS\n", "dsn-notify: 5\n", "dsn-orcpt: a+2Bb@example.com\n"],
            &["rcpt: two@example.net\n", "dsn-notify: 8\ndsn-ret: FULL\n"],
        ])
    }

    /// A message has a folder, with a file for each recipient and one for the content.
    fn kept(&mut self, _: &str, outcome: &Outcome) -> Kept {
        let reply = outcome.reply.as_ref().expect("a reply").text();
        let id = reply.split(' ').next().unwrap_or_default();
        let folder = self.0.queue().join(&id[..2]).join(id);
        let (content, envelopes): (Vec<_>, Vec<_>) =
            entries(&folder).into_iter().partition(|path| path.ends_with("message"));
        let content = fs::read(&content[0]).expect("a message");
        let read = |path| fs::read_to_string(path).expect("an envelope");
        let envelope: String = envelopes.iter().map(read).collect();
        let values = |name| envelope.lines().filter_map(move |line| line.strip_prefix(name)).map(str::to_owned);
        Kept {
            sender: values("sender: ").next().expect("a sender"),
            recipients: values("rcpt: ").collect(),
            content: with_crlf(&without_its_fields(behind_fields(&content, &["Received"]))),
            envelope,
        }
    }

    fn count(self: Box<Self>) -> usize {
        entries(&self.0.queue()).iter().map(|folder| entries(folder).len()).sum()
    }
}

/// Without the Date and the Message-ID with which OpenSMTPD ends a header that has none. Those of the tests' own messages
/// stand before other fields.
fn without_its_fields(content: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> = content.split_inclusive(|&octet| octet == b'\n').collect();
    let fields = lines.iter().take_while(|line| **line != b"\n").count();
    let begins = |back: usize, name: &[u8]| fields >= back && lines[fields - back].starts_with(name);
    if begins(2, b"Date: ") && begins(1, b"Message-ID: ") {
        lines.drain(fields - 2..fields);
    }
    lines.concat()
}

/// What is in a folder; nothing if it is not there.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
}
