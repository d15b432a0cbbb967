//! The contract between a machine and whoever moves its octets: one loop for both roles.

use bytes::BytesMut;

use crate::error::{ApiMisuse, Error};
use crate::output::Output;
use crate::time::Instant;
use crate::tls::TlsInfo;

/// What the caller does next. There are no further kinds, and none will be added without a new major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<E> {
    /// Something happened. It owns its data and may be kept.
    Event(E),
    /// Write what is in [`Machine::output`]; at least some of it.
    Write,
    /// Read more octets to the end of `rx`: it holds nothing complete.
    Read,
    /// Nothing moves until the application acts: [`Server::decide`](crate::server::Server::decide), or further
    /// work or content for the [`Client`](crate::client::Client).
    Decide,
    /// TLS begins with the very next octet: make the handshake, then call [`Machine::tls_established`] or
    /// [`Machine::tls_failed`]. The server's machine is at the server's end of it.
    UpgradeTls,
    /// All is said and written: close the connection.
    Close,
}

/// A side of an SMTP session, without its connection.
///
/// Call [`step`](Machine::step) and do what it says, again and again. The buffer `rx` is the caller's; the machine
/// takes what it understands off its front. Nothing is lost when a read or write is given up half-way, as long as
/// the octets that did arrive are in `rx` and [`Buf::advance`](bytes::Buf::advance) was called on the output for
/// those that did leave.
pub trait Machine: sealed::Sealed {
    /// What happens in this role.
    type Event;

    /// Moves on as far as is possible without the caller; tells what is needed next.
    ///
    /// May be called at any time and does bounded work. `now` must not go back.
    ///
    /// # Errors
    /// When the session failed; then every further call gives the same error, and nothing is left to write.
    fn step(&mut self, now: Instant, rx: &mut BytesMut) -> Result<Step<Self::Event>, Error>;

    /// What waits to be written.
    fn output(&mut self) -> &mut Output;

    /// When to call [`step`](Machine::step) at the latest, whether or not a read or write came to an end.
    fn deadline(&self) -> Option<Instant>;

    /// The peer closed its side: a read gave no octets. What was read before still counts.
    fn peer_closed(&mut self);

    /// A write failed. Nothing more is written, but what the peer said before it went away is still read: the
    /// reason may be in it.
    fn write_failed(&mut self);

    /// The connection is gone: a read failed.
    fn connection_lost(&mut self);

    /// The handshake that [`Step::UpgradeTls`] asked for is done. What was said in clear is forgotten
    /// (RFC 3207 section 4.2).
    ///
    /// # Errors
    /// When no handshake was asked for, or `rx` is not empty: octets that came in clear must not be taken for what
    /// TLS protects, so the session fails.
    fn tls_established(&mut self, rx: &mut BytesMut, tls: TlsInfo) -> Result<(), ApiMisuse>;

    /// The handshake failed. The session never goes on in clear: the next step ends it.
    fn tls_failed(&mut self);
}

pub(crate) mod sealed {
    /// Keeps the trait to this crate, so that methods can be added.
    pub trait Sealed {}
}
