//! A table of messages: each line has a sender, recipients and a file.

use std::fs::File;
use std::io::{Chain, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};
use smtp_proto::client::Envelope;

use super::{IN_MEMORY_OF_BULK, Message, NO_MESSAGE, Origin, UNREADABLE, Unsent, content};
use crate::parameters::Parameters;

/// A table of messages.
pub(crate) struct Table {
    file: PathBuf,
    parameters: Parameters,
}

/// The rows of a table that are not blank, each with the number of its first line.
struct Rows(Reader<Chain<File, &'static [u8]>>);

/// Where the columns are, in a table of so many.
#[derive(Clone, Copy)]
struct Columns {
    from: usize,
    to: usize,
    file: usize,
    count: usize,
}

impl Table {
    pub(super) fn new(file: PathBuf, parameters: Parameters) -> Self {
        Self { file, parameters }
    }

    /// The messages, a row at a time.
    pub(super) fn messages(&self) -> Result<impl Iterator<Item = Result<Message, Unsent>> + '_, Unsent> {
        let mut rows = self.rows()?;
        let (line, names) =
            rows.next().unwrap_or(Ok((1, ByteRecord::new()))).map_err(|error| self.unreadable(&error))?;
        let column = |name: &str| {
            let found = names.iter().position(|other| other.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
            found.ok_or_else(|| Unsent {
                origin: self.origin(line),
                code: NO_MESSAGE,
                reason: format!("there is no column {name:?}: the first line has to name from, to and file"),
            })
        };
        let columns = Columns { from: column("from")?, to: column("to")?, file: column("file")?, count: names.len() };
        Ok(rows.map(move |row| match row {
            Ok((line, row)) => self.message(line, &row, columns),
            Err(error) => Err(self.unreadable(&error)),
        }))
    }

    /// How many messages there are.
    pub(super) fn count(&self) -> Option<usize> {
        self.rows().ok()?.count().checked_sub(1)
    }

    fn rows(&self) -> Result<Rows, Unsent> {
        let file = File::open(&self.file).map_err(|error| Unsent::unreadable(&self.file, &error))?;
        // By itself the reader would number a line that ends in CRLF like the one before, and one behind blank lines like
        // the first of these. The CR is trimmed off; a line end behind the last row makes that like all others.
        let mut reader = ReaderBuilder::new();
        reader.has_headers(false).flexible(true).terminator(Terminator::Any(b'\n'));
        Ok(Rows(reader.from_reader(file.chain(&b"\n"[..]))))
    }

    fn message(&self, line: u64, row: &ByteRecord, columns: Columns) -> Result<Message, Unsent> {
        let no_message = |reason: String| Unsent { origin: self.origin(line), code: NO_MESSAGE, reason };
        if row.len() != columns.count {
            return Err(no_message(format!("it has {} fields, and the first line {}", row.len(), columns.count)));
        }
        let field = |column| {
            let text = str::from_utf8(row.get(column).unwrap_or_default());
            text.map(str::trim).map_err(|_| no_message("it is not UTF-8".to_owned()))
        };
        let mut envelope = Envelope::new(field(columns.from)?, addresses(field(columns.to)?))
            .map_err(|error| no_message(error.to_string()))?;
        self.parameters.apply(&mut envelope);
        let file = field(columns.file)?;
        if file.is_empty() {
            return Err(no_message("the file is missing".to_owned()));
        }
        // An absolute path stays what it is.
        let file = self.file.parent().unwrap_or(Path::new("")).join(file);
        let content = content(&file, IN_MEMORY_OF_BULK).map_err(|unsent| unsent.in_line(line))?;
        Ok(Message { origin: Origin { file: Some(file), line: Some(line) }, envelope, content })
    }

    fn origin(&self, line: u64) -> Origin {
        Origin { file: Some(self.file.clone()), line: Some(line) }
    }

    fn unreadable(&self, error: &csv::Error) -> Unsent {
        let origin = Origin { file: Some(self.file.clone()), line: None };
        Unsent { origin, code: UNREADABLE, reason: error.to_string() }
    }
}

impl Iterator for Rows {
    type Item = Result<(u64, ByteRecord), csv::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut row = ByteRecord::new();
        loop {
            match self.0.read_byte_record(&mut row) {
                Ok(true) if row.len() == 1 && row.as_slice().trim_ascii().is_empty() => {}
                Ok(true) => break,
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let further = row.as_slice().iter().filter(|octet| **octet == b'\n').count();
        let behind = u64::try_from(further).unwrap_or(u64::MAX).saturating_add(1);
        Some(Ok((self.0.position().line().saturating_sub(behind), row)))
    }
}

/// Addresses that are separated by spaces, commas or semicolons, where these are not in quotes.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |one: char| {
        if one == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && one == '\\' && !escaped;
        !quoted && (matches!(one, ',' | ';') || one.is_whitespace())
    };
    text.split(separates).filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn addresses_are_separated_outside_of_quotes() {
        let all: Vec<_> = addresses("a@b.test; c@d.test,e@f.test \"x; \\\" y\"@z.test\n").collect();
        assert_eq!(all, ["a@b.test", "c@d.test", "e@f.test", "\"x; \\\" y\"@z.test"]);
        assert_eq!(addresses(" ;, ").count(), 0);
    }
}
