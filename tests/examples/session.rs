//! A session, kept for many messages and closed behind the last: `cargo run --example session`.
//!
//! `send_all` does not wait for each reply: the next message is on its way while the server still judges the one before.

use smtp_async_std::Client;
use smtp_proto::client::Envelope;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    async_std::task::block_on(async {
        let office = PostOffice::open()?;
        let mut client = Client::connect_url(&office.url()).await?;

        // One by one.
        let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
        let outcome = client.send(envelope, "Subject: One\n\nHi!\n").await?;
        println!("{:?}: {:?}", outcome.verdict(), outcome.reply);

        // One behind the other.
        let envelopes =
            ["joe", "ann", "jim"].map(|name| Envelope::new("jane@example.org", [format!("{name}@example.net")]));
        let envelopes: Vec<Envelope> = envelopes.into_iter().collect::<Result<_, _>>()?;
        let mut outcomes = client.send_all(envelopes.into_iter().map(|envelope| (envelope, "Subject: All\n\nHi!\n")));
        while let Some(outcome) = outcomes.next().await {
            println!("{:?}", outcome?.verdict());
        }

        client.quit().await?;
        assert_eq!(office.letters().len(), 4);
        Ok(())
    })
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
