//! Who is told how messages fare.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::adapter::Error;
use crate::client::Envelope;
use crate::delivery::Report;

/// Is told how the messages of a mailer fare: for metrics, logs and queues. Every method does nothing by default.
///
/// It is called by whatever sends the message: be quick. Its panics are caught, and concern no message. A message whose
/// future is dropped comes to no end that is told.
#[allow(unused_variables, reason = "the names of the arguments are documentation")]
pub trait MailObserver: Send + Sync {
    /// A message is tried again after this time, for some of its recipients at least.
    fn delayed(&self, envelope: &Envelope, delay: Duration) {}

    /// This became of a message, so long after it was handed over.
    fn done(&self, envelope: &Envelope, result: Result<&Report, &Error>, took: Duration) {}

    /// No message is under way any more.
    fn idle(&self) {}
}

/// Those of a mailer.
#[derive(Default)]
pub(super) struct Observers {
    all: Mutex<Vec<Arc<dyn MailObserver>>>,
    under_way: Mutex<usize>,
}

impl Observers {
    pub(super) fn add(&self, observer: Arc<dyn MailObserver>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Calls all of them; they may add others, and panic.
    pub(super) fn tell(&self, mut call: impl FnMut(&(dyn MailObserver + 'static))) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for observer in all {
            // The panic hook has told of it.
            let _ = catch_unwind(AssertUnwindSafe(|| call(&*observer)));
        }
    }

    /// A message is under way until this is dropped.
    pub(super) fn under_way(all: &Arc<Self>) -> UnderWay {
        all.change(|count| count.saturating_add(1));
        UnderWay(Arc::clone(all))
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) -> usize {
        let mut count = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *count = change(*count);
        *count
    }
}

/// A message that is under way.
pub(super) struct UnderWay(Arc<Observers>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.change(|count| count.saturating_sub(1)) == 0 {
            self.0.tell(<dyn MailObserver>::idle);
        }
    }
}
