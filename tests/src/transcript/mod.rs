//! Transcripts as tests: dialogues in text files, run on the bare core in every segmentation.
//!
//! ```text
//! # DATA-004: comments cite rules.
//! role: server                          or client
//! config: bare_newline=fix              settings of the machine
//! decide: rcpt no@b.test = 550 5.1.1 Unknown   answers of the application (server) to events that begin like this;
//!                                       `= close 421 ...` closes too, `= each 250 a | 452 b` are several,
//!                                       `= configure KEY=VALUE` changes settings for the rest of the session
//! I: send a@a.test to b@b.test content "Hi\r\n"   intents of the application (client)
//! S: 220 mx.test ESMTP                  a line of the server, CRLF added
//! C: EHLO a.test                        a line of the client, CRLF added
//! c: raw\n octets {x*600}               octets as they are, with escapes and repetitions
//! E: mail <a@a.test>                    an event; where one is given, all must be
//! T: 300                                so many seconds pass
//! X: eof | lost | mute | shutdown | shutdown now      what happens to the session; mute: writing fails
//! X: fail                               the application of a server fails
//! X: tls | tls bound | tls unverified | tls failed     the handshake that the machine asks for; bound, unverified: with
//!                                       channel binding; unverified: nobody knows who the server is
//! X: closed | error TEXT                how it ends
//! ```
//!
//! A file may hold many: each begins with `== TITLE`, and what stands before the first belongs to all.
//!
//! Each dialogue runs with its input whole, one octet at a time, at every cut into two, and at random cuts; the
//! server also gets all input at once, where nothing but input happens. Recipients that are asked about together are
//! decided at once, or backwards, or the first alone: the replies must be the same.

mod names;
mod role;
mod script;
mod settings;
mod side;

use script::Script;
use side::{Order, Side};

/// The dialogues of a file with their titles.
pub fn dialogues(file: &str) -> Vec<(&str, String)> {
    let mut parts = file.split("\n== ");
    let preamble = parts.next().unwrap_or_default();
    let title = |part: &str| part.lines().next().unwrap_or_default().len();
    // As many empty lines as came before, so that the numbers of lines are those of the file.
    let mut before = preamble.lines().count();
    parts
        .map(|part| {
            let (title, body) = part.split_at(title(part));
            let padding = "\n".repeat(before.saturating_sub(preamble.lines().count()));
            before += part.split('\n').count();
            (title, format!("{preamble}{padding}\n{body}"))
        })
        .collect()
}

type Outcome<T = ()> = Result<T, String>;

/// Runs a dialogue in every segmentation.
///
/// # Errors
/// With the segmentation, the line, and what was expected and found.
pub fn check(text: &str) -> Outcome {
    let script = Script::parse(text)?;
    let length: usize = script.feeds().map(<[u8]>::len).sum();
    let run = |name: String, order: Order, cuts: &dyn Fn(usize) -> bool| {
        Side::play(&script, order, cuts).map_err(|error| format!("{name}: {error}"))
    };
    run("whole".to_owned(), Order::Together, &|_| false)?;
    run("octet by octet".to_owned(), Order::Together, &|_| true)?;
    // Long inputs are long because of repetitions: not every place in them is of interest.
    let stride = 1 + length * length / 8_000_000;
    for cut in (1..length).filter(|cut| cut % stride == 0 || length - cut < 100) {
        run(format!("cut in two at {cut}"), Order::Together, &|at| at == cut)?;
    }
    for seed in 0..20u64 {
        // A cheap hash is random enough, and the same every time.
        let random = move |at: usize| {
            (at as u64 + 1).wrapping_mul(seed * 2 + 0x9E37_79B9_7F4A_7C15).rotate_left(23).is_multiple_of(7)
        };
        let order = if seed % 2 == 0 { Order::Backwards } else { Order::FirstOnly };
        run(format!("random cuts {seed}"), order, &random)?;
    }
    if let Some(joined) = script.joined() {
        for order in [Order::Together, Order::FirstOnly, Order::Backwards] {
            Side::play(&joined, order, &|_| false).map_err(|error| format!("all at once, {order:?}: {error}"))?;
        }
    }
    Ok(())
}
