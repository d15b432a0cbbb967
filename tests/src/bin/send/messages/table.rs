//! A table of messages: each line has a sender, recipients and a file.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use smtp_proto::client::Envelope;

use super::{IN_MEMORY_OF_BULK, Message, NO_MESSAGE, Origin, UNREADABLE, Unsent, content};
use crate::parameters::Parameters;

/// A table of messages.
pub(crate) struct Table {
    file: PathBuf,
    parameters: Parameters,
}

/// Where the columns are.
#[derive(Clone, Copy)]
struct Columns {
    from: usize,
    to: usize,
    file: usize,
}

impl Table {
    pub(super) fn new(file: PathBuf, parameters: Parameters) -> Self {
        Self { file, parameters }
    }

    /// The messages, a line at a time.
    pub(super) fn rows(&self) -> Result<impl Iterator<Item = Result<Message, Unsent>> + '_, Unsent> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(self.open()?);
        let names = reader.headers().map_err(|error| self.unsent(&error))?;
        let column = |name: &str| {
            let found = names.iter().position(|other| other.eq_ignore_ascii_case(name));
            found.ok_or_else(|| Unsent {
                origin: self.origin(1),
                code: NO_MESSAGE,
                reason: format!("there is no column {name:?}: the first line has to name from, to and file"),
            })
        };
        let columns = Columns { from: column("from")?, to: column("to")?, file: column("file")? };
        Ok(reader.into_records().map(move |row| match row {
            Ok(row) => self.message(&row, columns),
            Err(error) => Err(self.unsent(&error)),
        }))
    }

    /// How many lines with messages there are.
    pub(super) fn count(&self) -> Option<usize> {
        let mut row = csv::ByteRecord::new();
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(self.open().ok()?);
        let mut count: usize = 0;
        while reader.read_byte_record(&mut row).ok()? {
            count = count.saturating_add(1);
        }
        Some(count)
    }

    fn open(&self) -> Result<File, Unsent> {
        File::open(&self.file).map_err(|error| Unsent::unreadable(&self.file, &error))
    }

    fn message(&self, row: &StringRecord, columns: Columns) -> Result<Message, Unsent> {
        let line = row.position().map_or(0, csv::Position::line);
        let field = |column| row.get(column).unwrap_or_default();
        let no_message = |reason: String| Unsent { origin: self.origin(line), code: NO_MESSAGE, reason };
        let mut envelope = Envelope::new(field(columns.from), addresses(field(columns.to)))
            .map_err(|error| no_message(error.to_string()))?;
        self.parameters.apply(&mut envelope);
        if field(columns.file).is_empty() {
            return Err(no_message("the file is missing".to_owned()));
        }
        // An absolute path stays what it is.
        let file = self.file.parent().unwrap_or(Path::new("")).join(field(columns.file));
        let content = content(&file, IN_MEMORY_OF_BULK).map_err(|unsent| unsent.in_line(line))?;
        Ok(Message { origin: Origin { file: Some(file), line: Some(line) }, envelope, content })
    }

    fn origin(&self, line: u64) -> Origin {
        Origin { file: Some(self.file.clone()), line: Some(line) }
    }

    fn unsent(&self, error: &csv::Error) -> Unsent {
        let origin = Origin { file: Some(self.file.clone()), line: error.position().map(csv::Position::line) };
        let (code, reason) = match error.kind() {
            csv::ErrorKind::Io(error) => (UNREADABLE, error.to_string()),
            csv::ErrorKind::Utf8 { .. } => (NO_MESSAGE, "it is not UTF-8".to_owned()),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                (NO_MESSAGE, format!("it has {len} fields, and the first line {expected_len}"))
            }
            _ => (NO_MESSAGE, error.to_string()),
        };
        Unsent { origin, code, reason }
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
