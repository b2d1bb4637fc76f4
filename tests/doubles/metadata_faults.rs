//! Injects faults into the operations of a metadata store.

use super::{Metadata, MetadataError, Operation};
use crate::faults::{Failure, Injected};

/// Controls the faults that tests inject into a [`Metadata`].
///
/// ```
/// # use orlop::faults::{Failure, Fault};
/// # use orlop::metadata::{Faults, Operation};
/// let faults = Faults::new();
/// faults.inject_next(Operation::CommitUpload, Fault::FailAfter(Failure::Io));
/// faults.inject_nth(7, Fault::Crash);
/// ```
pub type Faults = crate::faults::Faults<Operation>;

impl Metadata {
    /// Injects faults into the operations of this store.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults: Some(faults), ..self }
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
