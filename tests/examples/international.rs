//! Addresses in any script (SMTPUTF8): `cargo run --example international`.
//!
//! The extension is asked for where an address needs it. Set `Envelope::smtputf8` where only header fields do.

use smtp_blocking::Client;
use smtp_proto::client::Envelope;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let envelope = Envelope::new("jörg@例え.jp", ["δοκιμή@παράδειγμα.gr", "joe@example.net"])?;
    let message = "Subject: Γειά σου\n\nHello!\n";

    let office = PostOffice::open()?;
    let mut client = Client::connect_url(&office.url())?;
    assert!(client.send(envelope.clone(), message)?.is_delivered());
    client.quit()?;
    let letter = &office.letters()[0];
    println!("from {} for {}, {}", letter.mail.reverse_path, letter.recipients[0].forward_path, letter.protocol);
    assert_eq!(letter.protocol, "UTF8SMTP");

    // A server without it is not sent any of it.
    let old = PostOffice::open_at("127.0.0.1:0", |config| config.smtputf8 = false)?;
    let mut client = Client::connect_url(&old.url())?;
    let outcome = client.send(envelope, message)?;
    println!("{}", outcome.recipients[0]);
    assert!(!outcome.is_delivered());
    client.quit()?;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
