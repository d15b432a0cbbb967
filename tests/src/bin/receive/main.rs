//! A server that accepts mail and prints what happens as JSON lines. For tests against real clients, and for people.

mod arguments;
mod extensions;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use arguments::{Arguments, USAGE};
use serde_json::{Value, json};
use smtp_proto::adapter;
use smtp_tests::maildir::Maildir;
use smtp_tests::recorder::{Options, Recorder};
use smtp_tests::runtime::{self, Service};

fn print(entry: &Value) {
    let mut stdout = io::stdout().lock();
    // Whoever reads this may have gone; the mail still comes.
    let _ = writeln!(stdout, "{entry}").and_then(|()| stdout.flush());
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("receive: {error}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receive: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> io::Result<()> {
    let Arguments { runtime, listen, limits, config, tls, delay, maildir, trace, .. } = arguments;
    let Arguments { refused, refused_content, trusted, users, .. } = arguments;
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    let named = |name: String| move |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let maildir = match maildir {
        Some(folder) => Some(Maildir::open(&folder).map_err(named(folder.display().to_string()))?),
        None => None,
    };
    let record = Box::new(|entry| print(&entry));
    let options = Arc::new(Options { maildir, trace, refused, refused_content, trusted, users, record });
    let new_handler = move |connection: &_| Recorder::new(&options, connection);
    let service = tls.into_iter().fold(adapter::Service::new(config), adapter::Service::tls);
    let mut listening = runtime::Options::new();
    listening.pause = delay;
    listening.limits = limits;
    let listening = listen.iter().fold(listening, |listening, address| listening.at(address, service.clone()));
    let service = Service::start_with(runtime, listening, new_handler).map_err(named(listen.join(" and ")))?;
    for address in service.addresses() {
        print(&json!({ "event": "listening", "address": address.to_string() }));
    }
    let handle = signals.handle();
    let service = Arc::new(service);
    let stopping = Arc::clone(&service);
    let listener = thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            if count == 0 { stopping.shut_down() } else { stopping.shut_down_now() }
        }
    });
    service.wait();
    handle.close();
    drop(listener.join());
    Ok(())
}
