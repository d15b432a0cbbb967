//! The messages that every peer sends or gets, generated and always the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub(crate) const SENDER: &str = "sender@example.org";
pub(crate) const RECIPIENTS: [&str; 3] = ["one@example.net", "two@example.net", "three@example.net"];

/// A message as it is after dot-unstuffing: CRLF line ends, the last line
/// ended too.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    pub(crate) content: Vec<u8>,
    pub(crate) sha256: String,
}

/// The messages, each meant for all of [`RECIPIENTS`].
pub(crate) fn all() -> &'static [Message] {
    static ALL: OnceLock<Vec<Message>> = OnceLock::new();
    ALL.get_or_init(|| {
        vec![
            message("plain", b"Three recipients.\r\n".to_vec()),
            message("dots", leading_dots()),
            message("utf-8", utf8()),
            message("ten-mebibytes", lines(10 << 20)),
            message("empty", Vec::new()),
        ]
    })
}

/// 20 MiB, more than `send` takes into memory: it reads this while it sends.
pub(crate) fn streamed() -> &'static Message {
    static STREAMED: OnceLock<Message> = OnceLock::new();
    STREAMED.get_or_init(|| message("streamed", lines(10 << 20).repeat(2)))
}

fn message(name: &'static str, body: Vec<u8>) -> Message {
    let content = [header(name), body].concat();
    Message { name, sha256: sha256(&content), content }
}

/// The header of a message of this name, with the empty line behind it. Every field that a client or a server might add
/// for want of it is there.
pub(crate) fn header(name: &str) -> Vec<u8> {
    format!(
        "From: Sender <{SENDER}>\r\n\
         To: {}\r\n\
         Subject: {name}\r\n\
         Date: Mon, 05 Jan 2026 10:00:00 +0000\r\n\
         Message-ID: <{name}@example.org>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n",
        RECIPIENTS.join(", ")
    )
    .into_bytes()
}

/// Dots alone and before text, on the first line and on the last.
pub(crate) fn leading_dots() -> Vec<u8> {
    b".\r\n..\r\n...\r\n.text\r\n..text\r\n. \r\n.\t\r\n\r\n.\r\n\r\ntext.\r\n.\r\n".to_vec()
}

pub(crate) fn utf8() -> Vec<u8> {
    "Grüße, naïve café, Ελληνικά, русский, 日本語, 🙂\r\n\
     \u{2028}\u{85}\u{7ff}\u{ffff}\u{10ffff}\r\n"
        .as_bytes()
        .to_vec()
}

/// Exactly so many octets in lines of 1 to 997 octets without their CRLF. One
/// octet in 32 is a dot, so that many of the 2000 lines in a mebibyte begin
/// with one, and at every distance from the edges of whatever buffers there are.
pub(crate) fn lines(size: usize) -> Vec<u8> {
    // No backslash and no percent sign: swaks gives them a meaning.
    const ALPHABET: &[u8; 32] = b".abcdefghijklmnopqrstuvwxyz01234";
    let mut body = Vec::with_capacity(size);
    let mut state: u32 = 0x2545_f491;
    let mut random = move || {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        usize::try_from(state >> 8).unwrap_or_default()
    };
    while body.len() < size {
        let left = size - body.len();
        let mut length = 1 + random() % 997;
        // The last line takes what is left; a line needs three octets.
        if left < length + 2 + 3 {
            length = left - 2;
        }
        for _ in 0..length {
            body.push(ALPHABET[random() % ALPHABET.len()]);
        }
        body.extend_from_slice(b"\r\n");
    }
    body
}

impl Message {
    /// Writes the content, followed by `end`, to a file in `folder`.
    pub(crate) fn write_to(&self, folder: &Path, end: &[u8]) -> PathBuf {
        let path = folder.join(self.name);
        fs::write(&path, [&self.content, end].concat()).expect("write a message");
        path
    }

    /// Writes the content to a file in `folder` with LF for CRLF.
    pub(crate) fn write_with_lf(&self, folder: &Path) -> PathBuf {
        let path = folder.join(self.name);
        let content = String::from_utf8_lossy(&self.content).replace("\r\n", "\n");
        fs::write(&path, content).expect("write a message");
        path
    }

    /// Panics at the first difference from the content.
    pub(crate) fn assert_same(&self, other: &[u8]) {
        assert_same(self.name, &self.content, other);
    }
}

/// Panics at the first difference between what was sent and what came of it.
pub(crate) fn assert_same(name: &str, sent: &[u8], came: &[u8]) {
    if sent == came {
        return;
    }
    let at = sent.iter().zip(came).take_while(|(a, b)| a == b).count();
    panic!("{name}: {} octets became {}, the first difference is at octet {at}", sent.len(), came.len());
}

/// The digest in lower-case hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}
