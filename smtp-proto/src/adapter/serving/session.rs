//! One session on an asynchronous runtime: events go to the handler, decisions to the machine.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use super::handle::Attention;
use super::visit::{Panicked, Visit};
use crate::adapter::Error;
use crate::machine::Machine;
use crate::server::{Event, Handler, Server, Session, dispatch};

/// What a machine came to.
#[derive(Debug)]
pub enum Next<E> {
    /// Something happened.
    Event(E),
    /// Nothing moves until the application acts.
    Decide,
    /// All is said and the connection closed.
    Closed,
}

/// A server's machine with its connection, on an asynchronous runtime.
pub trait Drive {
    /// The machine.
    fn machine(&mut self) -> &mut Server;

    /// What it knows about the session.
    fn session(&self) -> &Session;

    /// The other end, for messages.
    fn peer(&self) -> &str;

    /// Runs the machine to its next event. Nothing is lost when the future is dropped.
    fn next(&mut self) -> impl Future<Output = Result<Next<Event>, Error>>;

    /// When the machine wants to be called at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Waits for the peer to close as well.
    fn linger(&mut self) -> impl Future<Output = ()>;

    /// The runtime's time.
    fn now() -> Instant;

    /// Waits; without end when there is none.
    fn sleep_until(until: Option<Instant>) -> impl Future<Output = ()>;
}

/// Serves a session to its end.
///
/// # Errors
/// When a decision of the handler does not fit. The end of the session, whatever it was, is told to the handler.
pub async fn serve_session<D: Drive, H: Handler>(driver: &mut D, mut handler: H, visit: Visit) -> Result<(), Error> {
    let Visit { mut account, mut watch, .. } = visit;
    let (mut misuse, mut broken_off, mut panicked) = (None, false, false);
    loop {
        account.note(driver.session());
        if let Some(shutdown) = watch.shutdown() {
            driver.machine().shut_down(shutdown);
        }
        let came = {
            let (attention, next) = (pin!(watch.attention::<D>()), pin!(driver.next()));
            either(attention, next).await
        };
        let next = match came {
            Either::First(Attention::Orders) => continue,
            Either::First(Attention::Overtime) => {
                // The last is that it does not even close.
                if std::mem::replace(&mut broken_off, true) {
                    break;
                }
                driver.machine().connection_lost();
                continue;
            }
            Either::Second(next) => next?,
        };
        let event = match next {
            Next::Event(event) => event,
            Next::Decide => continue,
            Next::Closed => break,
        };
        let asked = account.event(driver.session(), &event);
        if panicked {
            continue;
        }
        let deadline = driver.deadline();
        let came = {
            let hook = pin!(dispatch(&mut handler, driver.session(), event));
            let (late, overtime) = (pin!(D::sleep_until(deadline)), pin!(watch.overtime::<D>()));
            either(pin!(account.hook(hook)), pin!(either(late, overtime))).await
        };
        match came {
            Either::First(Ok(decision)) => {
                account.decided(driver.session(), asked, decision.as_ref());
                if let Some(decision) = decision {
                    misuse = misuse.or(driver.machine().decide(decision).err());
                }
                continue;
            }
            Either::First(Err(Panicked)) => {
                panicked = true;
                driver.machine().application_failed();
            }
            Either::Second(Either::First(())) => driver.machine().overdue(),
            Either::Second(Either::Second(())) => driver.machine().application_failed(),
        }
        account.failed(driver.session(), asked);
    }
    if !broken_off {
        driver.linger().await;
    }
    misuse.map_or(Ok(()), |misuse| Err(Error::misuse(driver.peer(), misuse, None)))
}

/// Which of two came first.
pub(in crate::adapter) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for one of two; the first comes first when both are there. They are pinned where they are: taken in, they
/// would be there twice, in each of ten thousand sessions.
pub(in crate::adapter) async fn either<A, B>(
    mut first: Pin<&mut impl Future<Output = A>>,
    mut second: Pin<&mut impl Future<Output = B>>,
) -> Either<A, B> {
    poll_fn(|context| {
        if let Poll::Ready(first) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(first));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// Waits for all.
pub async fn all<F: Future<Output = ()>>(futures: impl IntoIterator<Item = F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
