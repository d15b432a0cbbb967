//! Every dialogue under `transcripts/`, in every segmentation, and the map from the rules to their tests.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing test is to fail")]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use smtp_tests::transcript;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_transcript_runs_the_same_in_every_segmentation() {
    let only = std::env::var("TRANSCRIPT").ok();
    let mut dialogues = Vec::new();
    for path in files(&here().join("transcripts"), "txt") {
        let file = path.strip_prefix(here()).unwrap_or(&path).display().to_string();
        for (title, dialogue) in transcript::dialogues(&fs::read_to_string(&path).unwrap()) {
            if only.as_ref().is_none_or(|only| file.contains(only) || title.contains(only)) {
                dialogues.push((format!("{file}: {title}"), dialogue));
            }
        }
    }
    let (count, next) = (dialogues.len(), AtomicUsize::new(0));
    let work = || {
        let mut failures = String::new();
        while let Some((name, dialogue)) = dialogues.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = transcript::check(dialogue) {
                failures.push_str(&format!("\n{name}: {error}\n"));
            }
        }
        failures
    };
    let failures: String = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{failures}");
    assert!(count > 100 || only.is_some(), "only {count} dialogues: some are missing");
}

#[test]
fn a_wrong_transcript_fails() {
    let dialogue = "role: server\nS: 220 mx.test ESMTP\nC: NOOP\nS: 250 2.0.0 OK\n";
    assert_eq!(transcript::check(dialogue), Ok(()));
    for (right, wrong) in [("2.0.0 OK", "2.0.0 KO"), ("NOOP", "NOPE"), ("S: 250", "s: 250")] {
        assert!(transcript::check(&dialogue.replace(right, wrong)).is_err());
    }
    let client = "role: client\nS: 220 x\nC: EHLO c.test\nS: 250 x\nI: noop\nc: WRONG\nI: noop\nS: 250 x\nC: NOOP\n";
    assert!(transcript::check(client).is_err());
    assert_eq!(transcript::check(&client.replace("c: WRONG", "C: NOOP")), Ok(()));
    assert!(transcript::check(&(dialogue.to_owned() + "E: connected\nE: mail <>\n")).is_err());
    assert!(transcript::check(&(dialogue.to_owned() + "X: closed\n")).is_err());
    assert!(transcript::check(&format!("config: no_such_setting=on\n{dialogue}")).is_err());
    let configured = "decide: connected = configure greeting=Hello\n".to_owned() + dialogue;
    assert!(transcript::check(&configured).is_err());
    assert_eq!(transcript::check(&configured.replace("mx.test ESMTP", "mx.test Hello")), Ok(()));
}

#[test]
fn every_rule_is_cited_by_a_test_or_explained() {
    let root = here().parent().unwrap();
    let mut cited: BTreeSet<&str> = BTreeSet::new();
    let rules = fs::read_to_string(here().join("RULES.md")).unwrap();
    let rules: Vec<&str> =
        rules.lines().filter_map(|line| Some(line.strip_prefix("- **")?.split_once("**")?.0)).collect();
    assert!(rules.len() > 150, "only {} rules", rules.len());
    // `TCP4` cites no P4, nor does P10 cite P1.
    let whole = |text: &str, at: usize, rule: &str| {
        !text[..at].ends_with(|before: char| before.is_ascii_alphanumeric())
            && !text[at + rule.len()..].starts_with(|next: char| next.is_ascii_digit())
    };
    let mut cite = |text: &str| {
        cited.extend(rules.iter().filter(|rule| text.match_indices(**rule).any(|(at, _)| whole(text, at, rule))));
    };
    for path in files(&here().join("transcripts"), "txt") {
        cite(&fs::read_to_string(path).unwrap());
    }
    // Not the kit: what its documentation mentions is no test.
    for path in files(here(), "rs").into_iter().filter(|path| !path.starts_with(here().join("src"))) {
        cite(&fs::read_to_string(path).unwrap());
    }
    for path in files(&root.join("smtp-proto/src"), "rs") {
        let all_tests = path.file_name().is_some_and(|name| name == "tests.rs");
        let text = fs::read_to_string(path).unwrap();
        cite(if all_tests { &text } else { text.split_once("mod tests {").map_or("", |(_, tests)| tests) });
    }
    cite(&fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    let missing: Vec<&&str> = rules.iter().filter(|rule| !cited.contains(*rule)).collect();
    assert!(missing.is_empty(), "rules without a test or a reason: {missing:?}");
}
