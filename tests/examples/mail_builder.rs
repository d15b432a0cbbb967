//! A message with text, HTML and an attachment, made by the crate mail-builder: `cargo run --example mail_builder`.

use mail_builder::MessageBuilder;
use smtp_tests::post_office::PostOffice;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;

    let message = MessageBuilder::new()
        .from(("Jane Doe", "jane@example.org"))
        .to(vec![("Joe", "joe@example.net"), ("Ann", "ann@example.net")])
        .subject("Grüße")
        .text_body("Hello!\n")
        .html_body("<p>Hello!</p>\n")
        .attachment("image/png", "pixel.png", vec![0x89, b'P', b'N', b'G'])
        .write_to_vec()?;
    smtp_tokio::send(&office.url(), "jane@example.org", ["joe@example.net", "ann@example.net"], message).await?;

    let content = String::from_utf8(office.letters()[0].content.clone())?;
    println!("{content}");
    assert!(content.contains("pixel.png"));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
