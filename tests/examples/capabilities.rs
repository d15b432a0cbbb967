//! What a server offers, whether it would take a message, and commands of one's own: `cargo run --example capabilities`.

use smtp_proto::client::Envelope;
use smtp_tests::post_office::PostOffice;
use smtp_tokio::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    // That this works is the test of a connection, its TLS and its login.
    let mut client = Client::connect_url(&office.url()).await?;

    let capabilities = client.capabilities();
    assert!(capabilities.contains("PIPELINING"));
    println!("at most {:?} octets, {:?}", capabilities.size_limit(), capabilities.mechanisms().collect::<Vec<_>>());
    for capability in capabilities.iter() {
        println!("{} {}", capability.keyword(), capability.parameters());
    }

    // Sender and recipients, but no message.
    let envelope = Envelope::new("jane@example.org", ["joe@example.net", "nobody@example.net"])?;
    let outcome = client.probe(envelope).await?;
    assert!(outcome.recipients[0].is_accepted() && !outcome.recipients[1].is_accepted());

    for command in ["NOOP", "VRFY joe", "HELP"] {
        println!("{command}: {}", client.command(command).await?);
    }
    client.quit().await?;
    assert!(office.letters().is_empty());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
