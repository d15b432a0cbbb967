//! The server that clients send to: it takes everything, and remembers when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smtp_proto::server::{Config, Decision, Recipients, Session};
use smtp_tests::runtime::{Runtime, Service};

/// What the server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Neither PIPELINING nor CHUNKING.
    Neither,
    Pipelining,
    /// PIPELINING and CHUNKING.
    Chunking,
}

impl Offer {
    pub(crate) const ALL: [Self; 3] = [Self::Neither, Self::Pipelining, Self::Chunking];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Neither => "neither",
            Self::Pipelining => "PIPELINING",
            Self::Chunking => "and CHUNKING",
        }
    }
}

/// What has happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    pub(crate) connections: usize,
    /// When the first client connected.
    pub(crate) begin: Option<Instant>,
    pub(crate) recipients: usize,
    /// When each message had arrived.
    pub(crate) arrivals: Vec<Instant>,
}

/// A server on tokio.
pub(crate) struct Server {
    _service: Service,
    pub(crate) address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

impl Server {
    pub(crate) fn start(offer: Offer, lmtp: bool) -> Self {
        let mut config = Config::new("mx.example.net").unwrap();
        config.pipelining = offer != Offer::Neither;
        config.chunking = offer == Offer::Chunking;
        config.lmtp = lmtp;
        let record = Arc::<Mutex<Record>>::default();
        let kept = record.clone();
        let service =
            Service::start(Runtime::Tokio, "127.0.0.1:0", config, Duration::ZERO, move |_| Sink(kept.clone())).unwrap();
        let address = service.address().tcp().expect("an address of TCP");
        Self { _service: service, address, record }
    }

    pub(crate) fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Sink(Arc<Mutex<Record>>);

impl Sink {
    fn note(&self, note: impl FnOnce(&mut Record)) -> Decision {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Decision::Accept
    }
}

impl smtp_blocking::Handler for Sink {
    fn connected(&mut self, _: &Session) -> Decision {
        self.note(|record| {
            record.connections += 1;
            record.begin.get_or_insert_with(Instant::now);
        })
    }

    fn recipients(&mut self, _: &Session, recipients: Recipients) -> Vec<Decision> {
        let decision = self.note(|record| record.recipients += recipients.len());
        vec![decision; recipients.len()]
    }

    fn message_end(&mut self, _: &Session, _: u64) -> Decision {
        self.note(|record| record.arrivals.push(Instant::now()))
    }
}
