//! Delivery without a relay, to the mail exchangers of each recipient's domain: `cargo run --example direct`.
//!
//! `smtp_tokio::DnsResolver` (feature `mx`) asks the DNS; here a table stands in for it.

use std::io;
use std::net::SocketAddr;

use smtp_blocking::{Connector, Mailer, Resolver};
use smtp_proto::client::{Config, Envelope, TlsPolicy};
use smtp_proto::delivery::Policies;
use smtp_tests::post_office::PostOffice;

struct Table {
    exchanger: SocketAddr,
}

impl Resolver for Table {
    fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        Ok(match domain {
            "example.net" => vec![(10, "mx1.example.net".to_owned()), (20, "mx2.example.net".to_owned())],
            "example.com" => vec![(0, ".".to_owned())], // takes no mail (RFC 7505)
            _ => Vec::new(),
        })
    }

    fn addresses(&self, host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(if host == "mx2.example.net" { vec![self.exchanger] } else { Vec::new() })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PostOffice::open()?;
    let table = Table { exchanger: office.address().tcp().ok_or("no port")? };

    let mut config = Config::new("client.example.org")?;
    config.tls = TlsPolicy::None; // `Opportunistic` out there
    let mailer = Mailer::direct(Connector::new(config), table, Policies::default());
    let envelope = Envelope::new("jane@example.org", ["joe@example.net", "ann@example.com"])?;
    let report = mailer.send(envelope, "Subject: Hi\n\nHello!\n")?;
    mailer.close();
    for outcome in &report.outcome.recipients {
        println!("{outcome}");
    }
    let [joe, ann] = &report.outcome.recipients[..] else { return Err("two recipients".into()) };
    assert!(joe.is_accepted() && !ann.is_accepted() && !ann.is_transient());
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
