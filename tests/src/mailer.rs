//! The mailers of the three adapters behind one face.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use smtp_proto::adapter::Error;
use smtp_proto::adapter::sending::MailObserver;
use smtp_proto::client::{Config, Envelope};
use smtp_proto::delivery::{Endpoint, Health, Policies, Report};

use crate::runtime::Runtime;

/// A mailer, used from threads whatever it runs on. Clones are the same.
#[derive(Clone)]
pub enum Mailer {
    /// On tokio, whose runtime it keeps.
    Tokio(smtp_tokio::Mailer, Arc<tokio::runtime::Runtime>),
    /// On async-std.
    AsyncStd(smtp_async_std::Mailer),
    /// On threads.
    Blocking(smtp_blocking::Mailer),
}

macro_rules! mailer {
    ($runtime:expr, $adapter:ident => $mailer:expr) => {
        Ok(match $runtime {
            Runtime::Tokio => {
                use smtp_tokio as $adapter;
                let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Content)?;
                Mailer::Tokio($mailer, Arc::new(tokio))
            }
            Runtime::AsyncStd => {
                use smtp_async_std as $adapter;
                Mailer::AsyncStd($mailer)
            }
            Runtime::Blocking => {
                use smtp_blocking as $adapter;
                Mailer::Blocking($mailer)
            }
        })
    };
}

impl Mailer {
    /// To this endpoint.
    ///
    /// # Errors
    /// When the runtime cannot be had.
    pub fn new(runtime: Runtime, config: Config, endpoint: Endpoint, policies: Policies) -> Result<Self, Error> {
        mailer!(runtime, adapter => adapter::Mailer::new(adapter::Connector::new(config), endpoint, policies))
    }

    /// To the mail exchangers of each recipient.
    ///
    /// # Errors
    /// When the runtime cannot be had.
    pub fn direct<T>(runtime: Runtime, config: Config, resolver: T, policies: Policies) -> Result<Self, Error>
    where
        T: smtp_proto::adapter::sending::Resolver + smtp_blocking::Resolver,
    {
        mailer!(runtime, adapter => adapter::Mailer::direct(adapter::Connector::new(config), resolver, policies))
    }

    /// To where a URL says.
    ///
    /// # Errors
    /// As the adapters' `from_url`.
    pub fn from_url(runtime: Runtime, url: &str) -> Result<Self, Error> {
        mailer!(runtime, adapter => adapter::Mailer::from_url(url)?)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// As the adapters' `send`.
    pub fn send(&self, envelope: Envelope, content: impl Into<Bytes>) -> Result<Report, Error> {
        match self {
            Self::Tokio(mailer, tokio) => tokio.block_on(mailer.send(envelope, content)),
            Self::AsyncStd(mailer) => async_std::task::block_on(mailer.send(envelope, content)),
            Self::Blocking(mailer) => mailer.send(envelope, content),
        }
    }

    /// Sends a message out of a file, which is opened for each attempt.
    ///
    /// # Errors
    /// As the adapters' `send_from`.
    pub fn send_file(&self, envelope: Envelope, file: &Path) -> Result<Report, Error> {
        match self {
            Self::Tokio(mailer, tokio) => {
                tokio.block_on(mailer.send_from(envelope, None, || tokio::fs::File::open(file)))
            }
            Self::AsyncStd(mailer) => {
                async_std::task::block_on(mailer.send_from(envelope, None, || async_std::fs::File::open(file)))
            }
            Self::Blocking(mailer) => mailer.send_from(envelope, None, || std::fs::File::open(file)),
        }
    }

    /// Sends many messages; what becomes of them, as it is told.
    pub fn send_all<M>(&self, messages: M) -> Reports<M>
    where
        M: Iterator<Item = (Envelope, Bytes)>,
    {
        match self {
            Self::Tokio(mailer, tokio) => Reports::Tokio(mailer.send_all(messages), Arc::clone(tokio)),
            Self::AsyncStd(mailer) => Reports::AsyncStd(mailer.send_all(messages)),
            Self::Blocking(mailer) => Reports::Blocking(mailer.send_all(messages)),
        }
    }

    /// How it goes.
    pub fn health(&self) -> Health {
        match self {
            Self::Tokio(mailer, _) => mailer.health(),
            Self::AsyncStd(mailer) => mailer.health(),
            Self::Blocking(mailer) => mailer.health(),
        }
    }

    /// Tells an observer.
    pub fn observe(&self, observer: impl MailObserver + 'static) {
        match self {
            Self::Tokio(mailer, _) => mailer.observe(observer),
            Self::AsyncStd(mailer) => mailer.observe(observer),
            Self::Blocking(mailer) => mailer.observe(observer),
        }
    }

    /// Waits until all is closed.
    pub fn close(&self) {
        match self {
            Self::Tokio(mailer, tokio) => tokio.block_on(mailer.close()),
            Self::AsyncStd(mailer) => async_std::task::block_on(mailer.close()),
            Self::Blocking(mailer) => mailer.close(),
        }
    }
}

/// What becomes of many messages.
pub enum Reports<M> {
    /// On tokio.
    Tokio(smtp_tokio::Reports<M>, Arc<tokio::runtime::Runtime>),
    /// On async-std.
    AsyncStd(smtp_async_std::Reports<M>),
    /// On threads.
    Blocking(smtp_blocking::Reports<M>),
}

impl<M: Iterator<Item = (Envelope, Bytes)>> Iterator for Reports<M> {
    type Item = (usize, Result<Report, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Tokio(reports, tokio) => tokio.block_on(reports.next()),
            Self::AsyncStd(reports) => async_std::task::block_on(reports.next()),
            Self::Blocking(reports) => reports.next(),
        }
    }
}

/// Sends a single message.
///
/// # Errors
/// As the adapters' `send`.
pub fn send(runtime: Runtime, url: &str, from: &str, to: &[&str], message: impl AsRef<[u8]>) -> Result<Report, Error> {
    match runtime {
        Runtime::Tokio => {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Content)?;
            tokio.block_on(smtp_tokio::send(url, from, to, message))
        }
        Runtime::AsyncStd => async_std::task::block_on(smtp_async_std::send(url, from, to, message)),
        Runtime::Blocking => smtp_blocking::send(url, from, to, message),
    }
}
