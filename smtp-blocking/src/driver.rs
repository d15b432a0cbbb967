//! Moves octets between a connection and a machine, and wakes the machine at its deadlines.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use smtp_proto::adapter::{Error, ReadSize};
use smtp_proto::{Machine, Step};

/// A connection whose reads and writes can be told when to give up.
pub trait Stream: Read + Write {
    /// Sets how long a read or a write waits before it fails with [`ErrorKind::WouldBlock`] or
    /// [`ErrorKind::TimedOut`]; never zero. `None` is for ever.
    ///
    /// # Errors
    /// When the system refuses.
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    /// When the connection is gone already.
    fn close(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Stream for std::os::unix::net::UnixStream {
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A machine with its connection.
pub(crate) struct Driver<S, M> {
    stream: S,
    pub(crate) machine: M,
    peer: String,
    epoch: Instant,
    rx: BytesMut,
    read_size: ReadSize,
    /// The longest that a single wait lasts before the caller is asked.
    attention: Option<Duration>,
    timeout: Option<Duration>,
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
    pub(crate) fn new(stream: S, machine: M, peer: String, epoch: Instant, attention: Option<Duration>) -> Self {
        Self {
            stream,
            machine,
            peer,
            epoch,
            rx: BytesMut::new(),
            read_size: ReadSize::default(),
            attention,
            timeout: None,
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
                Step::Write => self.prepare().and_then(|()| self.write()),
                Step::Read => self.prepare().and_then(|()| self.read()),
                Step::Close => {
                    // The peer may be gone already: all is said anyhow.
                    let _ = self.stream.close();
                    return Ok(Next::Closed);
                }
            };
            match done.map_err(|error| (error.kind(), error)) {
                Ok(()) | Err((ErrorKind::Interrupted, _)) => {}
                // The deadline, or a reason to ask the caller.
                Err((ErrorKind::WouldBlock | ErrorKind::TimedOut, _)) if self.attention.is_some() => {
                    return Ok(Next::Waiting);
                }
                Err((ErrorKind::WouldBlock | ErrorKind::TimedOut, _)) => {}
                Err((_, error)) => {
                    self.machine.connection_lost();
                    self.broken = Some(error);
                }
            }
        }
    }

    /// Makes the next read or write end in time for the machine's deadline.
    fn prepare(&mut self) -> io::Result<()> {
        let now = self.epoch.elapsed();
        let left = self.machine.deadline().map(|deadline| deadline.elapsed().saturating_sub(now));
        let timeout = [left, self.attention].into_iter().flatten().min();
        // Whole milliseconds, so that the system is not called for every read, and never zero.
        let timeout = timeout.map(|timeout| Duration::from_millis(timeout.as_millis() as u64 + 1));
        // A wait that ends early only makes the machine look at its deadline early.
        let early_enough = |set: Duration, wanted: Duration| set <= wanted && set + Duration::from_millis(50) >= wanted;
        match (self.timeout, timeout) {
            (None, None) => return Ok(()),
            (Some(set), Some(wanted)) if early_enough(set, wanted) => return Ok(()),
            _ => {}
        }
        self.timeout = timeout;
        self.stream.set_timeout(timeout)
    }

    fn write(&mut self) -> io::Result<()> {
        let output = self.machine.output();
        let mut slices = [IoSlice::new(&[]); 64];
        let count = output.chunks_vectored(&mut slices);
        let written = self.stream.write_vectored(slices.get(..count).unwrap_or_default())?;
        output.advance(written);
        if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    fn read(&mut self) -> io::Result<()> {
        self.stream.flush()?;
        let filled = self.rx.len();
        self.rx.resize(filled + self.read_size.octets(), 0);
        let received = self.stream.read(self.rx.get_mut(filled..).unwrap_or_default());
        self.rx.truncate(filled + received.as_ref().map_or(0, |received| *received));
        let received = received?;
        self.read_size.note(received);
        if received == 0 {
            self.machine.peer_closed();
        }
        Ok(())
    }
}
