//! The messages of a maildir, sent to whom their header fields name.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use mail_parser::{Address, Header, HeaderName, HeaderValue, MessageParser};
use smtp_proto::client::Envelope;

use super::{Message, NO_MESSAGE, Origin, Unsent, read};
use crate::parameters::Parameters;

/// The messages of a maildir.
pub(crate) struct Folder {
    folder: PathBuf,
    /// For all messages; `None` for what each says itself.
    from: Option<String>,
    /// The same; empty for what each says itself.
    to: Vec<String>,
    parameters: Parameters,
    parser: MessageParser,
}

/// The header fields that name addresses.
const FIELDS: [HeaderName<'static>; 6] = [
    HeaderName::ReturnPath,
    HeaderName::DeliveredTo,
    HeaderName::From,
    HeaderName::To,
    HeaderName::Cc,
    HeaderName::Bcc,
];

impl Folder {
    pub(super) fn new(
        folder: PathBuf,
        from: Option<String>,
        to: Vec<String>,
        parameters: Parameters,
    ) -> Result<Self, String> {
        if !["new", "cur"].iter().any(|part| folder.join(part).is_dir()) {
            return Err(format!("--bulk {}: it has neither new nor cur, so that it is no maildir", folder.display()));
        }
        // What is wrong with these is wrong for all.
        let somebody = if to.is_empty() { &["postmaster".to_owned()] } else { &to[..] };
        Envelope::new(from.as_deref().unwrap_or_default(), somebody).map_err(|error| error.to_string())?;
        let parser = FIELDS.into_iter().fold(MessageParser::new(), MessageParser::header_address);
        Ok(Self { folder, from, to, parameters, parser })
    }

    /// The files of messages, in the order in which the system tells them.
    pub(super) fn files(&self) -> impl Iterator<Item = Result<PathBuf, Unsent>> + '_ {
        let parts = ["new", "cur"].map(|part| self.folder.join(part)).into_iter().filter(|part| part.is_dir());
        parts.flat_map(|part| {
            let entries: Box<dyn Iterator<Item = io::Result<DirEntry>>> = match fs::read_dir(&part) {
                Ok(entries) => Box::new(entries),
                Err(error) => Box::new(iter::once(Err(error))),
            };
            let files = entries.map(move |entry| match entry {
                Ok(entry) => Ok(entry.path()),
                Err(error) => Err(Unsent::unreadable(&part, &error)),
            });
            // A maildir has nothing to say about what begins with a dot.
            files.filter(|file| !matches!(file, Ok(file) if is_hidden(file)))
        })
    }

    /// The messages.
    pub(super) fn messages(&self) -> impl Iterator<Item = Result<Message, Unsent>> + '_ {
        self.files().map(|file| self.message(file?))
    }

    fn message(&self, file: PathBuf) -> Result<Message, Unsent> {
        let content = read(&file)?;
        let addressed = self.addressed(&content);
        let origin = Origin { file: Some(file), line: None };
        match addressed {
            Ok((envelope, content)) => Ok(Message { origin, envelope, content }),
            Err(reason) => Err(Unsent { origin, code: NO_MESSAGE, reason }),
        }
    }

    /// A message with the envelope that it goes out in.
    fn addressed(&self, content: &Bytes) -> Result<(Envelope, Bytes), String> {
        let message = self.parser.parse_headers(content);
        let fields = message.as_ref().map_or(&[][..], |message| message.headers());
        let from = match &self.from {
            Some(from) => from.clone(),
            None => sender(fields, content)?,
        };
        let delivered = fields.iter().find(|field| field.name == HeaderName::DeliveredTo);
        let mut shown = content.clone();
        let mut to: Vec<&str> = match delivered {
            _ if !self.to.is_empty() => self.to.iter().map(String::as_str).collect(),
            Some(field) => addresses(field).collect(),
            None => {
                shown = without_bcc(fields, content);
                let named =
                    |field: &&Header<'_>| matches!(field.name, HeaderName::To | HeaderName::Cc | HeaderName::Bcc);
                fields.iter().filter(named).flat_map(addresses).collect()
            }
        };
        let mut named_before = BTreeSet::new();
        to.retain(|address| named_before.insert(*address));
        if to.is_empty() {
            return Err("its header fields name no recipient".to_owned());
        }
        let mut envelope = Envelope::new(&from, to).map_err(|error| error.to_string())?;
        self.parameters.apply(&mut envelope);
        Ok((envelope, shown))
    }
}

fn is_hidden(file: &Path) -> bool {
    file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The sender: nobody where the Return-Path is empty.
fn sender(fields: &[Header<'_>], content: &[u8]) -> Result<String, String> {
    let first = |name| fields.iter().find(|field| field.name == name);
    let path = first(HeaderName::ReturnPath);
    let is_null = |field: &Header<'_>| written(field, content).trim_ascii() == b"<>";
    if path.is_some_and(is_null) {
        return Ok(String::new());
    }
    let named = path.or(first(HeaderName::From)).and_then(|field| addresses(field).next());
    named.map(str::to_owned).ok_or_else(|| "its header fields name no sender".to_owned())
}

/// The addresses in a header field.
fn addresses<'a>(field: &'a Header<'_>) -> impl Iterator<Item = &'a str> {
    let named = match &field.value {
        HeaderValue::Address(addresses) => Some(addresses),
        _ => None,
    };
    named.into_iter().flat_map(Address::iter).filter_map(|one| one.address.as_deref())
}

/// What is written behind the name of a header field.
fn written<'a>(field: &Header<'_>, content: &'a [u8]) -> &'a [u8] {
    let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    content.get(at(field.offset_start)..at(field.offset_end)).unwrap_or_default()
}

/// The content without what only the sender is to see (RFC 5322 section 3.6.3).
fn without_bcc(fields: &[Header<'_>], content: &Bytes) -> Bytes {
    let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
    let mut shown = BytesMut::new();
    let mut behind = 0;
    for field in fields.iter().filter(|field| field.name == HeaderName::Bcc) {
        let (start, end) = (at(field.offset_field), at(field.offset_end));
        shown.extend_from_slice(content.get(behind..start).unwrap_or_default());
        behind = behind.max(end);
    }
    if behind == 0 {
        return content.clone();
    }
    shown.extend_from_slice(content.get(behind..).unwrap_or_default());
    shown.freeze()
}
