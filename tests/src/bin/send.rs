//! A client that sends messages and prints what became of each as a JSON line. For tests against real servers, and
//! for people.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use lexopt::prelude::*;
use serde_json::{Value, json};
use smtp_proto::adapter::tls::ClientTls;
use smtp_proto::adapter::{Error, TlsProblem};
use smtp_proto::client::{Authentication, Config, Envelope, Outcome, RecipientOutcome, Timeouts, TlsPolicy, Verdict};
use smtp_proto::sasl::{Login, Mechanism};
use smtp_proto::transcript::Tap;
use smtp_proto::wire::Reply;
use smtp_tests::runtime::{Connecting, Mailer, Runtime, connect};

const USAGE: &str = "\
Usage: send --runtime tokio|async-std|blocking --server HOST:PORT --from ADDRESS --to ADDRESS... [options]

  --hello NAME           what the client calls itself (localhost)
  --file FILE            the message, as it is; may be repeated (a small message of its own)
  --repeat N             send everything N times (1)
  --connections K        over so many connections at once (1)
  --newlines POLICY      fix (default), reject, strip or pass a CR or LF that is not part of a CRLF
  --transcript           show the dialogue on standard error
  --tls POLICY           none (default), opportunistic, required (STARTTLS), or implicit
  --ca PEM               whom to trust, instead of whom the system trusts
  --tls-name NAME        the name the server's certificate must have, instead of HOST
  --auth USER:PASSWORD   authenticate
  --mechanism NAME       by this mechanism only, or these, separated by commas (the strongest that is offered); with
                         XOAUTH2 or OAUTHBEARER the password is the token
  --allow-clear-text-auth   send the password without TLS, if there is none
  --timeout SECONDS      how long to wait for each reply (as RFC 5321 says)

Prints one JSON object a message. Exits with 0 when all were delivered, else as sysexits.h says: 64 usage, 66 a file
cannot be read, 68 unknown host, 69 refused, 75 try again later, 76 protocol error, 77 not authenticated, or the server
is not the one that was meant.
";

/// Larger files are read while they are sent.
const IN_MEMORY: u64 = 16 * 1024 * 1024;

struct Arguments {
    runtime: Runtime,
    server: String,
    config: Config,
    envelope: Envelope,
    messages: Vec<Message>,
    repeat: usize,
    connections: usize,
    transcript: bool,
    timeout: Option<Duration>,
    tls: Option<ClientTls>,
}

