//! Passwords, tokens and mechanisms: `cargo run --example authentication`.

use smtp_blocking::Connector;
use smtp_blocking::tls::ClientTls;
use smtp_proto::client::{Authentication, Config};
use smtp_proto::sasl::{self, InvalidLogin, Login};
use smtp_tests::post_office::{PASSWORD, PostOffice, TOKEN, USER};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let tls = ClientTls::with_ca_pem(office.authority().pem().as_bytes())?;
    let log_in = |login: Login| {
        let mut config = Config::new("client.example.org")?;
        config.authentication = Authentication::Required(login);
        let client = Connector::new(config).tls(tls.clone()).connect(&office.address().to_string())?;
        let mechanism = client.mechanism().unwrap_or_default().to_owned();
        client.quit()?;
        println!("authenticated with {mechanism}");
        Ok::<_, Box<dyn std::error::Error>>(mechanism)
    };
    let password = || -> Result<Login, InvalidLogin> { Login::password(USER, PASSWORD) };

    // The strongest that the server offers and that goes with what the client has.
    assert_eq!(log_in(password()?)?, "SCRAM-SHA-256-PLUS");
    assert_eq!(log_in(Login::token(USER, TOKEN)?)?, "OAUTHBEARER");

    // Or these alone: CRAM-MD5 by name only, since it is weak.
    for mechanism in [sasl::PLAIN, sasl::LOGIN, sasl::CRAM_MD5, sasl::SCRAM_SHA_256] {
        assert_eq!(log_in(password()?.mechanisms([mechanism]))?, mechanism.name());
    }
    assert_eq!(log_in(Login::token(USER, TOKEN)?.mechanisms([sasl::XOAUTH2]))?, "XOAUTH2");

    println!("{}", log_in(Login::password(USER, "wrong")?).err().ok_or("any password will do")?);
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
