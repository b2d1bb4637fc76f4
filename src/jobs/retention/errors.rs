//! Why retention did not do what it was asked for.

use thiserror::Error;
use uuid::Uuid;

use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::retention::PolicyError;

/// Why nothing was planned or applied.
#[derive(Debug, Error)]
pub enum RetentionError {
    /// Policies that were set cannot be used, so what they keep is not known.
    #[error("nothing expires: {0}")]
    Policies(String),
    /// The clock cannot be trusted.
    #[error("nothing expires: {0}")]
    Clock(String),
    /// There is no such repository.
    #[error("the registry has no repository {0}")]
    UnknownRepository(RepoName),
    /// The plan is not there any more: others were made since, or the program was started anew.
    #[error("there is no plan {0} any more: make a new one")]
    NoPlan(Uuid),
    /// The plan was made by other policies.
    #[error("the policies have changed since the plan {0} was made: make a new one")]
    OtherPolicies(Uuid),
    /// The plan is for a store that is nearly full.
    #[error(
        "the plan {0} tells what would go if the store were nearly full: it is done then, and not by hand"
    )]
    UnderPressure(Uuid),
    /// The plan takes too much memory.
    #[error(
        "the plan would take more than a quarter of server.memory: plan and apply one repository at a time"
    )]
    TooLarge,
    /// A store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why a policy was not set or removed.
#[derive(Debug, Error)]
pub enum PolicyChangeError {
    /// It has a mistake, or contradicts another.
    #[error(transparent)]
    Mistake(#[from] PolicyError),
    /// It is the configuration file's.
    #[error("the retention policy `{0}` is in the configuration file, and is changed there")]
    InFile(String),
    /// There is none.
    #[error("there is no retention policy `{0}`")]
    Unknown(String),
    /// A store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}
