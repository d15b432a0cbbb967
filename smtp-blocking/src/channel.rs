//! What a session runs over: a stream, in clear until TLS begins and under TLS from then on.

use std::io::{self, IoSlice, Read, Write};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use smtp_proto::TlsInfo;
use smtp_proto::adapter::tls::{TlsSide, Tunnel};

use crate::driver::waited;
use crate::stream::Stream;

/// How much is read on when all is said.
const LINGER_OCTETS: usize = 4 * 1024 * 1024;

/// A stream, and the TLS over it once that has begun.
pub(crate) struct Channel<S> {
    stream: S,
    tunnel: Option<Tunnel>,
    side: TlsSide,
    /// What was set last, for reads and writes.
    timeouts: [Option<Duration>; 2],
}

impl<S: Stream> Channel<S> {
    /// In clear.
    pub(crate) fn new(stream: S, side: TlsSide) -> Self {
        Self { stream, tunnel: None, side, timeouts: [None; 2] }
    }

    /// Sets how long reads, or writes, wait.
    pub(crate) fn set_timeout(&mut self, write: bool, timeout: Option<Duration>) -> io::Result<()> {
        let [read, written] = &mut self.timeouts;
        let set = if write { written } else { read };
        // Near enough: the system is not called for every read.
        let near = |set: Duration, wanted: Duration| wanted / 2 <= set && set <= wanted.saturating_add(wanted / 64);
        if *set == timeout || set.zip(timeout).is_some_and(|(set, wanted)| near(set, wanted)) {
            return Ok(());
        }
        *set = timeout;
        if write { self.stream.set_write_timeout(timeout) } else { self.stream.set_read_timeout(timeout) }
    }

    /// Begins TLS, or goes on with its handshake. What has been read of it is taken out of `early`.
    pub(crate) fn handshake(&mut self, peer: &str, early: &mut BytesMut) -> io::Result<TlsInfo> {
        let tunnel = match &mut self.tunnel {
            Some(tunnel) => tunnel,
            none => none.insert(self.side.begin(peer)?),
        };
        tunnel.handshake(&mut Once::new(&mut self.stream), early)
    }

    /// Whether a read would not wait, as far as is known.
    pub(crate) fn is_readable(&self) -> bool {
        self.stream.is_readable()
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
        tunnel.read(&mut Once::new(&mut self.stream), into)
    }

    pub(crate) fn write(&mut self, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tunnel {
            Some(tunnel) => tunnel.write_vectored(&mut self.stream, octets),
            None => self.stream.write_vectored(octets),
        }
    }

    /// Sends what is left of earlier writes; whether some of it still is.
    pub(crate) fn holds_back(&mut self) -> bool {
        // What fails here fails again at the next write.
        let _ = match &mut self.tunnel {
            Some(tunnel) => tunnel.flush(&mut self.stream),
            None => self.stream.flush(),
        };
        self.tunnel.as_ref().is_some_and(Tunnel::unsent)
    }

    /// Tells the peer that nothing more comes; tries for so long.
    pub(crate) fn close(&mut self, longest: Duration) -> io::Result<()> {
        let until = Instant::now() + longest;
        if let Some(tunnel) = &mut self.tunnel {
            while tunnel.close(&mut self.stream).is_err_and(|error| waited(&error)) && Instant::now() < until {}
        }
        self.stream.close()
    }

    /// Reads on for a while, below TLS: a connection that is closed with input unread is reset, and the last octets
    /// that were written are lost with it.
    pub(crate) fn linger(&mut self, longest: Duration) {
        let (until, mut left) = (Instant::now() + longest, LINGER_OCTETS);
        let mut room = [0; 4096];
        while left > 0 && Instant::now() < until && self.stream.set_read_timeout(Some(longest)).is_ok() {
            match self.stream.read(&mut room) {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                _ => return,
            }
        }
    }
}

/// A stream that gives octets once: a peer whose octets drip does not keep the caller from its deadlines.
struct Once<'a, S> {
    stream: &'a mut S,
    read: bool,
}

impl<'a, S> Once<'a, S> {
    fn new(stream: &'a mut S) -> Self {
        Self { stream, read: false }
    }
}

impl<S: Read> Read for Once<'_, S> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.read, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.stream.read(octets)
    }
}

impl<S: Write> Write for Once<'_, S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.write(octets)
    }

    fn write_vectored(&mut self, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
