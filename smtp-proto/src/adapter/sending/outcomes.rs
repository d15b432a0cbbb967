//! Many messages over one session: the machine is kept supplied, the outcomes come in order.

use std::collections::VecDeque;
use std::iter::Peekable;

use bytes::Bytes;

use super::client::Client;
use super::runtime::{Drive, Drives};
use crate::adapter::Error;
use crate::client::{Content, Envelope, Event, Outcome, RequestId};
use crate::error::ApiMisuse;

/// What becomes of messages that are sent one behind the other, in their order.
#[must_use = "nothing is sent unless the outcomes are asked for"]
pub struct Outcomes<'a, R: Drives<S>, S, M: Iterator> {
    client: &'a mut Client<R, S>,
    messages: Peekable<M>,
    /// Those that the machine has, and those that it refused, in the order in which they were taken.
    taken: VecDeque<Taken>,
    over: bool,
}

enum Taken {
    Sent(RequestId, Option<Outcome>),
    Refused(Error),
}

impl<'a, R, S, M, C> Outcomes<'a, R, S, M>
where
    R: Drives<S>,
    M: Iterator<Item = (Envelope, C)>,
    C: Into<Bytes>,
{
    pub(super) fn new(client: &'a mut Client<R, S>, messages: M) -> Self {
        Self { client, messages: messages.peekable(), taken: VecDeque::new(), over: false }
    }

    /// What became of the next message; `None` behind the last.
    ///
    /// An error is either about this message alone, when it is no possible message ([`Error::Smtp`] with a misuse), or it
    /// is [`Error::Over`]: the session is over, and this message and those behind it have not been taken. It comes once,
    /// and nothing comes behind it.
    ///
    /// No outcome is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Outcome, Error>> {
        loop {
            self.supply();
            match self.taken.front_mut() {
                Some(Taken::Sent(_, outcome @ Some(_))) => {
                    let outcome = outcome.take().map(Ok);
                    self.taken.pop_front();
                    return outcome;
                }
                Some(Taken::Refused(_)) => {
                    return match self.taken.pop_front() {
                        Some(Taken::Refused(error)) => Some(Err(error)),
                        _ => None,
                    };
                }
                Some(Taken::Sent(_, None)) => {}
                None => return self.at_end(),
            }
            let any = |event| match event {
                Event::Outcome { id, outcome } => Some((id, outcome)),
                _ => None,
            };
            match self.client.until(any).await {
                Ok((id, outcome)) => self.note(id, outcome),
                // Every message has had its outcome before.
                Err(error) => {
                    self.taken.clear();
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Gives back what has not been taken, for another session.
    pub fn into_rest(self) -> impl Iterator<Item = M::Item> {
        self.messages
    }

    /// Lets the machine have as much as it can use before its next event.
    fn supply(&mut self) {
        while self.client.failure().is_none() && self.client.driver.session().has_room() {
            let Some((envelope, content)) = self.messages.next() else {
                return;
            };
            let content = Content::Whole(content.into());
            let taken = match self.client.call(|machine| machine.send(envelope, content)) {
                Ok(id) => Taken::Sent(id, None),
                Err(error) => Taken::Refused(error),
            };
            self.taken.push_back(taken);
        }
    }

    fn note(&mut self, id: RequestId, outcome: Outcome) {
        for taken in &mut self.taken {
            if let Taken::Sent(sent, slot) = taken
                && *sent == id
            {
                *slot = Some(outcome);
                return;
            }
        }
    }

    /// Nothing is under way.
    fn at_end(&mut self) -> Option<Result<Outcome, Error>> {
        if self.over || self.messages.peek().is_none() {
            return None;
        }
        self.over = true;
        let client = &self.client;
        Some(Err(Error::misuse(client.driver.peer(), ApiMisuse::Closed, client.failure())))
    }
}
