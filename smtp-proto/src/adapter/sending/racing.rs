//! Connecting to a server that has several addresses.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
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
                match either(pin!(first(&mut running)), pin!(R::sleep_until(until))).await {
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
    // A limit beyond all time is none.
    let until = R::now().checked_add(limit);
    match either(pin!(R::open(address, source, limit)), pin!(R::sleep_until(until))).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::sending::System;
    use std::cell::Cell;
    use std::future::pending;
    use std::task::{Context, Waker};

    thread_local! {
        static START: std::time::Instant = std::time::Instant::now();
        static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        static ALARM: Cell<Option<Duration>> = const { Cell::new(None) };
    }

    /// Time passes when nothing else is to be done.
    #[derive(Clone, Copy)]
    struct Virtual;

    /// The last octet of an address is how many tenths of a second it takes to answer: by a refusal if it is odd, never
    /// from 200 on.
    impl System for Virtual {
        type Socket = SocketAddr;

        fn now() -> std::time::Instant {
            START.with(|start| *start) + NOW.get()
        }

        async fn sleep_until(until: Option<std::time::Instant>) {
            let until = until.map(|until| until.duration_since(START.with(|start| *start)));
            poll_fn(|_| match until {
                Some(until) if until <= NOW.get() => Poll::Ready(()),
                Some(until) => {
                    ALARM.set(Some(ALARM.get().map_or(until, |alarm| alarm.min(until))));
                    Poll::Pending
                }
                None => Poll::Pending,
            })
            .await;
        }

        async fn addresses(_: &str) -> io::Result<Vec<SocketAddr>> {
            pending().await
        }

        async fn open(address: SocketAddr, _: Option<IpAddr>, _: Duration) -> io::Result<SocketAddr> {
            let tenths = tenths(address);
            if tenths >= 200 {
                return pending().await;
            }
            Self::sleep_until(Some(Self::now() + Duration::from_millis(100) * u32::from(tenths))).await;
            if tenths % 2 == 1 { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(address) }
        }

        #[cfg(unix)]
        async fn open_unix(_: &std::path::Path) -> io::Result<SocketAddr> {
            pending().await
        }

        fn local_address(_: &SocketAddr) -> Option<IpAddr> {
            None
        }
    }

    fn tenths(address: SocketAddr) -> u8 {
        match address.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        }
    }

    fn v4(tenths: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, tenths], 25))
    }

    fn v6(tenths: u8) -> SocketAddr {
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(tenths)], 25))
    }

    /// Who won or how each failed, and after how many milliseconds.
    fn run(
        addresses: &[SocketAddr],
        source: Option<IpAddr>,
    ) -> (Result<SocketAddr, Vec<(SocketAddr, io::ErrorKind)>>, u128) {
        NOW.set(Duration::ZERO);
        let mut race = pin!(race::<Virtual>("server", addresses.to_vec(), source, Duration::from_secs(30)));
        let mut context = Context::from_waker(Waker::noop());
        let result = loop {
            ALARM.set(None);
            if let Poll::Ready(result) = race.as_mut().poll(&mut context) {
                break result;
            }
            NOW.set(ALARM.get().expect("something is waited for"));
        };
        let result = result.map_err(|error| match error {
            Error::Connect { attempts, .. } => {
                attempts.into_iter().map(|(address, error)| (address, error.kind())).collect()
            }
            other => panic!("{other}"),
        });
        (result, NOW.get().as_millis())
    }

    #[test]
    fn the_first_to_answer_wins_and_a_refusal_lets_the_next_begin() {
        assert_eq!(run(&[v6(0)], None), (Ok(v6(0)), 0));
        assert_eq!(run(&[v6(200), v4(0)], None), (Ok(v4(0)), 250));
        assert_eq!(run(&[v6(4), v4(0)], None), (Ok(v4(0)), 250));
        assert_eq!(run(&[v6(4), v4(2)], None), (Ok(v6(4)), 400));
        assert_eq!(run(&[v6(1), v4(2)], None), (Ok(v4(2)), 300));
        assert_eq!(run(&[v6(200), v6(0), v4(200)], None), (Ok(v6(0)), 500));
    }

    #[test]
    fn every_failure_is_told() {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, TimedOut};
        assert_eq!(run(&[], None), (Err(vec![]), 0));
        let failed = vec![(v4(1), ConnectionRefused), (v6(200), TimedOut)];
        assert_eq!(run(&[v6(200), v4(1)], None), (Err(failed), 30_000));
        let failed = vec![(v4(0), AddrNotAvailable), (v6(1), ConnectionRefused)];
        assert_eq!(run(&[v4(0), v6(1)], Some(v6(9).ip())), (Err(failed), 100));
        assert_eq!(run(&[v6(0), v4(2)], Some(v4(9).ip())), (Ok(v4(2)), 200));
    }
}
