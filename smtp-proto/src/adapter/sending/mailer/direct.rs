//! Delivery without a relay: to the mail exchangers of each recipient's domain.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use super::message::is_ours;
use super::places::Lease;
use super::session::Source;
use super::{Shared, random};
use crate::adapter::Error;
use crate::adapter::sending::runtime::Runtime;
use crate::client::{Envelope, Outcome, Recipient, RecipientOutcome};
use crate::delivery::{HealthRecorder, NoMailExchanger, mail_exchangers};
use crate::error::{Error as SessionError, Phase};
use crate::wire::Domain;

/// The port of mail exchangers (RFC 5321 section 4.5.4.2).
const PORT: u16 = 25;

/// Looks up what delivery without a relay has to know.
///
/// An error says that nobody knows, so that the message is tried again later; a name that does not exist has no records.
/// Names come as they are in addresses: those that are not ASCII (RFC 6531) are for the resolver to convert.
pub trait Resolver: Send + Sync + 'static {
    /// Preferences and hosts of the MX records of a domain; none when it has none.
    fn mail_exchangers(&self, domain: &str) -> impl Future<Output = io::Result<Vec<(u16, String)>>> + Send;

    /// The addresses of a host, with this port; none when it has none.
    fn addresses(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

type Looking<'a, T> = Pin<Box<dyn Future<Output = io::Result<Vec<T>>> + Send + 'a>>;

/// The same for a value whose type is not known.
pub(super) trait AnyResolver: Send + Sync {
    fn mail_exchangers<'a>(&'a self, domain: &'a str) -> Looking<'a, (u16, String)>;
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Looking<'a, SocketAddr>;
}

impl<T: Resolver> AnyResolver for T {
    fn mail_exchangers<'a>(&'a self, domain: &'a str) -> Looking<'a, (u16, String)> {
        Box::pin(Resolver::mail_exchangers(self, domain))
    }

    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Looking<'a, SocketAddr> {
        Box::pin(Resolver::addresses(self, host, port))
    }
}

/// The recipients of one domain, by their places in the envelope.
struct Group {
    /// `None` for the recipient that has no domain.
    domain: Option<Domain>,
    places: Vec<usize>,
}

fn groups(envelope: &Envelope) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, recipient) in envelope.recipients.iter().enumerate() {
        let domain = recipient.forward_path.mailbox().map(|mailbox| mailbox.domain().clone());
        match groups.iter_mut().find(|group| group.domain == domain) {
            Some(group) => group.places.push(place),
            None => groups.push(Group { domain, places: vec![place] }),
        }
    }
    groups
}

impl<R: Runtime> Shared<R> {
    /// An attempt for all recipients; their domains are side by side.
    pub(super) async fn attempt_directly<S: Source<R>>(
        &self,
        resolver: &dyn AnyResolver,
        envelope: &Envelope,
        source: &S,
    ) -> Result<Outcome, Error> {
        let mut waiting = VecDeque::new();
        for group in groups(envelope) {
            waiting.push_back(self.attempt_group(resolver, group, envelope, source));
        }
        let single = waiting.len() == 1;
        let most = if R::BLOCKS { 1 } else { self.most };
        let mut parts = side_by_side(waiting, most).await;
        // What says most, unless others did better.
        let ours = parts.iter().all(|(_, part)| part.as_ref().is_err_and(is_ours));
        if let Some(failed) = parts.pop_if(|(_, part)| part.is_err() && (single || ours)) {
            return failed.1;
        }
        let mut recipients = vec![None; envelope.recipients.len()];
        let mut whole =
            Outcome { recipients: Vec::new(), reply: None, left_out: Vec::new(), error: None, session_over: false };
        for (places, part) in parts {
            let outcome = part.unwrap_or_else(|error| {
                if !is_ours(&error) {
                    self.record(|health| health.error(&error));
                }
                let error = error.session_error();
                let recipients = places.iter().map(|_| RecipientOutcome::Failed(error.clone())).collect();
                Outcome { recipients, reply: None, left_out: Vec::new(), error: Some(error), session_over: false }
            });
            for (place, outcome) in places.into_iter().zip(outcome.recipients) {
                if let Some(slot) = recipients.get_mut(place) {
                    *slot = Some(outcome);
                }
            }
            whole.left_out.extend(outcome.left_out);
            if whole.reply.as_ref().is_none_or(|reply| !reply.is_positive()) {
                whole.reply = outcome.reply.or(whole.reply.take());
            }
            whole.error = whole.error.take().or(outcome.error);
        }
        whole.left_out.sort_unstable();
        whole.left_out.dedup();
        // Each has been in a group.
        let given_up = || RecipientOutcome::Failed(SessionError::GivenUp);
        whole.recipients = recipients.into_iter().map(|outcome| outcome.unwrap_or_else(given_up)).collect();
        Ok(whole)
    }

