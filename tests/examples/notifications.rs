//! Parameters of envelopes: notifications (DSN), priority, a time limit: `cargo run --example notifications`.
//!
//! What a server does not offer is left out where the standard lets it, and the outcome says so; else the message is
//! refused before any of it is sent.

use smtp_async_std::Client;
use smtp_proto::client::Envelope;
use smtp_proto::wire::{ByMode, DeliverBy, EnvelopeId, Notify, OriginalRecipient, Priority, Ret};
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    async_std::task::block_on(async {
        let office = PostOffice::open_at("127.0.0.1:0", |config| config.dsn = true)?;
        let mut client = Client::connect_url(&office.url()).await?;

        let mut envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
        envelope.ret = Some(Ret::Headers);
        envelope.envelope_id = Some(EnvelopeId::new("order 1234")?);
        let joe = &mut envelope.recipients[0].parameters;
        joe.notify = Some(Notify { success: true, failure: true, delay: false });
        joe.original_recipient = Some(OriginalRecipient::new("rfc822", "joe@example.com")?);
        // This server has no priorities, which is no harm.
        envelope.priority = Some(Priority::new(3)?);
        let outcome = client.send(envelope.clone(), "Subject: Hi\n\nHello!\n").await?;
        assert!(outcome.is_delivered());
        assert_eq!(outcome.left_out, ["MT-PRIORITY"]);
        println!("without {:?}; and this is what it got: {:?}", outcome.left_out, office.letters()[0].mail.parameters);

        // Nor can it return what comes too late, which the sender insists on.
        envelope.deliver_by = Some(DeliverBy::new(3600, ByMode::Return, false)?);
        let outcome = client.send(envelope, "Subject: Hi\n\nHello!\n").await?;
        println!("{}", outcome.recipients[0]);
        assert!(!outcome.is_delivered());

        client.quit().await?;
        assert_eq!(office.letters()[0].mail.parameters.ret, Some(Ret::Headers));
        assert_eq!(office.letters().len(), 1);
        Ok(())
    })
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
