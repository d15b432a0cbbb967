//! Look-up of peer programs, and what happens when one is missing.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// A Python interpreter that can import `module`: the one that
/// `SMTP_INTEROP_PYTHON` names, else `python3`.
pub(crate) fn python(module: &str, package: &str) -> Option<PathBuf> {
    let interpreter = env::var_os("SMTP_INTEROP_PYTHON").unwrap_or_else(|| "python3".into());
    let imported = Command::new(&interpreter)
        .args(["-c", &format!("import {module}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match imported {
        Ok(status) if status.success() => Some(interpreter.into()),
        _ => missing(module, package),
    }
}

/// A Node interpreter and the folder with nodemailer in it.
pub(crate) fn nodemailer() -> Option<(PathBuf, PathBuf)> {
    let modules = env::var_os("SMTP_INTEROP_NODE_MODULES").map(PathBuf::from);
    let Some(modules) = modules.filter(|folder| folder.join("nodemailer").is_dir()) else {
        return missing("nodemailer", "npm package nodemailer");
    };
    Some((program("node", "Debian package nodejs")?, modules))
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