struct Message {
    file: Option<PathBuf>,
    /// What is in it, unless it is read while it is sent.
    content: Option<Bytes>,
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    let (mut runtime, mut server, mut hello) = (None, None, "localhost".to_owned());
    let (mut from, mut to, mut files) = (None, Vec::new(), Vec::new());
    let (mut repeat, mut connections, mut transcript, mut timeout, mut policy) = (1, 1, false, None, None);
    let (mut policy_on_tls, mut ca, mut tls_name) = (TlsPolicy::None, None, None);
    let (mut user, mut mechanism, mut allow_clear_text_auth) = (None, None, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("runtime") => runtime = Some(parser.value()?.parse::<Runtime>()?),
            Long("server") => server = Some(parser.value()?.string()?),
            Long("hello") => hello = parser.value()?.string()?,
            Long("from") => from = Some(parser.value()?.string()?),
            Long("to") => {
                for address in parser.values()? {
                    to.push(address.string()?);
                }
            }
            Long("file") => files.push(PathBuf::from(parser.value()?)),
            Long("repeat") => repeat = parser.value()?.parse()?,
            Long("connections") => connections = parser.value()?.parse::<usize>()?.max(1),
            Long("newlines") => policy = Some(parser.value()?.parse_with(smtp_tests::bare_newline)?),
            Long("transcript") => transcript = true,
            Long("timeout") => timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
            Long("tls") => policy_on_tls = parser.value()?.parse_with(tls_policy)?,
            Long("ca") => ca = Some(PathBuf::from(parser.value()?)),
            Long("tls-name") => tls_name = Some(parser.value()?.string()?),
            Long("auth") => user = Some(smtp_tests::user_and_password(parser.value()?)?),
            Long("mechanism") => mechanism = Some(parser.value()?.parse_with(smtp_tests::mechanisms)?),
            Long("allow-clear-text-auth") => allow_clear_text_auth = true,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    let mut config = Config::new(&hello).map_err(|error| error.to_string())?;
    if let Some(timeout) = timeout {
        config.timeouts = Timeouts::all(timeout);
    }
    if let Some(policy) = policy {
        config.bare_newline = policy;
    }
    if mechanism.is_some() && user.is_none() {
        return Err("--mechanism: --auth is missing".into());
    }
    if (ca.is_some() || tls_name.is_some()) && policy_on_tls == TlsPolicy::None {
        return Err("--ca and --tls-name need --tls opportunistic, required or implicit".into());
    }
    config.tls = policy_on_tls;
    config.allow_clear_text_auth = allow_clear_text_auth;
    if let Some((name, password)) = user {
        let named = |name| mechanism.iter().flatten().any(|mechanism: &&dyn Mechanism| mechanism.name() == name);
        let login = match named("XOAUTH2") || named("OAUTHBEARER") {
            true => Login::token(name, password),
            false => Login::password(name, password),
        };
        let login = login.map_err(|error| error.to_string())?;
        config.authentication = Authentication::Required(match mechanism {
            Some(mechanism) => login.mechanisms(mechanism),
            None => login,
        });
    }
    let tls = match (ca, tls_name) {
        (None, None) => None,
        (ca, name) => {
            let tls = ca.map_or_else(ClientTls::system_roots, ClientTls::with_ca_file);
            let tls = tls.map_err(|error| error.to_string())?;
            Some(match name {
                Some(name) => tls.server_name(&name).map_err(|error| error.to_string())?,
                None => tls,
            })
        }
    };
    let from = from.ok_or("--from is missing")?;
    if to.is_empty() {
        return Err("--to is missing".into());
    }
    let envelope = Envelope::new(&from, &to).map_err(|error| error.to_string())?;
    let mut messages = Vec::new();
    for file in files {
        let content = fs::metadata(&file).and_then(|facts| match facts.len() {
            size if size > IN_MEMORY => Ok(None),
            _ => fs::read(&file).map(|content| Some(content.into())),
        });
        match content {
            Ok(content) => messages.push(Message { file: Some(file), content }),
            Err(error) => {
                eprintln!("send: {}: {error}", file.display());
                std::process::exit(66);
            }
        }
    }
    if messages.is_empty() {
        let text = format!("From: <{from}>\nTo: <{}>\nSubject: Test\n\nThis is a test.\n", to.join(">,\n <"));
        messages.push(Message { file: None, content: Some(text.into()) });
    }
    let server = server.ok_or("--server is missing")?;
    let runtime = runtime.ok_or("--runtime is missing")?;
    Ok(Some(Arguments { runtime, server, config, envelope, messages, repeat, connections, transcript, timeout, tls }))
}

fn tls_policy(name: &str) -> Result<TlsPolicy, &'static str> {
    match name {
        "none" => Ok(TlsPolicy::None),
        "opportunistic" => Ok(TlsPolicy::Opportunistic),
        "required" => Ok(TlsPolicy::Required),
        "implicit" => Ok(TlsPolicy::Implicit),
        _ => Err("one of none, opportunistic, required, implicit"),
    }
}

