//! All about a server in one line of configuration: `cargo run --example connection_url`.

use smtp_proto::client::Envelope;
use smtp_proto::delivery::Url;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What a URL says can be looked at, and shown: the password never is.
    let url: Url = "smtps://jane:s3cret@mail.example.net?connections=3&rate=100/m".parse()?;
    assert_eq!(url.to_string(), "smtps://jane:***@mail.example.net:465");
    assert_eq!(url.pool_policy().connections, 3);

    // What is wrong with one is said without repeating it.
    let error = "smtp://mail.example.net?tls=maybe".parse::<Url>().err().ok_or("there is no such policy")?;
    assert_eq!(error.to_string(), "the option tls is not required, opportunistic or none");

    let office = PostOffice::open()?;
    let url = format!("smtp://{}?tls=none&hello=client.example.org&timeout=5", office.address());
    let mut client = smtp_blocking::Client::connect_url(&url)?;
    let outcome = client.send(Envelope::new("jane@example.org", ["joe@example.net"])?, "Subject: Hi\n\nHello!\n")?;
    assert!(outcome.is_delivered());
    client.quit()?;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
