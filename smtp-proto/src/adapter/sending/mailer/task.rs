//! What a mailer has run beside everything else.

use super::places::Housekeeping;
use super::worker::Worker;
use crate::adapter::sending::runtime::Runtime;

/// Something that a mailer has run beside everything else. A runtime runs it until it ends; where it cannot, it drops it.
pub struct Task<R: Runtime>(Kind<R>);

enum Kind<R: Runtime> {
    Housekeeping(Housekeeping<R>),
    Worker(Worker<R>),
}

impl<R: Runtime> Task<R> {
    pub(super) fn housekeeping(housekeeping: Housekeeping<R>) -> Self {
        Self(Kind::Housekeeping(housekeeping))
    }

    pub(super) fn worker(worker: Worker<R>) -> Self {
        Self(Kind::Worker(worker))
    }

    /// Runs until there is nothing left to do.
    pub async fn run(self) {
        match self.0 {
            Kind::Housekeeping(housekeeping) => housekeeping.run().await,
            Kind::Worker(worker) => worker.run().await,
        }
    }
}
