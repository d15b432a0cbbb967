//! Messages as files: written under `tmp`, moved to `new` when whole and on the disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder of messages.
#[derive(Debug, Clone)]
pub struct Maildir(PathBuf);

/// A message that is being written; gone when dropped before [`Draft::keep`].
#[derive(Debug)]
pub struct Draft {
    file: File,
    temporary: PathBuf,
    kept: PathBuf,
}

impl Maildir {
    /// Opens the folder, making it when it is not there.
    ///
    /// # Errors
    /// When that fails.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Self(fs::canonicalize(folder)?))
    }

    /// Begins a message.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn draft(&self) -> io::Result<Draft> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (seconds, micros) = (since_epoch.as_secs(), since_epoch.subsec_micros());
        let name = format!("{seconds}.M{micros}P{}Q{count}.smtp", process::id());
        let temporary = self.0.join("tmp").join(&name);
        let file = File::options().write(true).create_new(true).open(&temporary)?;
        Ok(Draft { file, temporary, kept: self.0.join("new").join(name) })
    }
}

impl Draft {
    /// Adds content.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)
    }

    /// Makes the message part of the folder; gives its path.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep(self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.kept)?;
        let folder = self.kept.parent().unwrap_or(Path::new("."));
        // Whoever is told that it failed sends again: then it must not be there.
        sync_folder(folder).inspect_err(|_| drop(fs::remove_file(&self.kept)))?;
        Ok(self.kept.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Not there any more when it was kept.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
