//! Where messages go, and the mailer that takes them there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smtp_proto::adapter::sending::Resolver;
use smtp_proto::client::{Envelope, Recipient};
use smtp_proto::delivery::{Endpoint, Url};
use smtp_proto::transcript::Entry;
use smtp_proto::wire::Domain;
use smtp_tests::mailer::Mailer;
use smtp_tests::runtime::Runtime;

use crate::arguments::Arguments;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// To a server.
    Endpoint(Endpoint),
    /// To the mail exchangers of a domain.
    MailExchangers(String),
}

/// The server that `HOST[:PORT]` names. What may be a host and a port, and where LMTP may be spoken, is what URLs say of it.
pub(crate) fn endpoint(server: &str, lmtp: bool, implicit_tls: bool) -> Result<Route, String> {
    let scheme = match (lmtp, implicit_tls) {
        (true, _) => "lmtp",
        (false, true) => "smtps",
        (false, false) => "smtp",
    };
    if server.contains(['@', '/', '?', '#', '%']) {
        return Err(format!("--server {server:?}: HOST[:PORT]; what more a URL can say is for --url"));
    }
    let url: Url = format!("{scheme}://{server}").parse().map_err(|error| format!("--server {server:?}: {error}"))?;
    Ok(Route::Endpoint(url.endpoint().clone()))
}

impl Route {
    /// To the mail exchangers of this domain.
    pub(crate) fn mail_exchangers(domain: &str) -> Result<Self, String> {
        match domain.parse() {
            Ok(Domain::Name(_)) => Ok(Self::MailExchangers(domain.to_owned())),
            _ => Err(format!("--mx {domain:?}: it is no domain name")),
        }
    }

    /// The name of the server, where there is one.
    pub(crate) fn server_name(&self) -> String {
        match self {
            Self::Endpoint(Endpoint::Tcp { host, .. }) => host.server_name(),
            _ => String::new(),
        }
    }

    /// Refuses recipients that cannot be sent to this way.
    pub(crate) fn check(&self, envelope: &Envelope) -> Result<(), String> {
        let has_domain = |recipient: &&Recipient| {
            let mailbox = recipient.forward_path.mailbox();
            mailbox.is_some_and(|mailbox| matches!(mailbox.domain(), Domain::Name(_)))
        };
        match (self, envelope.recipients.iter().find(|recipient| !has_domain(recipient))) {
            // A mailer would deliver to the address, or nowhere.
            (Self::MailExchangers(_), Some(recipient)) => Err(format!("--mx: {recipient} has no domain name")),
            _ => Ok(()),
        }
    }
}

/// The mailer that the arguments ask for.
pub(crate) fn mailer(arguments: &Arguments) -> io::Result<Mailer> {
    let Arguments { runtime, route, config, policies, connect_timeout, tls, transcript, .. } = arguments;
    macro_rules! connector {
        ($adapter:ident) => {{
            let mut connector = $adapter::Connector::new(config.clone());
            if let Some(timeout) = connect_timeout {
                connector = connector.connect_timeout(*timeout);
            }
            if let Some(tls) = tls {
                connector = connector.tls(tls.clone());
            }
            if *transcript {
                connector = connector.transcript(|entry: Entry<'_>| eprintln!("{entry}"));
            }
            connector
        }};
    }
    let policies = policies.clone();
    Ok(match (runtime, route.clone()) {
        (Runtime::AsyncStd, Route::Endpoint(endpoint)) => {
            Mailer::AsyncStd(smtp_async_std::Mailer::new(connector!(smtp_async_std), endpoint, policies))
        }
        (Runtime::Blocking, Route::Endpoint(endpoint)) => {
            Mailer::Blocking(smtp_blocking::Mailer::new(connector!(smtp_blocking), endpoint, policies))
        }
        (Runtime::Tokio, route) => {
            let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let connector = connector!(smtp_tokio);
            let mailer = match route {
                Route::Endpoint(endpoint) => smtp_tokio::Mailer::new(connector, endpoint, policies),
                Route::MailExchangers(domain) => {
                    let resolver = MailExchangers { domain, resolver: smtp_tokio::DnsResolver::from_system()? };
                    smtp_tokio::Mailer::direct(connector, resolver, policies)
                }
            };
            Mailer::Tokio(mailer, Arc::new(tokio))
        }
        // The command line was refused before.
        (_, Route::MailExchangers(_)) => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// Finds the mail exchangers of one domain, whichever it is asked about.
struct MailExchangers<T> {
    domain: String,
    resolver: T,
}

impl<T: Resolver> Resolver for MailExchangers<T> {
    async fn mail_exchangers(&self, _: &str) -> io::Result<Vec<(u16, String)>> {
        let mut records = self.resolver.mail_exchangers(&self.domain).await?;
        if records.is_empty() {
            // Without this it would be the host of the recipient's domain.
            records.push((0, self.domain.clone()));
        }
        Ok(records)
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.resolver.addresses(host, port).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::client::RecipientOutcome;
    use smtp_proto::delivery::{NoMailExchanger, Policies};
    use smtp_tests::in_clear;

    /// Records and addresses of one domain; all others are asked about by mistake.
    struct Dns {
        records: Vec<(u16, String)>,
        at: Vec<SocketAddr>,
    }

    impl Resolver for Dns {
        async fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
            assert_eq!(domain, "mx.test");
            Ok(self.records.clone())
        }

        async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            assert_eq!((host, port), ("mx.test", 25));
            Ok(self.at.clone())
        }
    }

    #[tokio::test]
    async fn all_recipients_go_to_the_mail_exchangers_of_one_domain() {
        let null = vec![(0, ".".to_owned())];
        let own = vec![(10, "mx.test.".to_owned())];
        for (records, problem) in [
            (null, NoMailExchanger::NullMx),
            (own, NoMailExchanger::NoAddress),
            (Vec::new(), NoMailExchanger::NoAddress),
        ] {
            let resolver = MailExchangers { domain: "mx.test".to_owned(), resolver: Dns { records, at: Vec::new() } };
            let connector = smtp_tokio::Connector::new(in_clear("client.example"));
            let mailer = smtp_tokio::Mailer::direct(connector, resolver, Policies::default());
            let envelope = Envelope::new("a@a.test", ["b@b.test", "c@mx.test"]).unwrap();
            let report = mailer.send(envelope, "Subject: x\r\n").await.unwrap();
            for outcome in &report.outcome.recipients {
                assert!(
                    matches!(outcome, RecipientOutcome::Refused { reply, .. } if *reply == problem.reply()),
                    "{outcome}"
                );
            }
        }
    }
}
