//! A client that sends messages, one or very many, and prints what became of each as a JSON line. For tests against real
//! servers, and for people.

mod arguments;
mod desk;
mod messages;
mod parameters;
mod report;
mod route;

use std::iter;
use std::process::ExitCode;

use arguments::{Arguments, USAGE};
use desk::Desk;
use messages::{NO_MESSAGE, Unsent};

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
    let mut messages = match arguments.source.messages() {
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
    let next = || loop {
        match messages.next()? {
            Ok(message) => match arguments.route.check(&message.envelope) {
                Ok(()) => return Some(desk.take(message)),
                Err(reason) => desk.unsent(&Unsent { origin: message.origin, code: NO_MESSAGE, reason }),
            },
            Err(unsent) => desk.unsent(&unsent),
        }
    };
    for (index, (envelope, content)) in iter::from_fn(next).enumerate() {
        desk.done(index, &mailer.send(envelope, content));
    }
    mailer.close();
    desk.sum_up(&mailer.health())
}
