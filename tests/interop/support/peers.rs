//! Look-up of peer programs, and what happens when one is missing.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The path of a program from a Debian package.
pub(crate) fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Postfix lives in sbin, which is not in everybody's PATH.
    let found = env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    found.or_else(|| missing(name, package))
}

/// A Python interpreter that can import `module` (or several, with commas between them): the one that
/// `SMTP_INTEROP_PYTHON` names, else `python3`.
pub(crate) fn python(module: &str, package: &str) -> Option<PathBuf> {
    let interpreter = env::var_os("SMTP_INTEROP_PYTHON").unwrap_or_else(|| "python3".into());
    if succeeds(Command::new(&interpreter).args(["-c", &format!("import {module}")])) {
        return Some(interpreter.into());
    }
    missing(module, package)
}

/// A Node interpreter and the folder with this npm package in it.
pub(crate) fn node(package: &str) -> Option<(PathBuf, PathBuf)> {
    let modules = env::var_os("SMTP_INTEROP_NODE_MODULES").map(PathBuf::from);
    let Some(modules) = modules.filter(|folder| folder.join(package).is_dir()) else {
        return missing(package, &format!("npm package {package}"));
    };
    Some((program("node", "Debian package nodejs")?, modules))
}

/// A Perl interpreter that has these modules.
pub(crate) fn perl(modules: &[&str], packages: &str) -> Option<PathBuf> {
    let perl = program("perl", "Debian package perl")?;
    let uses = modules.iter().map(|module| format!("-M{module}"));
    if succeeds(Command::new(&perl).args(uses).args(["-e", "1"])) {
        return Some(perl);
    }
    missing(&modules.join(", "), packages)
}

/// A Ruby interpreter that has these libraries.
pub(crate) fn ruby(libraries: &[&str], packages: &str) -> Option<PathBuf> {
    let ruby = program("ruby", packages)?;
    let requires = libraries.iter().map(|library| format!("-r{library}"));
    if succeeds(Command::new(&ruby).args(requires).args(["-e", "1"])) {
        return Some(ruby);
    }
    missing(&libraries.join(", "), packages)
}

/// Whether a command succeeds. What was asked once is remembered: some take
/// longer to load than to use.
fn succeeds(command: &mut Command) -> bool {
    static KNOWN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry(format!("{command:?}")).or_insert_with(|| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

/// Whether this process may start servers that change their user.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Reports a peer that is not there.
fn missing<T>(name: &str, package: &str) -> Option<T> {
    skip(&format!("{name} is not installed (needs {package})"))
}

/// Reports why a test cannot be run, or fails it if interop is required.
pub(crate) fn skip<T>(reason: &str) -> Option<T> {
    let line = format!("SKIP interop: {reason}\n");
    if env::var_os("SMTP_INTEROP").is_some_and(|value| value == "required") {
        panic!("{line}");
    }
    // Written to the stream itself: the test harness swallows what a passing
    // test writes with `eprintln!`.
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}
