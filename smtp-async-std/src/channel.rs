//! What a session runs over: a stream, in clear until TLS begins and under TLS from then on.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::AsyncReadExt;
use smtp_proto::TlsInfo;
use smtp_proto::adapter::tls::{TlsSide, Tunnel};

use crate::deadline::within;

/// How much is read on when all is said.
const LINGER_OCTETS: usize = 4 * 1024 * 1024;

/// A stream, and the TLS over it once that has begun.
pub(crate) struct Channel<S> {
    stream: S,
    tunnel: Option<Tunnel>,
    side: TlsSide,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// In clear.
    pub(crate) fn new(stream: S, side: TlsSide) -> Self {
        Self { stream, tunnel: None, side }
    }

    /// Begins TLS, or goes on with its handshake. What has been read of it is taken out of `early`.
    pub(crate) fn poll_handshake(
        &mut self,
        context: &mut Context<'_>,
        peer: &str,
        early: &mut BytesMut,
    ) -> Poll<io::Result<TlsInfo>> {
        let tunnel = match &mut self.tunnel {
            Some(tunnel) => tunnel,
            none => none.insert(self.side.begin(peer)?),
        };
        polled(tunnel.handshake(&mut Lent { stream: &mut self.stream, context }, early))
    }

    /// Reads octets to the end of `into`, into so much room if the stream is in clear.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.tunnel {
            Some(tunnel) => polled(tunnel.read(&mut Lent { stream: &mut self.stream, context }, into)),
            None => {
                let filled = into.len();
                into.resize(filled + room, 0);
                let room = into.get_mut(filled..).unwrap_or_default();
                let received = Pin::new(&mut self.stream).poll_read(context, room);
                into.truncate(match received {
                    Poll::Ready(Ok(received)) => filled + received,
                    _ => filled,
                });
                received
            }
        }
    }

    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, octets: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.tunnel {
            Some(tunnel) => polled(tunnel.write_vectored(&mut Lent { stream: &mut self.stream, context }, octets)),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, octets),
        }
    }

    /// Whether octets that were written are still here.
    pub(crate) fn unsent(&self) -> bool {
        self.tunnel.as_ref().is_some_and(Tunnel::unsent)
    }

    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tunnel {
            Some(tunnel) => polled(tunnel.flush(&mut Lent { stream: &mut self.stream, context })),
            None => Pin::new(&mut self.stream).poll_flush(context),
        }
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tunnel) = &mut self.tunnel {
            // What fails here fails again below.
            let _ = ready!(polled(tunnel.close(&mut Lent { stream: &mut self.stream, context })));
        }
        Pin::new(&mut self.stream).poll_close(context)
    }

    /// Reads on for a while, below TLS: a connection that is closed with input unread is reset, and the last octets
    /// that were written are lost with it.
    pub(crate) async fn linger(&mut self, until: Instant) {
        let mut room = vec![0; 4096];
        let mut left = LINGER_OCTETS;
        while let Some(Ok(count @ 1..)) = within(Some(until), self.stream.read(&mut room)).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }
}

/// A stream as one that does not block, for the length of a poll.
struct Lent<'a, 'b, S> {
    stream: &'a mut S,
    context: &'a mut Context<'b>,
}

impl<S: AsyncRead + Unpin> Read for Lent<'_, '_, S> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        blocked(Pin::new(&mut *self.stream).poll_read(self.context, octets))
    }
}

impl<S: AsyncWrite + Unpin> Write for Lent<'_, '_, S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        blocked(Pin::new(&mut *self.stream).poll_write(self.context, octets))
    }

    fn write_vectored(&mut self, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        blocked(Pin::new(&mut *self.stream).poll_write_vectored(self.context, octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocked(Pin::new(&mut *self.stream).poll_flush(self.context))
    }
}

fn blocked<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
