//! Moves octets between a connection and a machine, and wakes the machine at its deadlines.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use smtp_proto::adapter::serving::Next;
use smtp_proto::adapter::{Error, ReadSize};
use smtp_proto::{Machine, Step};

use crate::channel::Channel;
use crate::deadline::within;

/// How long to wait for the peer when all is said.
const LINGER: Duration = Duration::from_secs(2);

/// A machine with its connection.
pub struct Driver<S, M> {
    channel: Channel<S>,
    pub(crate) machine: M,
    peer: String,
    epoch: Instant,
    rx: BytesMut,
    read_size: ReadSize,
    input_ended: bool,
    unflushed: bool,
    broken: Option<io::Error>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, M: Machine> Driver<S, M> {
    /// `epoch` is the moment the machine was given as zero.
    pub(crate) fn new(channel: Channel<S>, machine: M, peer: String, epoch: Instant) -> Self {
        Self {
            channel,
            machine,
            peer,
            epoch,
            rx: BytesMut::new(),
            read_size: ReadSize::default(),
            input_ended: false,
            unflushed: false,
            broken: None,
        }
    }

    /// The other end, for messages.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Takes what has arrived while nothing was asked for, and waits for nothing.
    pub(crate) fn glance(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self.machine.step(self.now(), &mut self.rx) {
                Ok(Step::Event(_)) => {}
                Ok(Step::Read | Step::Decide) => match self.poll_exchange(&mut context, false) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        self.machine.connection_lost();
                        self.broken.get_or_insert(error);
                    }
                },
                _ => return,
            }
        }
    }

    fn now(&self) -> smtp_proto::Instant {
        smtp_proto::Instant::since_epoch(self.epoch.elapsed())
    }

    /// Runs the machine to its next event. May be dropped at any await: nothing is lost, call it again.
    pub(crate) async fn next(&mut self) -> Result<Next<M::Event>, Error> {
        loop {
            let step = self.machine.step(self.now(), &mut self.rx);
            match step.map_err(|error| Error::new(&self.peer, error, self.broken.take()))? {
                Step::Event(event) => return Ok(Next::Event(event)),
                Step::Decide => return Ok(Next::Decide),
                Step::Write => self.exchange(true).await,
                Step::Read => self.exchange(false).await,
                Step::UpgradeTls => self.upgrade().await,
                Step::Close => {
                    // The peer may be gone already: all is said anyhow.
                    let _ = within(Some(Instant::now() + LINGER), poll_fn(|context| self.channel.poll_close(context)))
                        .await;
                    return Ok(Next::Closed);
                }
            }
        }
    }

    /// Waits for the peer to close as well.
    pub(crate) async fn linger(&mut self) {
        self.channel.linger(Instant::now() + LINGER).await;
    }

    /// When the machine wants to be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline().and_then(|deadline| self.epoch.checked_add(deadline.elapsed()))
    }

    /// The handshake of TLS, or as much of it as there is time for.
    async fn upgrade(&mut self) {
        // The last of it may stay in a buffer of the stream.
        self.unflushed = true;
        let deadline = self.deadline();
        let handshake = poll_fn(|context| self.channel.poll_handshake(context, &self.peer, &mut self.rx));
        match within(deadline, handshake).await {
            // What does not fit fails the session.
            Some(Ok(tls)) => _ = self.machine.tls_established(&mut self.rx, tls),
            Some(Err(error)) => {
                self.machine.tls_failed();
                self.broken.get_or_insert(error);
            }
            None => {}
        }
    }

    /// Some octets in one direction, or the deadline.
    async fn exchange(&mut self, write: bool) {
        let deadline = self.deadline();
        let exchange = poll_fn(|context| self.poll_exchange(context, write));
        if let Some(Err(error)) = within(deadline, exchange).await {
            self.machine.connection_lost();
            self.broken.get_or_insert(error);
        }
    }

    fn poll_exchange(&mut self, context: &mut Context<'_>, write: bool) -> Poll<io::Result<()>> {
        if write {
            let output = self.machine.output();
            let mut slices = [IoSlice::new(&[]); 256];
            let count = output.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match self.channel.poll_write(context, slices) {
                Poll::Pending => {}
                Poll::Ready(Ok(written)) if written > 0 => {
                    output.advance(written);
                    self.unflushed = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(written) => {
                    self.machine.write_failed();
                    self.broken = Some(written.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                    return Poll::Ready(Ok(()));
                }
            }
        } else if (self.unflushed || self.channel.unsent()) && self.channel.poll_flush(context).is_ready() {
            // What fails here fails again at the next write.
            self.unflushed = false;
        }
        // A peer that does not take our octets may be waiting for us to take its own.
        if self.input_ended || write && self.rx.len() > self.read_size.octets() {
            return Poll::Pending;
        }
        let received = self.channel.poll_read(context, &mut self.rx, self.read_size.octets());
        if received.is_pending() && self.rx.is_empty() {
            // A session that waits holds no buffer.
            self.rx = BytesMut::new();
        }
        let received = ready!(received)?;
        self.read_size.note(received);
        if received == 0 {
            self.input_ended = true;
            self.machine.peer_closed();
        }
        Poll::Ready(Ok(()))
    }
}
