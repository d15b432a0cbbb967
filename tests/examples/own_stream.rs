//! A stream of the program's own, whatever it goes through; here both ends are in this process, so that a program's mail
//! can be tested without a network: `cargo run --example own_stream`.

use smtp_proto::client::{self, Envelope, TlsPolicy};
use smtp_proto::server::{Config, Connection, Decision, Handler, Session};
use smtp_tokio::{Connector, Handle, serve_connection};

struct Sink;

impl Handler for Sink {
    async fn message_end(&mut self, _: &Session, size: u64) -> Decision {
        println!("{size} octets");
        Decision::Accept
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move {
        let config = Config::new("mail.example.net")?;
        serve_connection(theirs, Connection::new(1, None), config, Sink, &Handle::default()).await
    });

    let mut config = client::Config::new("client.example.org")?;
    config.tls = TlsPolicy::None;
    // The name is for messages, and what a certificate would have to be for.
    let mut client = Connector::new(config).connect_over(ours, "mail.example.net").await?;
    let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
    assert!(client.send(envelope, "Subject: Hi\n\nHello!\n").await?.is_delivered());
    client.quit().await?;
    server.await??;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
