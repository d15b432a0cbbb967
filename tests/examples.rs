//! Runs the examples of clients, each of which sends to a server in its own process, and keeps the README's list of
//! examples complete.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "examples/authentication.rs"]
mod authentication;
#[path = "examples/capabilities.rs"]
mod capabilities;
#[path = "examples/connection_url.rs"]
mod connection_url;
#[path = "examples/connector.rs"]
mod connector;
#[path = "examples/delivery_agent.rs"]
mod delivery_agent;
#[path = "examples/direct.rs"]
mod direct;
#[path = "examples/errors.rs"]
mod errors;
#[path = "examples/international.rs"]
mod international;
#[path = "examples/lettre_message.rs"]
mod lettre_message;
#[path = "examples/lettre_transport.rs"]
mod lettre_transport;
#[path = "examples/mail_builder.rs"]
mod mail_builder;
#[path = "examples/mailer.rs"]
mod mailer;
#[path = "examples/notifications.rs"]
mod notifications;
#[path = "examples/one_line.rs"]
mod one_line;
#[path = "examples/own_stream.rs"]
mod own_stream;
#[path = "examples/recipients.rs"]
mod recipients;
#[path = "examples/session.rs"]
mod session;
#[path = "examples/socks.rs"]
mod socks;
#[path = "examples/starttls.rs"]
mod starttls;
#[path = "examples/streaming.rs"]
mod streaming;
#[path = "examples/timeouts.rs"]
mod timeouts;
#[path = "examples/tls.rs"]
mod tls;
#[path = "examples/transcript.rs"]
mod transcript;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");

/// The README's links to examples, and the files that there are.
#[test]
fn the_readme_links_to_every_example() {
    let linked: BTreeSet<&str> =
        README.split("](tests/examples/").skip(1).map(|link| link.split_once(')').unwrap().0).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: Vec<String> = files.filter(|file| file.ends_with(".rs")).collect();
    assert_eq!(linked, files.iter().map(String::as_str).collect());
}

/// Run here, or with a test of their own (`test = true`); the last two need arguments or a terminal, and CI runs one.
#[test]
fn every_example_is_run() {
    let (here, manifest) = (include_str!("examples.rs"), include_str!("Cargo.toml"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let run = here.contains(&format!("#[path = \"examples/{name}.rs\"]\nmod {name};"));
        let tested = manifest.contains(&format!("[[example]]\nname = \"{name}\"\ntest = true"));
        assert!(run || tested || ["message", "ports", "quickstart"].contains(&name), "{name} is never run");
    }
}
