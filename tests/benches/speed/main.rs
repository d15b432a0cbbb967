//! Speed beside other clients, in one run: `cargo bench -p smtp-tests --bench speed`.
//!
//! `link` counts round trips a message over a link with a delay, `loopback` measures time without one; the name of a
//! part behind `--` runs that alone. `--test` sends a few messages with everything and measures nothing. Clients that
//! are not installed are named on standard error; `.ci/peers` installs them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failing bench is to fail")]

mod clients;
mod link;
mod loopback;
mod ours;
mod server;
mod support;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, job @ ..] = arguments.as_slice()
        && first == ours::ARGUMENT
    {
        ours::send(job);
        return;
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // As the other benches: a run that cargo did not start as a bench is a test.
    let test = has("--test") || !has("--bench");
    let (link, loopback) = (has("link"), has("loopback"));
    if link || !loopback {
        link::measure(test);
    }
    if loopback || !link {
        loopback::measure(test);
    }
}
