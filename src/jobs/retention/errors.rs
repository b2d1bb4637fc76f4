//! The errors of retention runs and of changes to policies.

use thiserror::Error;
use uuid::Uuid;

use crate::metadata::MetadataError;
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::retention::PolicyError;

/// Why a plan was not made or applied.
#[derive(Debug, Error)]
pub enum RetentionError {
    /// A policy set through the API cannot be used, so it is not known what it would keep.
    #[error("nothing expires: {0}")]
    Policies(String),
    /// The clock is not trusted.
    #[error("nothing expires: {0}")]
    Clock(String),
    /// The repository does not exist.
    #[error("the registry has no repository {0}")]
    UnknownRepository(RepoName),
    /// The plan is not stored any more: newer plans replaced it, or the program was restarted.
    #[error("the plan {0} is not available any more; make a new one")]
    NoPlan(Uuid),
    /// The policies have changed since the plan was made.
    #[error("the policies have changed since the plan {0} was made; make a new one")]
    OtherPolicies(Uuid),
    /// The plan shows what would happen in a nearly full store, and cannot be applied by hand.
    #[error(
        "the plan {0} shows what would be removed if the store were nearly full; it can't be applied by hand"
    )]
    UnderPressure(Uuid),
    /// The plan would take too much memory.
    #[error(
        "the plan would take more than a quarter of server.memory; plan and apply one repository at a time"
    )]
    TooLarge,
    /// A store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<MetadataError> for RetentionError {
    fn from(error: MetadataError) -> Self {
        ServiceError::from(error).into()
    }
}

/// Why a policy was not set or removed.
#[derive(Debug, Error)]
pub enum PolicyChangeError {
    /// The policy has a mistake, or contradicts another one.
    #[error(transparent)]
    Mistake(#[from] PolicyError),
    /// The policy belongs to the configuration file.
    #[error("the retention policy `{0}` is set in the configuration file; change it there")]
    InFile(String),
    /// There is no policy of this name.
    #[error("there is no retention policy `{0}`")]
    Unknown(String),
    /// A store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<MetadataError> for PolicyChangeError {
    fn from(error: MetadataError) -> Self {
        ServiceError::from(error).into()
    }
}
