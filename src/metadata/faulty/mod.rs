//! A metadata store in which things go wrong when a test wants them to.
//!
//! ```
//! # use orlop::metadata::faulty::{Failure, Fault, Faults, Operation};
//! let faults = Faults::new();
//! faults.next_of(Operation::CommitUpload, Fault::FailAfter(Failure::Io));
//! faults.nth(7, Fault::Crash);
//! ```

mod forward;
mod operation;
mod plan;
#[cfg(test)]
mod tests;

use super::{MetadataError, Result};

pub use operation::Operation;
pub use plan::{Failure, Fault, Faults};

/// A store that does what `S` does, except for what [`Faults`] says.
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Faulty<S> {
    /// Puts faults before a store.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// The control.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl Faults {
    /// Does `work` as the plan has it.
    async fn apply<T>(&self, operation: Operation, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_down() {
            return Err(down());
        }
        match self.next(operation) {
            None => work.await,
            Some(Fault::Fail(failure)) => Err(failure.error()),
            Some(Fault::FailAfter(failure)) => {
                work.await?;
                Err(failure.error())
            }
            Some(Fault::Crash) => {
                self.crash();
                Err(down())
            }
            Some(Fault::CrashAfter) => {
                let _ = work.await;
                self.crash();
                Err(down())
            }
        }
    }
}

impl Failure {
    fn error(self) -> MetadataError {
        match self {
            Self::Io => MetadataError::Failed("an injected fault".into()),
            Self::Full => MetadataError::Full,
        }
    }
}

fn down() -> MetadataError {
    MetadataError::Failed("the machine is down".into())
}
