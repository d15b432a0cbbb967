//! Servers that cannot be installed beside each other: Debian has one mail server on a machine. Each of these is
//! started in a folder that is all of the machine that it sees.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::peers;
use super::process::run;

/// A copy of a folder with a server and all it needs.
pub(crate) struct Root(TempDir);

impl Root {
    /// `None` if the variable of the environment names no such folder.
    pub(crate) fn copy(variable: &str, name: &str) -> Option<Self> {
        let Some(original) = env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_dir()) else {
            return peers::skip(&format!("{name} is not there (needs {variable} from .ci/peers)"));
        };
        if !peers::is_root() {
            return peers::skip(&format!("{name} cannot be started (needs root)"));
        }
        let copy = TempDir::new().expect("a folder");
        run(Command::new("cp").arg("-r").arg(original.join(".")).arg(copy.path()), Stdio::null()).expect_success();
        // Daemons have users of their own and must get through.
        fs::set_permissions(copy.path(), Permissions::from_mode(0o755)).expect("chmod");
        let root = Self(copy);
        // No device: what is written there stays, and nobody reads it.
        root.write("dev/null", "");
        fs::set_permissions(root.path("dev/null"), Permissions::from_mode(0o666)).expect("chmod");
        Some(root)
    }

    /// A path in it, as this side sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Makes a folder that only this user can change. The user is one of the root's own.
    pub(crate) fn make_folder(&self, path: &str, user: &str) {
        let users = fs::read_to_string(self.path("etc/passwd")).expect("read passwd");
        let line = users.lines().find(|line| line.split(':').next() == Some(user)).expect("a known user");
        let number = line.split(':').nth(2).and_then(|number| number.parse().ok()).expect("a number");
        let path = self.path(path);
        fs::create_dir_all(&path).expect("mkdir");
        chown(path, Some(number), Some(number)).expect("chown");
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A command that runs one of its programs. The process is a child of this one.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.0.path()).arg(program);
        command
    }
}
