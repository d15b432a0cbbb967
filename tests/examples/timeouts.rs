//! How long to wait, for a connection and for each reply: `cargo run --example timeouts`.
//!
//! The defaults are 30 s for each address of a server, and what RFC 5321 section 4.5.3.2 says for each command.

use std::net::TcpListener;
use std::time::Duration;

use smtp_proto::client::{Config, TlsPolicy};
use smtp_tokio::Connector;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0")?;

    let mut config = Config::new("client.example.org")?;
    config.tls = TlsPolicy::None;
    config.timeouts.greeting = Duration::from_millis(100);
    config.timeouts.end_of_data = Duration::from_secs(1200);
    let connector = Connector::new(config).connect_timeout(Duration::from_secs(5));
    let error = connector.connect(&silent.local_addr()?.to_string()).await.err().ok_or("it said something")?;
    println!("{error}");
    assert!(error.is_timeout() && error.is_transient());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
