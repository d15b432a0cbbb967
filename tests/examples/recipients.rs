//! Several recipients, each with an outcome of their own: `cargo run --example recipients`.

use smtp_blocking::Client;
use smtp_proto::client::{Envelope, RecipientOutcome, Verdict};
use smtp_proto::wire::Reply;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let mut client = Client::connect_url(&office.url())?;
    let envelope = Envelope::new("jane@example.org", ["joe@example.net", "nobody@example.net", "busy@example.net"])?;
    let outcome = client.send(envelope.clone(), "Subject: Hi\n\nHello!\n")?;
    client.quit()?;

    // That some are refused keeps no other from the message, and is no error.
    assert_eq!(outcome.verdict(), Verdict::Partial);
    for (recipient, outcome) in envelope.recipients.iter().zip(&outcome.recipients) {
        match outcome {
            RecipientOutcome::Accepted(_) => println!("{recipient} has it"),
            RecipientOutcome::Unknown(error) => println!("{recipient} may have it: {error}"),
            refused if refused.is_permanent() => println!("{recipient} never: {refused}"),
            refused => println!("{recipient} later: {refused}"),
        }
    }
    let enhanced = outcome.recipients[1].reply().and_then(Reply::enhanced);
    assert_eq!(enhanced.map(|code| code.to_string()).as_deref(), Some("5.1.1"));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
