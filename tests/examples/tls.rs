//! TLS from the first octet, an authority of one's own, and a certificate of the client: `cargo run --example tls`.
//!
//! Without `Connector::tls`, the authorities that the system trusts are trusted.

use smtp_proto::client::{Authentication, Config, Envelope, TlsPolicy};
use smtp_proto::sasl::Login;
use smtp_proto::server;
use smtp_tests::certificates::Certificate;
use smtp_tests::post_office::{PostOffice, USER};
use smtp_tokio::Connector;
use smtp_tokio::tls::ClientTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open_at("127.0.0.1:0", |config| config.tls = server::TlsPolicy::Implicit)?;
    let address = office.address().to_string();
    let Certificate { certificate, key } = office.authority().client(USER)?;

    let mut config = Config::new("client.example.org")?;
    config.tls = TlsPolicy::Implicit;
    // The certificate is what the client proves itself with (SASL EXTERNAL); there are passwords and tokens as well.
    config.authentication = Authentication::Required(Login::external());
    let tls = ClientTls::with_ca_pem(office.authority().pem().as_bytes())?; // or a file: with_ca_file
    let tls = tls.certificate_pem(certificate.as_bytes(), key.as_bytes())?;

    let mut client = Connector::new(config.clone()).tls(tls).connect(&address).await?;
    println!("{:?}", client.tls());
    let envelope = Envelope::new("jane@example.org", ["joe@example.net"])?;
    assert!(client.send(envelope, "Subject: Hi\n\nHello!\n").await?.is_delivered());
    client.quit().await?;
    assert_eq!(office.letters()[0].protocol, "ESMTPSA");

    // Nobody else vouches for that server, and the error says what to do about it.
    let stranger = smtp_tests::certificates::Authority::new()?;
    let tls = ClientTls::with_ca_pem(stranger.pem().as_bytes())?;
    let error = Connector::new(config).tls(tls).connect(&address).await.err().ok_or("a stranger is trusted")?;
    println!("{error}");
    assert!(error.tls_problem().is_some());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
