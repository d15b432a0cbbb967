//! The client's name, and the address that it connects from: `cargo run --example connector`.

use std::net::Ipv4Addr;

use smtp_proto::client::{Config, Envelope, TlsPolicy};
use smtp_proto::delivery::Url;
use smtp_tests::post_office::PostOffice;
use smtp_tokio::Connector;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;

    // Everything by itself: a configuration, and a connector that can be used as often as one likes.
    let mut config = Config::new("client.example.org")?;
    config.tls = TlsPolicy::None;
    let connector = Connector::new(config).source_address(Ipv4Addr::LOCALHOST.into());
    let mut client = connector.clone().connect(&office.address().to_string()).await?;
    assert!(client.send(envelope.clone(), "Subject: Hi\n\nHello!\n").await?.is_delivered());
    client.quit().await?;

    // Or what a URL says, and something besides. Without a name there, the client says the address of its end.
    let url: Url = office.url().parse()?;
    let connector = Connector::from_url(&url)?.transcript(|entry| println!("{entry}"));
    let mut client = connector.connect_endpoint(url.endpoint()).await?;
    assert!(client.send(envelope, "Subject: Hi\n\nHello!\n").await?.is_delivered());
    client.quit().await?;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
