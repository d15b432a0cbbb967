//! A message that is never in memory as a whole, out of a file or whatever else can be read: `cargo run --example streaming`.

use std::io::{Cursor, Read, repeat};

use smtp_blocking::{Client, Mailer};
use smtp_proto::client::Envelope;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let mut client = Client::connect_url(&office.url())?;
    let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;

    // Of unknown length, with the line ends that it has.
    let line = "A long story.\n".repeat(10_000);
    let story = Cursor::new("Subject: A story\n\n").chain(Cursor::new(line)).chain(repeat(b'!').take(3));
    let outcome = client.send_from(envelope.clone(), story, None)?;
    assert!(outcome.is_delivered());

    // Where the size is known, a server that takes no such message says so before any of it is sent.
    let endless = Cursor::new("Subject: Endless\n\n").chain(repeat(b'!'));
    let outcome = client.send_from(envelope.clone(), endless, Some(10_000_000_000))?;
    println!("{}", outcome.recipients[0]);
    assert!(!outcome.recipients[0].is_transient());

    // A slice can be read like a file. `send` takes what is `Into<Bytes>`: text and octets that are given away.
    let note = String::from("Subject: Borrowed\n\nHello!\n");
    let borrowed = note.as_bytes();
    assert!(client.send_from(envelope.clone(), borrowed, None)?.is_delivered());
    assert!(client.send(envelope.clone(), borrowed.to_vec())?.is_delivered());
    client.quit()?;

    // A mailer may try several times, and opens the file for each.
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, "Subject: From a file\n\nHello!\n")?;
    let mailer = Mailer::from_url(&office.url())?;
    let report = mailer.send_from(envelope, None, || std::fs::File::open(&file))?;
    assert!(report.outcome.is_delivered());
    mailer.close();

    let sizes: Vec<usize> = office.letters().iter().map(|letter| letter.content.len()).collect();
    println!("messages of {sizes:?} octets arrived");
    assert_eq!(sizes.len(), 4);
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
