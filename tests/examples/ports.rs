//! All doors of a mail service in one process, with tokio: `cargo run --example ports -- CERTIFICATE.pem KEY.pem`.
//!
//! Port 25 takes mail for one's own domain from anybody, 587 (STARTTLS) and 465 (TLS from the first octet) take mail from
//! users, and a Unix socket takes it by LMTP. Each has its own configuration; the handler sees where a client came in. The
//! ports here are these with 2000 in front, so that nobody needs to be root.

use std::env;
use std::error::Error;
use std::time::Duration;

use smtp_proto::Secret;
use smtp_proto::sasl::{self, Credentials};
use smtp_proto::server::{Config, Connection, Decision, Handler, Mail, Recipient, Session, TlsPolicy};
use smtp_proto::wire::{ForwardPath, Reply};
use smtp_tokio::tls::ServerTls;
use smtp_tokio::{Server, Service};

const DOMAIN: &str = "example.net";
const RELAYING_DENIED: Reply = Reply::from_static("550 5.7.1 Relaying denied");

struct Mailroom {
    connection: Connection,
}

impl Handler for Mailroom {
    async fn authenticate(&mut self, _: &Session, credentials: Credentials) -> Decision {
        match credentials.username() {
            Some("jane") => credentials.verify_password(&Secret::from("correct horse battery staple")).into(),
            _ => credentials.unknown_user(&Secret::from("what nobody can guess")).into(),
        }
    }

    async fn mail(&mut self, _: &Session, mail: Mail) -> Decision {
        println!("session {}: from <{}>", self.connection.id, mail.reverse_path);
        Decision::Accept
    }

    async fn recipient(&mut self, session: &Session, recipient: Recipient) -> Decision {
        // Users may write to anybody.
        if session.identity().is_some() || is_ours(&recipient.forward_path) {
            Decision::Accept
        } else {
            Decision::Reply(RELAYING_DENIED)
        }
    }

    async fn message_end(&mut self, session: &Session, size: u64) -> Decision {
        println!("session {}: {size} octets by {}, dropped", self.connection.id, session.protocol());
        Decision::Accept
    }
}

fn is_ours(path: &ForwardPath) -> bool {
    path.mailbox().is_none_or(|mailbox| mailbox.domain().to_string().eq_ignore_ascii_case(DOMAIN))
}

/// Takes mail from users, with passwords under TLS.
fn submission(tls: TlsPolicy) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::new("mail.example.net")?;
    config.tls = tls;
    config.require_auth = true;
    config.mechanisms = vec![sasl::SCRAM_SHA_256_PLUS, sasl::SCRAM_SHA_256, sasl::PLAIN];
    config.dsn = true;
    Ok(config)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ports CERTIFICATE.pem KEY.pem".into());
    };
    let tls = ServerTls::from_pem_files(certificate, key)?;

    let mut exchange = Config::new("mail.example.net")?;
    exchange.tls = TlsPolicy::Offered;
    // Those who cannot wait for a greeting are not mail servers.
    exchange.timeouts.early_talkers = Duration::from_secs(2);
    let mut delivery = Config::new("mail.example.net")?;
    delivery.lmtp = true;

    let socket = env::temp_dir().join("ports-example.lmtp");
    let server = Server::new()
        .bind("127.0.0.1:2025", Service::new(exchange).tls(tls.clone()))
        .await?
        .bind("127.0.0.1:2587", Service::new(submission(TlsPolicy::Required)?).tls(tls.clone()))
        .await?
        .bind("127.0.0.1:2465", Service::new(submission(TlsPolicy::Implicit)?).tls(tls))
        .await?;
    #[cfg(unix)]
    let server = server.bind_unix(&socket, delivery)?;
    for address in server.local_addresses() {
        println!("listening on {address}");
    }
    let handle = server.handle();
    tokio::spawn(async move {
        // Control-C lets running transactions end, for ten seconds.
        if tokio::signal::ctrl_c().await.is_ok() {
            handle.shut_down_within(Duration::from_secs(10));
        }
    });
    server.serve(|connection| Mailroom { connection: *connection }).await;
    Ok(())
}
