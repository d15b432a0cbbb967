//! Mail exchangers by the DNS, with hickory-resolver.

use std::io;
use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use smtp_proto::adapter::sending::Resolver;

/// Looks names up in the DNS.
#[derive(Debug, Clone)]
pub struct DnsResolver(TokioResolver);

impl DnsResolver {
    /// By the servers that the system is configured for.
    ///
    /// # Errors
    /// When the system's configuration cannot be read.
    pub fn from_system() -> io::Result<Self> {
        let builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        Ok(Self(builder.build().map_err(io::Error::other)?))
    }
}

/// A resolver of the application's own, however it is configured.
impl From<TokioResolver> for DnsResolver {
    fn from(resolver: TokioResolver) -> Self {
        Self(resolver)
    }
}

impl Resolver for DnsResolver {
    async fn mail_exchangers(&self, domain: &str) -> io::Result<Vec<(u16, String)>> {
        match self.0.mx_lookup(rooted(domain)).await {
            Ok(found) => {
                let records = found.answers().iter().filter_map(|record| match &record.data {
                    RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
                    _ => None,
                });
                Ok(records.collect())
            }
            Err(error) => none(error).map(|()| Vec::new()),
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.0.lookup_ip(rooted(host)).await {
            Ok(found) => return Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect()),
            Err(error) => none(error)?,
        }
        // That was the answer to one of two questions, while the other may have failed.
        let kinds: &[RecordType] = match self.0.options().ip_strategy {
            LookupIpStrategy::Ipv4Only => &[RecordType::A],
            LookupIpStrategy::Ipv6Only => &[RecordType::AAAA],
            _ => &[RecordType::AAAA, RecordType::A],
        };
        let mut addresses = Vec::new();
        for kind in kinds {
            match self.0.lookup(rooted(host), *kind).await {
                Ok(found) => addresses.extend(found.answers().iter().filter_map(|record| record.data.ip_addr())),
                Err(error) => none(error)?,
            }
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

/// The name itself, and never one below the domains that the system searches.
fn rooted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// That there are no records is an answer, and no error.
fn none(error: NetError) -> io::Result<()> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            Ok(())
        }
        error => Err(io::Error::other(error)),
    }
}
