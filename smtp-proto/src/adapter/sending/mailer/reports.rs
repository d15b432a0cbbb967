//! What becomes of many messages: they are taken as they are needed, and sent by workers.

use std::future::poll_fn;
use std::iter::Fuse;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::Shared;
use super::batch::{Batch, Job};
use super::message::Message;
use super::session::Whole;
use super::task::Task;
use super::worker::Worker;
use crate::adapter::Error;
use crate::adapter::sending::runtime::Runtime;
use crate::client::Envelope;
use crate::delivery::Report;

/// What becomes of messages that a mailer sends, as they come to their ends.
///
/// Messages are taken while reports are waited for: a few more than may be on their way, and 1000 or 256 MiB at most that
/// have not been told of. When this is dropped, messages that have not begun are not sent, and those on their way are given up
/// with their connections.
#[must_use = "nothing is sent unless the reports are asked for"]
pub struct Reports<R: Runtime, M> {
    shared: Arc<Shared<R>>,
    batch: Arc<Batch>,
    messages: Fuse<M>,
    /// Messages taken.
    taken: usize,
    /// Workers that there have been.
    workers: usize,
}

impl<R, M, C> Reports<R, M>
where
    R: Runtime,
    M: Iterator<Item = (Envelope, C)>,
    C: Into<Bytes>,
{
    pub(super) fn new(shared: Arc<Shared<R>>, messages: M) -> Self {
        let batch = Arc::new(Batch::new(shared.connector.messages_in_flight().saturating_add(1)));
        Self { shared, batch, messages: messages.fuse(), taken: 0, workers: 0 }
    }

    /// What became of one of the messages, with its place among them, counted from 0; `None` when all have been told of.
    /// It is an error where [`Mailer::send`](super::Mailer::send) gives one.
    ///
    /// No report is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<(usize, Result<Report, Error>)> {
        loop {
            let told = poll_fn(|context| {
                loop {
                    let told = self.batch.poll_told(context);
                    let supplied = self.supply();
                    match told {
                        Poll::Ready(told) => return Poll::Ready(Ok(told)),
                        Poll::Pending if supplied => {}
                        Poll::Pending if self.batch.is_deserted() => return Poll::Ready(Err(())),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            match told.await {
                Ok(told) => return told,
                Err(()) => self.send_one().await,
            }
        }
    }

    /// Takes as many messages as are needed, and has them sent. Whether there were any, or there are no more.
    fn supply(&mut self) -> bool {
        let mut supplied = false;
        while self.batch.has_room() {
            supplied = true;
            let Some((envelope, content)) = self.messages.next() else {
                self.batch.complete();
                break;
            };
            let mut message = Message::new(&self.shared, envelope);
            if self.shared.places.is_ending() {
                message.give_up(Error::MailerClosed);
            }
            let over = message.is_over();
            let job = Job { index: self.taken, message, content: content.into() };
            self.taken = self.taken.saturating_add(1);
            self.batch.opened(job.content.len());
            if over {
                self.shared.end(&self.batch, job);
            } else {
                self.batch.put_in(job, None);
            }
        }
        while self.batch.hire(self.shared.most) {
            self.workers = self.workers.saturating_add(1);
            R::spawn(Task::worker(Worker::new(Arc::clone(&self.shared), Arc::clone(&self.batch), self.workers)));
        }
        supplied
    }

    /// Where nothing runs beside this, there is nobody else to do it.
    async fn send_one(&mut self) {
        let Ok(Some(Job { index, message, content })) = self.batch.take(|| Ok(())) else {
            let alarm = self.batch.standing(R::now()).alarm;
            self.shared.rested(alarm).await;
            return;
        };
        let octets = content.len();
        let result = self.shared.deliver(message, &Whole(content)).await;
        self.batch.tell(index, octets, result);
    }
}

impl<R: Runtime, M> Drop for Reports<R, M> {
    fn drop(&mut self) {
        self.batch.abandon();
    }
}
