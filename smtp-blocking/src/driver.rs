//! Moves octets between a connection and a machine, and wakes the machine at its deadlines.

use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use smtp_proto::adapter::{Error, ReadSize};
use smtp_proto::{Machine, Step};

use crate::channel::Channel;
use crate::stream::Stream;

/// How long a write may stand still before a read is tried.
const STALL: Duration = Duration::from_millis(100);

/// How long a read lasts that is tried in between.
const GLANCE: Duration = Duration::from_millis(1);

/// How long to wait for the peer when all is said.
const LINGER: Duration = Duration::from_secs(2);

/// A machine with its connection.
pub(crate) struct Driver<S, M> {
    channel: Channel<S>,
    pub(crate) machine: M,
    peer: String,
    epoch: Instant,
    rx: BytesMut,
    read_size: ReadSize,
    /// The longest that a single wait lasts before the caller is asked.
    attention: Option<Duration>,
    broken: Option<io::Error>,
}

/// What a machine came to.
pub(crate) enum Next<E> {
    Event(E),
    Decide,
    /// It still waits; the caller may want to look around.
    Waiting,
    Closed,
}

impl<S: Stream, M: Machine> Driver<S, M> {
    /// `epoch` is the moment the machine was given as zero.
    pub(crate) fn new(
        channel: Channel<S>,
        machine: M,
        peer: String,
        epoch: Instant,
        attention: Option<Duration>,
    ) -> Self {
        Self {
            channel,
            machine,
            peer,
            epoch,
            rx: BytesMut::new(),
            read_size: ReadSize::default(),
            attention,
            broken: None,
        }
    }

    /// The other end, for messages.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Runs the machine to its next event.
    pub(crate) fn next(&mut self) -> Result<Next<M::Event>, Error> {
        loop {
            let now = smtp_proto::Instant::since_epoch(self.epoch.elapsed());
            let step = self.machine.step(now, &mut self.rx);
            let done = match step.map_err(|error| Error::new(&self.peer, error, self.broken.take()))? {
                Step::Event(event) => return Ok(Next::Event(event)),
                Step::Decide => return Ok(Next::Decide),
                Step::Write => self.write(),
                // As when a write stands still.
                Step::Read if self.channel.holds_back() => self.read(Some(GLANCE)),
                Step::Read => self.read(self.attention),
                Step::UpgradeTls => self.upgrade(),
                Step::Close => {
                    // The peer may be gone already: all is said anyhow.
                    let _ = self.channel.close(LINGER);
                    return Ok(Next::Closed);
                }
            };
            match done {
                // The deadline, or a reason to ask the caller.
                Err(error) if waited(&error) && self.attention.is_some() => return Ok(Next::Waiting),
                Err(error) if !waited(&error) => {
                    self.machine.connection_lost();
                    self.broken.get_or_insert(error);
                }
                _ => {}
            }
        }
    }

    /// Takes what has arrived while nothing was asked for.
    pub(crate) fn glance(&mut self) {
        loop {
            let now = smtp_proto::Instant::since_epoch(self.epoch.elapsed());
            match self.machine.step(now, &mut self.rx) {
                Ok(Step::Event(_)) => {}
                Ok(Step::Read | Step::Decide) if self.channel.is_readable() => match self.read(Some(GLANCE)) {
                    Ok(()) => {}
                    Err(error) if waited(&error) => return,
                    Err(error) => {
                        self.machine.connection_lost();
                        self.broken.get_or_insert(error);
                    }
                },
                _ => return,
            }
        }
    }

    /// Waits for the peer to close as well.
    pub(crate) fn linger(&mut self) {
        self.channel.linger(LINGER);
    }

    /// Makes the next read or write end in time for the machine's deadline, and after `longest` in any case.
    fn limit(&mut self, write: bool, longest: Option<Duration>) -> io::Result<()> {
        let now = self.epoch.elapsed();
        let left = self.machine.deadline().map(|deadline| deadline.elapsed().saturating_sub(now));
        let timeout = [left, longest].into_iter().flatten().min().map(|wait| wait.max(Duration::from_millis(1)));
        self.channel.set_timeout(write, timeout)
    }

    /// The handshake of TLS, or as much of it as there is time for.
    fn upgrade(&mut self) -> io::Result<()> {
        self.limit(true, Some(STALL)).and(self.limit(false, self.attention))?;
        match self.channel.handshake(&self.peer, &mut self.rx) {
            // What does not fit fails the session.
            Ok(tls) => _ = self.machine.tls_established(&mut self.rx, tls),
            Err(error) if waited(&error) => return Err(error),
            Err(error) => {
                self.machine.tls_failed();
                self.broken.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.limit(true, Some(STALL))?;
        let output = self.machine.output();
        let mut slices = [IoSlice::new(&[]); 256];
        let count = output.chunks_vectored(&mut slices);
        match self.channel.write(slices.get(..count).unwrap_or_default()) {
            Ok(written) if written > 0 => output.advance(written),
            // A peer that does not take our octets may be waiting for us to take its own.
            Err(error) if waited(&error) && self.rx.len() <= self.read_size.octets() => {
                return self.read(Some(GLANCE));
            }
            Err(error) if waited(&error) => return Err(error),
            failed => {
                self.machine.write_failed();
                self.broken = Some(failed.err().unwrap_or_else(|| ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }

    fn read(&mut self, longest: Option<Duration>) -> io::Result<()> {
        self.limit(false, longest)?;
        let received = self.channel.read(&mut self.rx, self.read_size.octets())?;
        self.read_size.note(received);
        if received == 0 {
            self.machine.peer_closed();
        }
        Ok(())
    }
}

/// Whether nothing is wrong but that nothing happened in time.
pub(crate) fn waited(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
