//! What this crate needs of a connection.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

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

    /// Whether a read would not wait: octets are there, or the end, or an error. Where that is not known, it is said to be
    /// so, and a read is tried for a moment.
    fn is_readable(&self) -> bool {
        true
    }

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

            fn is_readable(&self) -> bool {
                let looked =
                    self.set_nonblocking(true).and_then(|()| SockRef::from(self).peek(&mut [MaybeUninit::uninit()]));
                let reset = self.set_nonblocking(false);
                reset.is_err() || !looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
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
