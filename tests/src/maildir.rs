//! Messages as files in a Maildir: written under `tmp`, moved to `new` when whole and on the disk.
//!
//! A crash at any point leaves each message whole under `new`, or not there: what is in `tmp` is nobody's. Names are
//! unique as <https://cr.yp.to/proto/maildir.html> asks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a file may lie in `tmp` untouched. Whoever wrote it is gone then.
const MAX_UNTOUCHED: Duration = Duration::from_secs(36 * 60 * 60);

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
    /// Opens the folder, making it when it is not there, and clears away what was not touched for 36 hours in `tmp`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        for part in ["tmp", "new", "cur"] {
            private_folders().recursive(true).create(folder.join(part))?;
        }
        let folder = fs::canonicalize(folder)?;
        // The folders have to be found again, too.
        sync_folder(&folder)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
        let maildir = Self(folder);
        maildir.clear()?;
        Ok(maildir)
    }

    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.0.join("tmp"))? {
            let entry = entry?;
            // It may just have been moved or removed by whoever it belongs to.
            let Ok(facts) = entry.metadata() else { continue };
            let touched = [facts.modified(), facts.accessed()].into_iter().flatten().max();
            let untouched = touched.and_then(|touched| touched.elapsed().ok());
            if facts.is_file() && untouched > Some(MAX_UNTOUCHED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Begins a message.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn draft(&self) -> io::Result<Draft> {
        let name = unique_name();
        let temporary = self.0.join("tmp").join(&name);
        let file = private_file().write(true).create_new(true).open(&temporary)?;
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

    /// Makes the message part of the folder; gives its path. Only now may it be acknowledged.
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

/// The time, what tells deliveries within it apart, and the host. The random number tells processes apart that have
/// the same id, one after the other or in containers.
fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<(u64, String)> = OnceLock::new();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (since_epoch.as_secs(), since_epoch.subsec_micros());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (random, host) = PROCESS.get_or_init(|| {
        let host = gethostname::gethostname();
        (RandomState::new().build_hasher().finish(), escaped(&host.to_string_lossy()))
    });
    format!("{seconds}.M{micros}P{}Q{count}R{random:x}.{host}", process::id())
}

/// A host name without what has a meaning in the name of a message.
fn escaped(host: &str) -> String {
    host.replace('/', "\\057").replace(':', "\\072")
}

/// Mail is nobody else's business.
#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.mode(0o600);
    options
}

#[cfg(unix)]
fn private_folders() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    File::options()
}

#[cfg(not(unix))]
fn private_folders() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashSet;
    use std::fs::FileTimes;
    use std::thread;

    use super::*;

    fn names(folder: &Path, part: &str) -> HashSet<String> {
        let entries = fs::read_dir(folder.join(part)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_message_is_in_new_only_when_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(folder.path().join("not/there/yet")).unwrap();
        let folder = folder.path().join("not/there/yet");
        let mut draft = maildir.draft().unwrap();
        draft.write(b"half").unwrap();
        assert_eq!((names(&folder, "tmp").len(), names(&folder, "new").len()), (1, 0));
        draft.write(b" and half").unwrap();
        let kept = draft.keep().unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"half and half");
        assert_eq!((names(&folder, "tmp").len(), names(&folder, "new").len()), (0, 1));
        drop(maildir.draft().unwrap());
        assert_eq!((names(&folder, "tmp").len(), names(&folder, "new").len()), (0, 1));
    }

    #[test]
    fn a_message_that_was_not_kept_is_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(folder.path()).unwrap();
        let draft = maildir.draft().unwrap();
        fs::remove_dir(folder.path().join("new")).unwrap();
        draft.keep().unwrap_err();
        assert!(names(folder.path(), "tmp").is_empty());
    }

    #[test]
    fn names_are_unique_and_have_their_parts() {
        let threads: Vec<_> =
            (0..4).map(|_| thread::spawn(|| (0..1000).map(|_| unique_name()).collect::<Vec<_>>())).collect();
        let names: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(names.len(), 4000);
        for name in names {
            let (time, rest) = name.split_once('.').unwrap();
            let (unique, host) = rest.split_once('.').unwrap();
            assert!(time.parse::<u64>().unwrap() > 1_500_000_000, "{name}");
            assert!(unique.starts_with('M') && unique.contains(&format!("P{}Q", process::id())), "{name}");
            assert!(!host.is_empty() && !name.contains(['/', ':']), "{name}");
        }
        assert_eq!(escaped("a/b:c.example"), "a\\057b\\072c.example");
    }

    #[test]
    fn what_lies_in_tmp_untouched_for_36_hours_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        Maildir::open(folder.path()).unwrap();
        let ago = |minutes: u64| {
            SystemTime::now() - MAX_UNTOUCHED - Duration::from_secs(60) + Duration::from_secs(minutes * 60)
        };
        let old = FileTimes::new().set_modified(ago(0)).set_accessed(ago(0));
        let younger = FileTimes::new().set_modified(ago(2)).set_accessed(ago(2));
        let read_since = FileTimes::new().set_modified(ago(0)).set_accessed(ago(2));
        for (name, times) in [("tmp/old", old), ("tmp/younger", younger), ("tmp/read", read_since), ("new/old", old)] {
            File::create(folder.path().join(name)).unwrap().set_times(times).unwrap();
        }
        Maildir::open(folder.path()).unwrap();
        assert_eq!(names(folder.path(), "tmp"), HashSet::from(["younger", "read"].map(str::to_owned)));
        assert_eq!(names(folder.path(), "new").len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_the_messages() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(folder.path().join("mail")).unwrap();
        let kept = maildir.draft().unwrap().keep().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0, 0));
    }
}