fn main() -> ExitCode {
    match arguments() {
        Ok(Some(arguments)) => run(&arguments),
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("send: {error}\n\n{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn run(arguments: &Arguments) -> ExitCode {
    let total = arguments.messages.len().saturating_mul(arguments.repeat);
    let next = AtomicUsize::new(0);
    let worst = AtomicU8::new(0);
    let stdout = Mutex::new(io::stdout());
    thread::scope(|scope| {
        for _ in 0..arguments.connections.min(total) {
            scope.spawn(|| {
                let mut mailer = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(message) = arguments.messages.get(number % arguments.messages.len()) else { break };
                    if number >= total {
                        break;
                    }
                    let result = send(arguments, &mut mailer, message);
                    worst.fetch_max(exit_code(&result), Ordering::Relaxed);
                    let mut line = report(&arguments.envelope, &result);
                    if let Some(entry) = line.as_object_mut() {
                        entry.insert("number".to_owned(), (number + 1).into());
                        entry.insert(
                            "file".to_owned(),
                            message.file.as_ref().map(|file| file.display().to_string()).into(),
                        );
                    }
                    if let Ok(mut stdout) = stdout.lock() {
                        // Whoever reads this may have gone; the messages still go out.
                        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
                    }
                }
                if let Some(Err(error)) = mailer.map(Mailer::quit) {
                    eprintln!("send: {error}");
                }
            });
        }
    });
    ExitCode::from(worst.into_inner())
}

/// Sends one message over the connection there is, or a new one.
fn send(arguments: &Arguments, mailer: &mut Option<Box<dyn Mailer>>, message: &Message) -> Result<Outcome, Error> {
    let open = match mailer {
        Some(open) => open,
        None => mailer.insert(connect(
            arguments.runtime,
            &arguments.server,
            arguments.config.clone(),
            Connecting {
                timeout: arguments.timeout,
                transcript: arguments
                    .transcript
                    .then(|| Box::new(|entry: smtp_proto::transcript::Entry<'_>| eprintln!("{entry}")) as Tap),
                tls: arguments.tls.clone(),
                source: None,
            },
        )?),
    };
    let envelope = arguments.envelope.clone();
    let result = match (&message.content, &message.file) {
        (None, Some(file)) => open.send_file(envelope, file),
        (content, _) => open.send(envelope, content.clone().unwrap_or_default()),
    };
    if result.is_err() || mailer.as_ref().is_some_and(|mailer| mailer.is_over()) {
        *mailer = None;
    }
    result
}

fn exit_code(result: &Result<Outcome, Error>) -> u8 {
    const REFUSED: u8 = 69;
    const TRY_AGAIN: u8 = 75;
    const NOT_PERMITTED: u8 = 77;
    match result {
        Ok(outcome) if outcome.is_delivered() => 0,
        Ok(Outcome { error: Some(smtp_proto::Error::Peer(_)), .. }) => 76,
        Ok(outcome) if outcome.recipients.iter().any(RecipientOutcome::is_transient) => TRY_AGAIN,
        Ok(_) => REFUSED,
        Err(Error::Resolve { .. }) => 68,
        Err(Error::Content(_)) => 66,
        Err(Error::Smtp { source: smtp_proto::Error::Peer(_), .. }) => 76,
        Err(error) if error.tls_problem().is_some_and(TlsProblem::is_about_certificate) => NOT_PERMITTED,
        Err(error) if error.is_transient() => TRY_AGAIN,
        Err(Error::Smtp { source: smtp_proto::Error::Authentication(_) | smtp_proto::Error::Tls(_), .. }) => {
            NOT_PERMITTED
        }
        Err(error) if error.tls_problem().is_some() => NOT_PERMITTED,
        Err(_) => REFUSED,
    }
}

fn report(envelope: &Envelope, result: &Result<Outcome, Error>) -> Value {
    let addresses = envelope.recipients.iter().map(ToString::to_string);
    match result {
        Ok(outcome) => json!({
            "outcome": match outcome.verdict() {
                Verdict::Delivered => "delivered",
                Verdict::Partial => "partial",
                Verdict::Refused => "refused",
                Verdict::Unknown => "unknown",
            },
            "recipients": addresses.zip(&outcome.recipients).map(|(address, one)| recipient(&address, one)).collect::<Vec<_>>(),
            "reply": outcome.reply.as_ref().map(reply),
            "error": outcome.error.as_ref().map(ToString::to_string),
        }),
        Err(error) => json!({
            "outcome": "refused",
            "recipients": addresses.map(|address| json!({ "address": address, "outcome": "failed" })).collect::<Vec<_>>(),
            "reply": error.reply().map(reply),
            "error": error.to_string(),
        }),
    }
}

fn recipient(address: &str, outcome: &RecipientOutcome) -> Value {
    let mut entry = json!({
        "address": address,
        "outcome": match outcome {
            RecipientOutcome::Accepted(_) => "accepted",
            RecipientOutcome::Refused { .. } => "refused",
            RecipientOutcome::Unknown(_) => "unknown",
            _ => "failed",
        },
    });
    if let (Some(entry), Some(Value::Object(reply))) = (entry.as_object_mut(), outcome.reply().map(reply)) {
        entry.extend(reply);
    }
    entry
}

fn reply(reply: &Reply) -> Value {
    json!({
        "code": reply.code().value(),
        "enhanced": reply.enhanced().map(|enhanced| enhanced.to_string()),
        "text": reply.text(),
    })
}
