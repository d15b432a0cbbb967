//! What a session runs over: a stream, in clear until TLS begins and under TLS from then on.

use std::io::{self, IoSlice};
use std::time::Instant;

use bytes::BytesMut;
use smtp_proto::TlsInfo;
use smtp_proto::adapter::tls::{TlsSide, Tunnel};

use crate::driver::waited;
use crate::stream::Stream;

/// A stream, and the TLS over it once that has begun.
pub(crate) struct Channel<S> {
    stream: S,
    tunnel: Option<Tunnel>,
    side: TlsSide,
}

impl<S: Stream> Channel<S> {
    /// In clear.
    pub(crate) fn new(stream: S, side: TlsSide) -> Self {
        Self { stream, tunnel: None, side }
    }

    /// The stream below, of which only what does not matter may be read.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Begins TLS, or goes on with its handshake.
    pub(crate) fn handshake(&mut self, peer: &str) -> io::Result<TlsInfo> {
        let tunnel = match &mut self.tunnel {
            Some(tunnel) => tunnel,
            none => none.insert(self.side.begin(peer)?),
        };
        tunnel.handshake(&mut self.stream)
    }

    /// Reads octets to the end of `into`, into so much room if the stream is in clear.
    pub(crate) fn read(&mut self, into: &mut BytesMut, room: usize) -> io::Result<usize> {
        let Some(tunnel) = &mut self.tunnel else {
            let filled = into.len();
            into.resize(filled + room, 0);
            let received = self.stream.read(into.get_mut(filled..).unwrap_or_default());
            into.truncate(filled + received.as_ref().map_or(0, |received| *received));
            return received;
        };
        tunnel.read(&mut self.stream, into)
    }

    pub(crate) fn write(&mut self, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tunnel {
            Some(tunnel) => tunnel.write_vectored(&mut self.stream, octets),
            None => self.stream.write_vectored(octets),
        }
    }

    /// Whether octets that were written are still here.
    pub(crate) fn unsent(&self) -> bool {
        self.tunnel.as_ref().is_some_and(Tunnel::unsent)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tunnel {
            Some(tunnel) => tunnel.flush(&mut self.stream),
            None => self.stream.flush(),
        }
    }

    /// Tells the peer that nothing more comes; tries until then.
    pub(crate) fn close(&mut self, until: Instant) -> io::Result<()> {
        if let Some(tunnel) = &mut self.tunnel {
            while tunnel.close(&mut self.stream).is_err_and(|error| waited(&error)) && Instant::now() < until {}
        }
        self.stream.close()
    }
}
