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
mod past;
mod retention;
#[cfg(test)]
mod tests;

use super::MetadataError;
use crate::faults::Injected;

pub use crate::faults::{Failure, Fault};
pub use operation::Operation;

/// The control of a [`Faulty`] store.
pub type Faults = crate::faults::Faults<Operation>;

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