    /// An attempt for the recipients of one domain, with their places.
    async fn attempt_group<S: Source<R>>(
        &self,
        resolver: &dyn AnyResolver,
        Group { domain, places }: Group,
        envelope: &Envelope,
        source: &S,
    ) -> (Vec<usize>, Result<Outcome, Error>) {
        let theirs = places.iter().filter_map(|place| envelope.recipients.get(*place)).cloned().collect();
        let part = Envelope { recipients: theirs, ..envelope.clone() };
        let attempt = self.attempt_domain(resolver, domain.as_ref(), &part, source).await;
        (places, attempt)
    }

    /// Tries the hosts of a domain until one takes the session.
    async fn attempt_domain<S: Source<R>>(
        &self,
        resolver: &dyn AnyResolver,
        domain: Option<&Domain>,
        envelope: &Envelope,
        source: &S,
    ) -> Result<Outcome, Error> {
        let hosts = match domain {
            Some(Domain::Name(name)) => {
                let domain = name.as_str().to_owned();
                let unknown = |source| Error::Resolve { server: domain.clone(), source };
                let records = resolver.mail_exchangers(&domain).await.map_err(unknown)?;
                let records = records.iter().map(|(preference, host)| (*preference, host.as_str()));
                let own = self.connector.hello();
                match mail_exchangers(&domain, records, &[own], random) {
                    Ok(hosts) => hosts,
                    Err(problem) => return Ok(refused(envelope, problem)),
                }
            }
            Some(literal @ (Domain::Ipv4(_) | Domain::Ipv6(_))) => vec![literal.to_string()],
            Some(Domain::General(_)) | None => return Ok(refused(envelope, NoMailExchanger::NoAddress)),
        };
        let mut failure = None;
        for host in hosts {
            match self.attempt_host(resolver, &host, envelope, source).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) if is_ours(&error) => return Err(error),
                // Who refuses for good speaks for the domain; what is refused for now is for the next host.
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(refused(envelope, NoMailExchanger::NoAddress)),
        }
    }

    /// Sends to a host; `None` when it has no address.
    async fn attempt_host<S: Source<R>>(
        &self,
        resolver: &dyn AnyResolver,
        host: &str,
        envelope: &Envelope,
        source: &S,
    ) -> Result<Option<Outcome>, Error> {
        let server = format!("{host}:{PORT}");
        let proxied = self.connector.is_proxied();
        let unknown = |source| Error::Resolve { server: server.clone(), source };
        let addresses = match host.parse() {
            Ok(Domain::Ipv4(address)) => vec![SocketAddr::from((address, PORT))],
            Ok(Domain::Ipv6(address)) => vec![SocketAddr::from((address, PORT))],
            _ if proxied => Vec::new(),
            _ => resolver.addresses(host, PORT).await.map_err(unknown)?,
        };
        if addresses.is_empty() && !proxied {
            return Ok(None);
        }
        // Nobody else needs this connection, but it is one of so many.
        let Some(_place) = Lease::ask(&self.places).await else {
            return Err(Error::MailerClosed);
        };
        let mut connection = self.connector.clone().connect_to(&server, addresses).await?;
        self.record(HealthRecorder::connection_opened);
        let content = source.open().await.map_err(Error::Content)?;
        let began = R::now();
        let outcome = S::send(&mut connection, envelope.clone(), content).await?;
        let took = R::now().saturating_duration_since(began);
        self.record(|health| health.responded(took));
        if connection.failure().is_none() {
            // What fails here was not needed any more.
            let _ = connection.quit().await;
        }
        Ok(Some(outcome))
    }
}

/// Runs futures, so many at a time; what they came to, in no order.
async fn side_by_side<F: Future>(mut waiting: VecDeque<F>, most: usize) -> Vec<F::Output> {
    let (mut running, mut done) = (Vec::new(), Vec::with_capacity(waiting.len()));
    poll_fn(|context| {
        loop {
            while running.len() < most
                && let Some(next) = waiting.pop_front()
            {
                running.push(Box::pin(next));
            }
            let before = done.len();
            running.retain_mut(|future| match future.as_mut().poll(context) {
                Poll::Ready(output) => {
                    done.push(output);
                    false
                }
                Poll::Pending => true,
            });
            if running.is_empty() && waiting.is_empty() {
                return Poll::Ready(());
            }
            if done.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await;
    done
}

/// Whether no other host of the domain is asked: this one refused for good.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Smtp { source: SessionError::Refused { .. }, .. }) && error.is_permanent()
}

fn refused(envelope: &Envelope, problem: NoMailExchanger) -> Outcome {
    let one = |_: &Recipient| RecipientOutcome::Refused { phase: Phase::Rcpt, reply: problem.reply() };
    let recipients = envelope.recipients.iter().map(one).collect();
    Outcome { recipients, reply: None, left_out: Vec::new(), error: None, session_over: false }
}
