//! A message through a real SMTP session on each runtime: `cargo run --example quickstart [-- FILE.eml]`.
//!
//! A server is started in this process on a free loopback port, with a certificate made on the spot. The client begins
//! TLS, authenticates, and sends the message to three recipients, one of whom the server does not know; it is stored as
//! a file.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs};

use bytes::Bytes;
use smtp_proto::adapter::tls::{ClientTls, ServerTls};
use smtp_proto::client::{self, Envelope};
use smtp_proto::sasl::{self, Login};
use smtp_proto::server;
use smtp_tests::certificates::Authority;
use smtp_tests::maildir::Maildir;
use smtp_tests::recorder::{Options, Recorder};
use smtp_tests::runtime::{Connecting, Runtime, Service, connect};

fn main() -> Result<(), Box<dyn Error>> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/message.eml");
    let file = env::args_os().nth(1).map_or(example, PathBuf::from);
    let message: Bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?.into();
    let folder = env::temp_dir().join(format!("smtp-quickstart-{}", std::process::id()));

    let authority = Authority::new()?;

    for runtime in Runtime::ALL {
        println!("== {} ==\n", runtime.name());
        let stored = Arc::new(Mutex::new(Vec::new()));
        let options = Arc::new(Options {
            maildir: Some(Maildir::open(folder.join(runtime.name()))?),
            users: vec![("jane".to_owned(), "correct horse battery staple".into())],
            refused: vec![("nobody@example.net".parse()?, "550 5.1.1 No such user".parse()?)],
            record: Box::new({
                let stored = Arc::clone(&stored);
                move |event| {
                    if let (Some(file), Ok(mut stored)) = (event["file"].as_str(), stored.lock()) {
                        stored.push(PathBuf::from(file));
                    }
                }
            }),
            ..Options::default()
        });
        let mut config = server::Config::new("mail.example.net")?;
        // Whatever is in the reader's own file.
        config.limits.message_size = None;
        config.limits.text_line = usize::MAX;
        config.allow_nul = true;
        let new_handler = move |connection: &_| Recorder::new(&options, connection);
        config.tls = server::TlsPolicy::Required;
        config.mechanisms = vec![sasl::SCRAM_SHA_256_PLUS, sasl::PLAIN];
        config.require_auth = true;
        let certificate = authority.server(&["127.0.0.1"])?;
        let tls = ServerTls::from_pem(certificate.certificate.as_bytes(), certificate.key.as_bytes())?;
        let service = Service::start_with_tls(runtime, "127.0.0.1:0", config, Some(tls), Duration::ZERO, new_handler)?;

        let show = Box::new(|entry: smtp_proto::transcript::Entry<'_>| println!("  {entry}"));
        let mut config = client::Config::new("client.example.org")?;
        config.text_line = usize::MAX;
        config.tls = client::TlsPolicy::Required;
        config.authentication =
            client::Authentication::Required(Login::password("jane", "correct horse battery staple")?);
        let tls = ClientTls::with_ca_pem(authority.pem().as_bytes())?;
        let connecting = Connecting { transcript: Some(show), tls: Some(tls), ..Connecting::default() };
        let mut client = connect(runtime, &service.address().to_string(), config, connecting)?;
        let recipients = ["joe@example.net", "nobody@example.net", "postmaster@example.net"];
        let outcome = client.send(Envelope::new("jane@example.org", recipients)?, message.clone())?;
        client.quit()?;
        service.shut_down();
        service.wait();

        println!("\n  outcome: {:?}", outcome.verdict());
        for (recipient, outcome) in recipients.iter().zip(&outcome.recipients) {
            println!("  {recipient}: {outcome}");
        }
        let stored = stored.lock().map_err(|_| "the server failed")?;
        for file in stored.iter() {
            let kept = fs::read(file)?;
            let same = lines(&kept) == lines(&message);
            println!("  stored as {}", file.display());
            println!("  {}\n", if same { "identical but for line ends" } else { "DIFFERENT from what was sent" });
            if !same {
                return Err("the message arrived changed".into());
            }
        }
        if stored.is_empty() {
            return Err("the message was not stored".into());
        }
    }
    Ok(())
}

/// The message with LF line ends, whichever it has, and none at its end.
fn lines(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut last = b'\n';
    for octet in message {
        match (last, octet) {
            (b'\r', b'\n') => {}
            (_, b'\r' | b'\n') => lines.push(b'\n'),
            _ => lines.push(*octet),
        }
        last = *octet;
    }
    if lines.last() == Some(&b'\n') {
        lines.pop();
    }
    lines
}
