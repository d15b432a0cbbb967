//! A message made by the crate lettre, sent by a client of ours: `cargo run --example lettre_message`.

use lettre::Message;
use lettre::message::MultiPart;
use smtp_blocking::Client;
use smtp_proto::client::Envelope;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;

    let message = Message::builder()
        .from("Jane Doe <jane@example.org>".parse()?)
        .to("Joe <joe@example.net>".parse()?)
        .bcc("ann@example.net".parse()?)
        .subject("Grüße")
        .multipart(MultiPart::alternative_plain_html("Hello!".to_owned(), "<p>Hello!</p>".to_owned()))?;
    // Sender and recipients, also those in blind copy, as lettre found them.
    let sender = message.envelope().from().map_or("", AsRef::as_ref);
    let envelope = Envelope::new(sender, message.envelope().to())?;

    let mut client = Client::connect_url(&office.url())?;
    assert!(client.send(envelope, message.formatted())?.is_delivered());
    client.quit()?;

    let letter = &office.letters()[0];
    println!("{}", String::from_utf8_lossy(&letter.content));
    assert_eq!(letter.recipients.len(), 2);
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
