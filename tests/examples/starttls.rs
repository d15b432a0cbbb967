//! STARTTLS that is required, welcome, or not wanted: `cargo run --example starttls`.

use smtp_blocking::Connector;
use smtp_blocking::tls::ClientTls;
use smtp_proto::client::{Config, TlsPolicy};
use smtp_proto::server;
use smtp_tests::post_office::PostOffice;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let with = PostOffice::open()?;
    let without = PostOffice::open_at("127.0.0.1:0", |config| config.tls = server::TlsPolicy::None)?;
    let connect = |policy, office: &PostOffice| {
        let mut config = Config::new("client.example.org")?;
        config.tls = policy;
        let tls = ClientTls::with_ca_pem(with.authority().pem().as_bytes())?;
        let client = Connector::new(config).tls(tls).connect(&office.address().to_string())?;
        let version = client.tls().map(|tls| tls.version.clone());
        client.quit()?;
        Ok::<_, Box<dyn std::error::Error>>(version)
    };

    // Required is the default: there is TLS, or there is an error before anything else is said.
    assert_eq!(connect(TlsPolicy::Required, &with)?.as_deref(), Some("TLSv1.3"));
    println!("{}", connect(TlsPolicy::Required, &without).err().ok_or("there is no TLS")?);

    // For relays: TLS where it is offered. A handshake that fails still ends the session.
    assert!(connect(TlsPolicy::Opportunistic, &with)?.is_some());
    assert!(connect(TlsPolicy::Opportunistic, &without)?.is_none());

    assert!(connect(TlsPolicy::None, &with)?.is_none());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
