//! Connecting to a server that has several addresses.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::runtime::System;
use crate::adapter::Error;
use crate::adapter::serving::{Either, either};
use crate::delivery::{Racing, RacingStep};
use crate::time::Instant;

type Attempt<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

/// Connects to whichever address is the fastest to answer (RFC 8305); each has so much time.
///
/// # Errors
/// When none takes the connection.
pub(super) async fn race<R: System>(
    server: &str,
    addresses: Vec<SocketAddr>,
    source: Option<IpAddr>,
    limit: Duration,
) -> Result<R::Socket, Error> {
    let mut attempts = Vec::new();
    // From IPv4 there is no way to IPv6.
    let (fit, unfit): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| source.is_none_or(|source| source.is_ipv6() == address.is_ipv6()));
    for address in unfit {
        attempts.push((address, io::Error::new(io::ErrorKind::AddrNotAvailable, "not of the source address's family")));
    }
    let mut racing = Racing::new(fit);
    let mut running: Vec<(SocketAddr, Attempt<R::Socket>)> = Vec::new();
    let epoch = R::now();
    loop {
        let moment = Instant::since_epoch(R::now().saturating_duration_since(epoch));
        match racing.next(moment) {
            RacingStep::Start(address) => running.push((address, Box::pin(open::<R>(address, source, limit)))),
            RacingStep::Exhausted => return Err(Error::Connect { server: server.to_owned(), attempts }),
            RacingStep::Wait(until) => {
                let until = until.and_then(|until| epoch.checked_add(until.elapsed()));
                match either(first(&mut running), R::sleep_until(until)).await {
                    Either::First((_, Ok(socket))) => return Ok(socket),
                    Either::First((address, Err(error))) => {
                        racing.failed(address);
                        attempts.push((address, error));
                    }
                    Either::Second(()) => {}
                }
            }
        }
    }
}

async fn open<R: System>(address: SocketAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<R::Socket> {
    let now = R::now();
    // A limit beyond all time is none.
    let until = now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
    match either(R::open(address, source, until), R::sleep_until(Some(until))).await {
        Either::First(opened) => opened,
        Either::Second(()) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The first attempt that ends.
async fn first<S>(running: &mut Vec<(SocketAddr, Attempt<S>)>) -> (SocketAddr, io::Result<S>) {
    poll_fn(|context| {
        for (position, (address, attempt)) in running.iter_mut().enumerate() {
            if let Poll::Ready(ended) = attempt.as_mut().poll(context) {
                let address = *address;
                drop(running.swap_remove(position));
                return Poll::Ready((address, ended));
            }
        }
        Poll::Pending
    })
    .await
}
