//! A connection under TLS, over whatever reads and writes: `rustls` does no I/O, so one driver of it does for threads
//! and for futures.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};

use bytes::{Buf, BytesMut};
use rustls::Connection;
use rustls::pki_types::ServerName;

use super::{classify, info};
use crate::adapter::{TlsFailure, TlsProblem};
use crate::tls::TlsInfo;

/// A connection under TLS.
///
/// The stream below is lent to each call. Where it has to wait it gives [`WouldBlock`](ErrorKind::WouldBlock) or
/// [`TimedOut`](ErrorKind::TimedOut), which a call then gives as well: call again, nothing is lost. Octets never go to
/// the stream in clear, and octets come out only when TLS vouches for them.
///
/// Other errors are those of the stream, or a [`TlsFailure`] inside an [`io::Error`].
pub struct Tunnel {
    connection: Box<Connection>,
    /// Whether a certificate that gets through is verified.
    verifies: bool,
    server_name: Option<ServerName<'static>>,
    failure: Option<rustls::Error>,
    closed: bool,
    /// What came before the tunnel was there and belongs to it.
    early: BytesMut,
}

impl Tunnel {
    pub(super) fn new(connection: Connection, verifies: bool, server_name: Option<ServerName<'static>>) -> Self {
        let (connection, early) = (Box::new(connection), BytesMut::new());
        Self { connection, verifies, server_name, failure: None, closed: false, early }
    }

    /// Makes the handshake. `early` holds octets of the peer's TLS that were read with what came before it; all are
    /// taken.
    ///
    /// # Errors
    /// When it failed, or has to wait.
    pub fn handshake(&mut self, io: &mut (impl Read + Write), early: &mut BytesMut) -> io::Result<TlsInfo> {
        self.early.unsplit(early.split());
        loop {
            match self.flush(io) {
                // The peer may be waiting for us to take its own octets.
                Err(error) if !waits(&error) => return Err(lost(error)),
                _ => {}
            }
            if !self.connection.is_handshaking() {
                return Ok(info::facts(&self.connection, self.verifies, self.server_name.as_ref()));
            }
            match self.receive(io) {
                Ok(0) => return Err(lost(ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if waits(&error) => return Err(error),
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// Appends what the peer said, some octets or more; 0 when it said that nothing more comes (`close_notify`).
    ///
    /// # Errors
    /// When nothing can be read, or the stream has to wait; after what came before the error was read.
    pub fn read(&mut self, io: &mut (impl Read + Write), into: &mut BytesMut) -> io::Result<usize> {
        loop {
            match self.take_received(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(TlsFailure::new(TlsProblem::Truncated, error).into());
                }
                received => return received,
            }
            self.receive(io)?;
        }
    }

    /// Takes octets for the peer; how many of them. What the stream does not take at once is [unsent](Tunnel::unsent)
    /// and leaves with the next write or [`flush`](Tunnel::flush).
    ///
    /// # Errors
    /// When nothing can be written, or what is unsent has to wait.
    pub fn write_vectored(&mut self, io: &mut impl Write, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.connection.is_handshaking() {
            return Err(ErrorKind::NotConnected.into());
        }
        // First, so that what waits here has a bound.
        self.send(io)?;
        let taken = self.connection.writer().write_vectored(octets)?;
        match self.send(io) {
            Err(error) if !waits(&error) => Err(error),
            _ => Ok(taken),
        }
    }

    /// Sends what is unsent.
    ///
    /// # Errors
    /// When nothing can be written, or the stream has to wait.
    pub fn flush(&mut self, io: &mut impl Write) -> io::Result<()> {
        self.send(io)?;
        io.flush()
    }

    /// Tells the peer that nothing more comes, and sends what is unsent. Nothing can be written any more.
    ///
    /// # Errors
    /// As [`Tunnel::flush`].
    pub fn close(&mut self, io: &mut impl Write) -> io::Result<()> {
        // After a failure, and in the handshake, the connection just ends.
        if !self.closed && self.failure.is_none() && !self.connection.is_handshaking() {
            self.connection.send_close_notify();
        }
        self.closed = true;
        self.flush(io)
    }

    /// Whether octets wait for the stream to take them.
    pub fn unsent(&self) -> bool {
        self.connection.wants_write()
    }

    fn send(&mut self, io: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(io)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Takes octets from the stream and decrypts them; how many there were. A failure lasts.
    fn receive(&mut self, io: &mut (impl Read + Write)) -> io::Result<usize> {
        let handshaking = self.connection.is_handshaking();
        if let Some(failure) = &self.failure {
            return Err(classify::failure(failure.clone(), handshaking).into());
        }
        let received = if self.early.is_empty() {
            self.connection.read_tls(io)?
        } else {
            self.connection.read_tls(&mut (&mut self.early).reader())?
        };
        if let Err(error) = self.connection.process_new_packets() {
            // The alert, if the stream takes it.
            let _ = self.flush(io);
            self.failure = Some(error);
        }
        Ok(received)
    }

    /// What is decrypted already.
    fn take_received(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let before = into.len();
        let mut reader = self.connection.reader();
        loop {
            match reader.fill_buf() {
                Ok(octets @ [_, ..]) => {
                    into.extend_from_slice(octets);
                    let taken = octets.len();
                    reader.consume(taken);
                }
                // The end, and errors, are told when all before is taken.
                Err(error) if into.len() == before => return Err(error),
                _ => return Ok(into.len().saturating_sub(before)),
            }
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

/// Whether nothing is wrong but that the stream has to wait.
fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A failure of TLS as it is; any other error as the end of the handshake.
fn lost(error: io::Error) -> io::Error {
    let failure = error.downcast().unwrap_or_else(|error| TlsFailure::new(TlsProblem::HandshakeLost, error));
    failure.into()
}
