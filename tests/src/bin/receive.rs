//! A server that accepts mail and prints what happens as JSON lines. For tests against real clients, and for people.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lexopt::prelude::*;
use serde_json::{Value, json};
use smtp_proto::adapter::tls::ServerTls;
use smtp_proto::server::{Config, MIN_MESSAGE_SIZE, MIN_RECIPIENTS, TlsPolicy};
use smtp_proto::wire::{BareNewline, ForwardPath, Reply, Severity};
use smtp_proto::{Secret, sasl};
use smtp_tests::maildir::Maildir;
use smtp_tests::recorder::{Options, Recorder};
use smtp_tests::runtime::{Runtime, Service};

const USAGE: &str = "\
Usage: receive --runtime tokio|async-std|blocking --listen ADDR:PORT [options]

  --hostname NAME               what the server calls itself (localhost)
  --maildir DIR                 store messages there
  --bare-newline POLICY         reject (default), fix, strip or pass a CR or LF that is not part of a CRLF
  --max-size OCTETS             the largest message, at least 65536 (26214400)
  --max-recipients N            the most recipients, at least 100 (1000)
  --reject-rcpt ADDRESS=REPLY   refuse a recipient, for example 'a@b.test=550 5.1.1 No such user'; may be repeated
  --delay-ms N                  wait before every decision (0)
  --tls-cert PEM --tls-key PEM  offer STARTTLS with this certificate (and its chain) and key
  --implicit-tls                begin TLS with the connection instead
  --require-tls                 serve little before STARTTLS
  --auth USER:PASSWORD          let this user authenticate; may be repeated
  --require-auth                take no mail from others
  --mechanisms LIST             separated by commas, of PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, their
                                variants ending in -PLUS, XOAUTH2, OAUTHBEARER (the password is the token), ANONYMOUS
                                (SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN and LOGIN where there is a user)
  --allow-clear-text-auth       let passwords be sent without TLS

Prints one JSON object a line. Port 0 takes a free port; the first line tells which. SIGTERM and SIGINT end it when
running transactions have ended; a second one breaks these off.
";

struct Arguments {
    runtime: Runtime,
    listen: String,
    config: Config,
    maildir: Option<PathBuf>,
    refused: Vec<(ForwardPath, Reply)>,
    delay: Duration,
    tls: Option<ServerTls>,
    users: Vec<(String, Secret)>,
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    let (mut runtime, mut listen, mut hostname) = (None, None, "localhost".to_owned());
    let (mut maildir, mut refused, mut delay) = (None, Vec::new(), Duration::ZERO);
    let (mut policy, mut size, mut recipients) = (None, None, None);
    let (mut certificate, mut key, mut implicit_tls, mut require_tls) = (None, None, false, false);
    let (mut users, mut require_auth, mut mechanisms, mut allow_clear_text_auth) = (Vec::new(), false, None, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("runtime") => runtime = Some(parser.value()?.parse::<Runtime>()?),
            Long("listen") => listen = Some(parser.value()?.string()?),
            Long("hostname") => hostname = parser.value()?.string()?,
            Long("maildir") => maildir = Some(PathBuf::from(parser.value()?)),
            Long("bare-newline") => policy = Some(parser.value()?.parse_with(smtp_tests::bare_newline)?),
            Long("max-size") => size = Some(parser.value()?.parse::<u64>()?),
            Long("max-recipients") => recipients = Some(parser.value()?.parse::<u32>()?),
            Long("reject-rcpt") => refused.push(parser.value()?.parse_with(refusal)?),
            Long("delay-ms") => delay = Duration::from_millis(parser.value()?.parse()?),
            Long("tls-cert") => certificate = Some(PathBuf::from(parser.value()?)),
            Long("tls-key") => key = Some(PathBuf::from(parser.value()?)),
            Long("implicit-tls") => implicit_tls = true,
            Long("require-tls") => require_tls = true,
            Long("auth") => users.push(smtp_tests::user_and_password(parser.value()?)?),
            Long("require-auth") => require_auth = true,
            Long("mechanisms") => mechanisms = Some(parser.value()?.parse_with(smtp_tests::mechanisms)?),
            Long("allow-clear-text-auth") => allow_clear_text_auth = true,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    let mut config = Config::new(&hostname).map_err(|error| error.to_string())?;
    config.bare_newline = policy.unwrap_or(BareNewline::Reject);
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            config.tls = match () {
                () if implicit_tls => TlsPolicy::Implicit,
                () if require_tls => TlsPolicy::Required,
                () => TlsPolicy::Offered,
            };
            Some(ServerTls::from_pem_files(certificate, key).map_err(|error| error.to_string())?)
        }
        (None, None) if implicit_tls || require_tls => return Err("--tls-cert and --tls-key are missing".into()),
        (None, None) => None,
        _ => return Err("--tls-cert and --tls-key belong together".into()),
    };
    if require_auth && users.is_empty() && mechanisms.is_none() {
        return Err("--require-auth: nobody can authenticate; --auth is missing".into());
    }
    config.requiretls = tls.is_some();
    config.require_auth = require_auth;
    config.allow_clear_text_auth = allow_clear_text_auth;
    config.mechanisms = match mechanisms {
        Some(mechanisms) => mechanisms,
        None if users.is_empty() => Vec::new(),
        None => vec![sasl::SCRAM_SHA_256_PLUS, sasl::SCRAM_SHA_256, sasl::PLAIN, sasl::LOGIN],
    };
    match size {
        Some(size) if size < MIN_MESSAGE_SIZE => return Err("--max-size: RFC 5321 asks for at least 65536".into()),
        Some(size) => config.limits.message_size = Some(size),
        None => {}
    }
    match recipients {
        Some(count) if count < MIN_RECIPIENTS => return Err("--max-recipients: RFC 5321 asks for at least 100".into()),
        Some(count) => config.limits.recipients = count,
        None => {}
    }
    Ok(Some(Arguments {
        runtime: runtime.ok_or("--runtime is missing")?,
        listen: listen.ok_or("--listen is missing")?,
        config,
        maildir,
        refused,
        delay,
        tls,
        users,
    }))
}

/// `ADDRESS=REPLY`, where both may hold a `=`.
fn refusal(text: &str) -> Result<(ForwardPath, Reply), &'static str> {
    let refuses = |reply: &Reply| matches!(reply.severity(), Severity::Temporary | Severity::Permanent);
    text.match_indices('=')
        .find_map(|(at, _)| Some((text.get(..at)?.parse().ok()?, text.get(at + 1..)?.parse().ok().filter(refuses)?)))
        .ok_or("ADDRESS=REPLY, for example 'a@b.test=550 5.1.1 No such user'")
}

fn print(entry: &Value) {
    let mut stdout = io::stdout().lock();
    // Whoever reads this may have gone; the mail still comes.
    let _ = writeln!(stdout, "{entry}").and_then(|()| stdout.flush());
}

fn main() -> ExitCode {
    let arguments = match arguments() {
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
    let Arguments { runtime, listen, config, maildir, refused, delay, tls, users } = arguments;
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    let named = |name: String| move |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let maildir = match maildir {
        Some(folder) => Some(Maildir::open(&folder).map_err(named(folder.display().to_string()))?),
        None => None,
    };
    let options = Arc::new(Options { maildir, refused, users, record: Box::new(|entry| print(&entry)) });
    let new_handler = move |connection: &_| Recorder::new(&options, connection);
    let service = Service::start_with_tls(runtime, &listen, config, tls, delay, new_handler).map_err(named(listen))?;
    print(&json!({ "event": "listening", "address": service.address().to_string() }));
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
