//! The messages of a maildir, sent to whom their header fields name.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use mail_parser::{Address, Header, HeaderName, HeaderValue, MessageParser};
use smtp_proto::client::Envelope;

use super::{Content, IN_MEMORY_OF_BULK, Message, NO_MESSAGE, Origin, Unsent, content};
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
        self.files().map(|file| self.message(&file?))
    }

    fn message(&self, file: &Path) -> Result<Message, Unsent> {
        let unreadable = |error: io::Error| Unsent::unreadable(file, &error);
        let mut content = content(file, IN_MEMORY_OF_BULK)?;
        let origin = Origin { file: Some(file.to_owned()), line: None };
        let start = match &content {
            Content::Memory(content) => content.clone(),
            Content::File(file, _) => start(file).map_err(unreadable)?,
        };
        let (envelope, hidden) =
            self.addressed(&start).map_err(|reason| Unsent { origin: origin.clone(), code: NO_MESSAGE, reason })?;
        if !hidden.is_empty() {
            let whole = match content {
                Content::Memory(whole) => whole,
                Content::File(..) => fs::read(file).map_err(unreadable)?.into(),
            };
            content = Content::Memory(without(&hidden, &whole));
        }
        Ok(Message { origin, envelope, content })
    }

    /// The envelope of a message that begins so, and what is to be cut out of it.
    fn addressed(&self, start: &[u8]) -> Result<(Envelope, Vec<Range<usize>>), String> {
        let message = self.parser.parse_headers(start);
        let fields = message.as_ref().map_or(&[][..], |message| message.headers());
        let from = match &self.from {
            Some(from) => from.clone(),
            None => sender(fields, start)?,
        };
        let mut hidden = Vec::new();
        let mut to: Vec<&str> = match fields.iter().find(|field| field.name == HeaderName::DeliveredTo) {
            _ if !self.to.is_empty() => self.to.iter().map(String::as_str).collect(),
            Some(field) => addresses(field).collect(),
            None => {
                // Only the sender is to see these (RFC 5322 section 3.6.3).
                let bcc = fields.iter().filter(|field| field.name == HeaderName::Bcc);
                hidden.extend(bcc.map(|field| offset(field.offset_field)..offset(field.offset_end)));
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
        Ok((envelope, hidden))
    }
}

/// The start of a large file, with all header fields that are looked at.
fn start(file: &Path) -> io::Result<Bytes> {
    let mut start = Vec::new();
    File::open(file)?.take(IN_MEMORY_OF_BULK).read_to_end(&mut start)?;
    let is_whole = start.windows(3).any(|octets| matches!(octets, b"\n\r\n" | [b'\n', b'\n', _]));
    if is_whole { Ok(start.into()) } else { Err(io::Error::other("its header section is too large")) }
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
    content.get(offset(field.offset_start)..offset(field.offset_end)).unwrap_or_default()
}

/// The content without these parts of it, which are in their order.
fn without(parts: &[Range<usize>], content: &[u8]) -> Bytes {
    let (mut left, mut behind) = (BytesMut::new(), 0);
    for part in parts {
        left.extend_from_slice(content.get(behind..part.start).unwrap_or_default());
        behind = part.end;
    }
    left.extend_from_slice(content.get(behind..).unwrap_or_default());
    left.freeze()
}

fn offset(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
