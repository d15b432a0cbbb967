//! A client that sends messages, one or very many, and prints what became of each as a JSON line. For tests against real
//! servers, and for people.

mod arguments;
mod desk;
mod messages;
mod parameters;
mod report;
mod route;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;

use arguments::{Arguments, USAGE};
use bytes::Bytes;
use desk::{Desk, UnderWay};
use messages::{Content, Messages, NO_MESSAGE, Unsent};
use smtp_proto::client::Envelope;
use smtp_tests::mailer::Mailer;

/// The command line is wrong.
const USAGE_ERROR: u8 = 64;
/// What the system was asked for was not to be had.
const SYSTEM_ERROR: u8 = 71;

fn main() -> ExitCode {
    match Arguments::parse() {
        Ok(Some(arguments)) => ExitCode::from(run(&arguments)),
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("send: {error}\n\n{USAGE}");
            ExitCode::from(USAGE_ERROR)
        }
    }
}

/// Sends everything; gives what to exit with.
fn run(arguments: &Arguments) -> u8 {
    let messages = match arguments.source.messages() {
        Ok(messages) => messages,
        Err(unsent) => {
            eprintln!("send: {unsent}");
            return unsent.code;
        }
    };
    let mailer = match route::mailer(arguments) {
        Ok(mailer) => mailer,
        Err(error) => {
            eprintln!("send: {error}");
            return SYSTEM_ERROR;
        }
    };
    let desk = Desk::new(&arguments.source, arguments.transcript);
    let large = send_small(arguments, &mailer, &desk, messages);
    send_large(&mailer, &desk, arguments.policies.pool.connections, large);
    mailer.close();
    desk.sum_up(&mailer.health())
}

/// Sends what is in memory, and gives back what is too large for that.
fn send_small(
    arguments: &Arguments,
    mailer: &Mailer,
    desk: &Desk,
    mut messages: Messages<'_>,
) -> VecDeque<(UnderWay, PathBuf)> {
    let (mut large, mut count) = (VecDeque::new(), 0_usize);
    let (under_way, given_up) = (RefCell::new(BTreeMap::new()), Cell::new(false));
    let next = || -> Option<(Envelope, Bytes)> {
        while !given_up.get() {
            let message = messages.next()?.and_then(|message| match arguments.route.check(&message.envelope) {
                Ok(()) => Ok(message),
                Err(reason) => Err(Unsent { origin: message.origin, code: NO_MESSAGE, reason }),
            });
            match message {
                Ok(message) => {
                    let (begun, content) = desk.begin(message);
                    match content {
                        Content::File(file, _) => large.push_back((begun, file)),
                        Content::Memory(content) => {
                            let envelope = begun.envelope().clone();
                            under_way.borrow_mut().insert(count, begun);
                            count = count.saturating_add(1);
                            return Some((envelope, content));
                        }
                    }
                }
                Err(unsent) => desk.unsent(&unsent),
            }
        }
        None
    };
    for (index, result) in mailer.send_all(iter::from_fn(next)) {
        let ended = under_way.borrow_mut().remove(&index);
        if let Some(ended) = ended {
            desk.end(&ended, &result);
        }
        // No message is to blame, and a login that is tried again and again may be locked.
        if result.is_err() && report::exit_code(&result) == report::NOT_PERMITTED && !given_up.replace(true) {
            desk.give_up();
        }
    }
    if given_up.get() {
        // Nor are large ones tried any more.
        mailer.close();
    }
    large
}

/// Sends messages while they are read, so many at the same time.
fn send_large(mailer: &Mailer, desk: &Desk, connections: usize, messages: VecDeque<(UnderWay, PathBuf)>) {
    let threads = connections.min(messages.len());
    let messages = Mutex::new(messages);
    let next = || messages.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((begun, file)) = next() {
                    desk.end(&begun, &mailer.send_file(begun.envelope().clone(), &file));
                }
            });
        }
    });
}
