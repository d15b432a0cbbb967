//! What adapters share of their servers, for adapters: whom they let in, how sessions end, sockets that listen.

mod gate;
mod handle;
mod observer;
mod reception;
mod session;
#[cfg(feature = "sockets")]
mod sockets;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(not(feature = "tracing"))]
#[path = "without_tracing.rs"]
mod trace;
mod visit;

pub use gate::ConnectionLimits;
pub use handle::{Handle, Watch};
pub use observer::{Counts, Observer};
pub use reception::{Reception, TurnedAway};
pub use session::{Drive, Next, all, serve_session};
pub(super) use session::{Either, either};
#[cfg(all(feature = "sockets", unix))]
pub use sockets::listen_unix;
#[cfg(feature = "sockets")]
pub use sockets::{Knock, LocalAddress, SocketFile, listen};
pub use visit::{Account, Asked, Panicked, Visit};
