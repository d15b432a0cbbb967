//! The messages to send, read one by one as they are needed.

mod folder;
mod table;

use std::fmt;
use std::fs;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use smtp_proto::client::Envelope;
use smtp_proto::wire::Escaped;

use crate::parameters::Parameters;
use folder::Folder;
use table::Table;

/// A file cannot be read.
pub(crate) const UNREADABLE: u8 = 66;
/// What was read is no message to be sent.
pub(crate) const NO_MESSAGE: u8 = 65;

/// Files of the command line that are larger are read while they are sent, behind all others.
const IN_MEMORY: u64 = 16 * 1024 * 1024;
/// The same of a bulk, of which a thousand may be in memory.
const IN_MEMORY_OF_BULK: u64 = 256 * 1024;

/// Where messages come from.
pub(crate) enum Source {
    /// Files, or a message of its own where there are none, all to the same.
    Files { envelope: Envelope, files: Vec<PathBuf>, repeat: usize },
    /// A table.
    Table { table: Table, repeat: usize },
    /// A maildir.
    Folder { folder: Folder, repeat: usize },
}

/// A message to send.
pub(crate) struct Message {
    pub(crate) origin: Origin,
    pub(crate) envelope: Envelope,
    pub(crate) content: Content,
}

/// What is in a message.
#[derive(Clone)]
pub(crate) enum Content {
    /// All of it.
    Memory(Bytes),
    /// It is in this file, has so many octets, and is read while it is sent.
    File(PathBuf, u64),
}

/// Where a message comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// The file of the message, or of what says which it is.
    pub(crate) file: Option<PathBuf>,
    /// Its line in a table, from 1.
    pub(crate) line: Option<u64>,
}

/// Why something is not sent at all.
pub(crate) struct Unsent {
    pub(crate) origin: Origin,
    /// What to exit with.
    pub(crate) code: u8,
    pub(crate) reason: String,
}

/// Where it comes from, and why.
impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

/// The file, if there is one, and its line in a table.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => Escaped(file.as_os_str().as_encoded_bytes()).fmt(f)?,
            None => f.write_str("the message")?,
        }
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// Messages, and what should be some and is not.
pub(crate) type Messages<'a> = Box<dyn Iterator<Item = Result<Message, Unsent>> + 'a>;

impl Source {
    /// A table or a maildir.
    pub(crate) fn bulk(
        path: PathBuf,
        from: Option<String>,
        to: Vec<String>,
        repeat: usize,
        parameters: Parameters,
    ) -> Result<Self, String> {
        if path.is_dir() {
            return Ok(Self::Folder { folder: Folder::new(path, from, to, parameters)?, repeat });
        }
        if from.is_some() || !to.is_empty() {
            return Err("--bulk: the table has the addresses; --from and --to have to go".to_owned());
        }
        Ok(Self::Table { table: Table::new(path, parameters), repeat })
    }

    /// How many messages there are, for which a bulk is looked through; `None` where that fails.
    pub(crate) fn count(&self) -> Option<u64> {
        let (count, repeat) = match self {
            Self::Files { files, repeat, .. } => (files.len().max(1), repeat),
            Self::Table { table, repeat } => (table.count()?, repeat),
            Self::Folder { folder, repeat } => (folder.files().count(), repeat),
        };
        u64::try_from(count.saturating_mul(*repeat)).ok()
    }

    /// The messages.
    pub(crate) fn messages(&self) -> Result<Messages<'_>, Unsent> {
        match self {
            Self::Files { envelope, files, repeat } => files_to(envelope, files, *repeat),
            Self::Table { table, repeat } => repeated(*repeat, || Ok(Box::new(table.messages()?))),
            Self::Folder { folder, repeat } => repeated(*repeat, || Ok(Box::new(folder.messages()))),
        }
    }
}

/// The same again and again; what fails at the first time fails at once.
fn repeated<'a>(repeat: usize, open: impl Fn() -> Result<Messages<'a>, Unsent> + 'a) -> Result<Messages<'a>, Unsent> {
    if repeat == 0 {
        return Ok(Box::new(iter::empty()));
    }
    let first = open()?;
    let again = (1..repeat).flat_map(move |_| open().unwrap_or_else(|unsent| Box::new(iter::once(Err(unsent)))));
    Ok(Box::new(first.chain(again)))
}

/// These files, which are kept in memory, as they are sent several times.
fn files_to<'a>(envelope: &'a Envelope, files: &[PathBuf], repeat: usize) -> Result<Messages<'a>, Unsent> {
    let mut contents: Vec<(Origin, Content)> = Vec::new();
    for file in files {
        let origin = Origin { file: Some(file.clone()), line: None };
        contents.push((origin, content(file, IN_MEMORY)?));
    }
    if contents.is_empty() {
        let to: Vec<String> = envelope.recipients.iter().map(ToString::to_string).collect();
        let (from, to) = (&envelope.reverse_path, to.join(">,\n <"));
        let text = format!("From: <{from}>\nTo: <{to}>\nSubject: Test\n\nThis is a test.\n");
        contents.push((Origin::default(), Content::Memory(text.into())));
    }
    let total = contents.len().saturating_mul(repeat);
    let all = contents.into_iter().cycle().take(total);
    Ok(Box::new(all.map(|(origin, content)| Ok(Message { origin, envelope: envelope.clone(), content }))))
}

/// What is in a file: in memory unless it is larger than that.
fn content(file: &Path, in_memory: u64) -> Result<Content, Unsent> {
    let content = fs::metadata(file).and_then(|facts| match facts.len() {
        octets if facts.is_file() && octets > in_memory => Ok(Content::File(file.to_owned(), octets)),
        _ => fs::read(file).map(|content| Content::Memory(content.into())),
    });
    content.map_err(|error| Unsent::unreadable(file, &error))
}

impl Unsent {
    fn unreadable(file: &Path, error: &io::Error) -> Self {
        let origin = Origin { file: Some(file.to_owned()), line: None };
        Self { origin, code: UNREADABLE, reason: error.to_string() }
    }

    /// The same as what a line of a table led to.
    fn in_line(mut self, line: u64) -> Self {
        self.origin.line = Some(line);
        self
    }
}
