//! The dialogue with the server, for people, without passwords: `cargo run --example transcript`.
//!
//! Each line begins with the number of the session and the seconds since it began. Servers have the same:
//! `Service::transcript`. The feature `tracing` tells programs.

use std::sync::{Arc, Mutex};

use smtp_blocking::Connector;
use smtp_blocking::tls::ClientTls;
use smtp_proto::client::{Authentication, Config, Envelope};
use smtp_proto::sasl::{self, Login};
use smtp_proto::transcript::{Speaker, to_writer};
use smtp_tests::post_office::{PASSWORD, PostOffice, USER};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let mut config = Config::new("client.example.org")?;
    config.authentication = Authentication::Required(Login::password(USER, PASSWORD)?.mechanisms([sasl::PLAIN]));
    let connector = Connector::new(config).tls(ClientTls::with_ca_pem(office.authority().pem().as_bytes())?);

    // To whatever can be written to.
    let mut client =
        connector.clone().transcript(to_writer(std::io::stdout())).connect(&office.address().to_string())?;
    client.send(Envelope::new("jane@example.org", ["joe@example.net"])?, "Subject: Hi\n\nHello!\n")?;
    client.quit()?;

    // Or to the program itself.
    let replies = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&replies);
    let connector = connector.transcript(move |entry| {
        assert!(!entry.to_string().contains(PASSWORD));
        if entry.speaker == Speaker::Server
            && let Ok(mut heard) = heard.lock()
        {
            heard.push((entry.at.elapsed(), entry.to_string()));
        }
    });
    connector.connect(&office.address().to_string())?.quit()?;
    let replies = replies.lock().map_err(|_| "a session panicked")?;
    println!("\n{} lines of replies, the last one: {:?}", replies.len(), replies.last());
    assert!(replies.last().is_some_and(|(_, line)| line.starts_with("S: 221")));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
