//! A metadata store for tests that injects faults.
//!
//! ```
//! # use orlop::metadata::faulty::{Failure, Fault, Faults, Operation};
//! let faults = Faults::new();
//! faults.next_of(Operation::CommitUpload, Fault::FailAfter(Failure::Io));
//! faults.nth(7, Fault::Crash);
//! ```

mod forward;
mod operation;
mod past;
mod retention;
#[cfg(test)]
mod tests;

use super::MetadataError;
use crate::faults::Injected;

pub use crate::faults::{Failure, Fault};
pub use operation::Operation;

/// Controls the faults of a [`Faulty`] store.
pub type Faults = crate::faults::Faults<Operation>;

/// A store that forwards to `S`, except where [`Faults`] injects a fault.
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Faulty<S> {
    /// Wraps a store with fault injection.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Returns the control of the faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Returns the wrapped store.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl Injected for MetadataError {
    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Io => Self::Failed("an injected fault".into()),
            Failure::Full => Self::Full,
        }
    }

    fn down() -> Self {
        Self::Failed("the machine is down".into())
    }
}
