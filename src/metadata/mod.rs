//! The metadata store: small transactional records about repositories, manifests, blobs, accounts and
//! everything else that is not blob content.
//!
//! | module | contents |
//! | --- | --- |
//! | `model` | records |
//! | `sql` | connections, statements, rows and values, whatever the engine |
//! | `queries` | reads: lists, reports, snapshots |
//! | `ops` | changes, with the rules of the registry |
//! | `sqlite` | the engine: opening, group commit, readers, cache, migrations |
//!
//! Every public method of [`Metadata`] is one transaction and one step of a use case; no transaction type crosses this
//! interface. A method that changes something returns after its COMMIT and the change is durable, unless the method is
//! documented as *lazy*: a lazy change survives a crash of the process, but a power failure may undo it.
#![expect(
    clippy::missing_errors_doc,
    reason = "methods of the store fail for the reasons that `MetadataError` lists"
)]

mod engine;
#[cfg(any(test, feature = "testing"))]
#[path = "../../tests/doubles/metadata_faults.rs"]
mod faults;
mod model;
mod operation;
mod ops;
mod queries;
mod sql;
pub mod sqlite;
#[cfg(test)]
pub mod suite;

use thiserror::Error;

pub use engine::Access;
#[cfg(any(test, feature = "testing"))]
pub use faults::Faults;
pub use model::*;
pub use operation::Operation;

use crate::errors::BoxError;
use engine::{Durability, Engine};

/// The metadata store.
pub struct Metadata {
    engine: Engine,
    /// Faults that tests inject.
    #[cfg(any(test, feature = "testing"))]
    faults: Option<Faults>,
}

/// An error of the metadata store.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// There is no space for the change; it was not made.
    #[error("the metadata store is full")]
    Full,
    /// The store was opened read-only, or its file system is read-only.
    #[error("the metadata store is read-only")]
    ReadOnly,
    /// The store's files are no longer at their path, for example because a volume was unmounted. The change
    /// was not made.
    #[error("the metadata store is no longer at its path")]
    Vanished(#[source] BoxError),
    /// The store failed. The change was not made, unless COMMIT itself failed: then the store must be reopened
    /// to find out.
    #[error("the metadata store failed")]
    Failed(#[source] BoxError),
}

/// The result of every method of [`Metadata`].
pub type Result<T> = std::result::Result<T, MetadataError>;
