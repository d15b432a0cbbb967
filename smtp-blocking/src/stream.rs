//! What this crate needs of a connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A connection whose reads and writes can be told when to give up.
pub trait Stream: Read + Write {
    /// Sets how long a read waits before it fails with [`WouldBlock`](io::ErrorKind::WouldBlock) or
    /// [`TimedOut`](io::ErrorKind::TimedOut); never
    /// zero. `None` is for ever.
    ///
    /// # Errors
    /// When the system refuses.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// The same for a write.
    ///
    /// # Errors
    /// When the system refuses.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    /// When the connection is gone already.
    fn close(&mut self) -> io::Result<()>;
}

macro_rules! socket {
    ($socket:ty) => {
        impl Stream for $socket {
            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_write_timeout(timeout)
            }

            fn close(&mut self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }
        }
    };
}

socket!(TcpStream);
#[cfg(unix)]
socket!(std::os::unix::net::UnixStream);
