//! LMTP over a Unix socket, as to a delivery agent, where each recipient has a verdict behind the message:
//! `cargo run --example delivery_agent`.

use smtp_blocking::Client;
use smtp_proto::client::Envelope;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("lmtp").display().to_string();
    let office = PostOffice::open_at(&format!("unix:{socket}"), |config| config.lmtp = true)?;

    let mut client = Client::connect_url(&format!("lmtp+unix://{socket}"))?; // lmtp://host over TCP
    let envelope = Envelope::new("jane@example.org", ["joe@example.net", "nobody@example.net"])?;
    let outcome = client.send(envelope, "Subject: Hi\n\nHello!\n")?;
    client.quit()?;
    println!("{} and {}", outcome.recipients[0], outcome.recipients[1]);
    assert!(outcome.recipients[0].is_accepted() && !outcome.recipients[1].is_accepted());
    assert_eq!(office.letters()[0].protocol, "LMTP");
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
