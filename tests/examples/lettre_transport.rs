//! A program written for lettre, with a transport of ours: `cargo run --example lettre_transport`.
//!
//! The feature `lettre` of smtp-tokio brings an `AsyncTransport`, that of smtp-blocking a `Transport`.

use lettre::{AsyncTransport, Message};
use smtp_tests::post_office::PostOffice;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;

    // The line that changes. Before: AsyncSmtpTransport::<Tokio1Executor>::from_url(&url)?.build()
    let mailer = smtp_tokio::LettreTransport::from_url(&office.url())?;

    let message = Message::builder()
        .from("Jane Doe <jane@example.org>".parse()?)
        .to("Joe <joe@example.net>".parse()?)
        .subject("Hi")
        .body("Hello!".to_owned())?;
    mailer.send(message).await?;
    mailer.shutdown().await;

    println!("{}", String::from_utf8_lossy(&office.letters()[0].content));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
