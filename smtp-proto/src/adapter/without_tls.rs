//! Stands in for `tls` where that is not built in: the same names, and no way to have a value of most of them, so that
//! adapters need no conditions.

use std::convert::Infallible;
use std::io::{self, IoSlice, Read, Write};

use bytes::BytesMut;

use super::{TlsFailure, TlsProblem};
use crate::tls::TlsInfo;

/// There is none.
#[derive(Debug, Clone)]
pub enum ClientTls {}

/// There is none.
#[derive(Debug, Clone)]
pub enum ServerTls {}

/// Which side of TLS a session would be on.
#[derive(Debug, Clone)]
pub enum TlsSide {
    /// The client's.
    Client(Option<ClientTls>),
    /// The server's.
    Server(Option<ServerTls>),
}

impl TlsSide {
    /// Fails: TLS is not built in.
    ///
    /// # Errors
    /// Always.
    pub fn begin(&self, _peer: &str) -> io::Result<Tunnel> {
        let missing = "this program was built without it; enable the feature `tls`";
        Err(TlsFailure::new(TlsProblem::Setup(missing.to_owned()), io::ErrorKind::Unsupported.into()).into())
    }
}

/// There is none.
#[derive(Debug)]
pub struct Tunnel(Infallible);

#[allow(missing_docs, clippy::missing_errors_doc, reason = "cannot be called")]
impl Tunnel {
    pub fn handshake(&mut self, _io: &mut (impl Read + Write), _early: &mut BytesMut) -> io::Result<TlsInfo> {
        match self.0 {}
    }

    pub fn read(&mut self, _io: &mut (impl Read + Write), _into: &mut BytesMut) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn write_vectored(&mut self, _io: &mut impl Write, _octets: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn flush(&mut self, _io: &mut impl Write) -> io::Result<()> {
        match self.0 {}
    }

    pub fn close(&mut self, _io: &mut impl Write) -> io::Result<()> {
        match self.0 {}
    }

    pub fn unsent(&self) -> bool {
        match self.0 {}
    }
}
