//! What callers of the store and its engine agree on: access, durability, and the errors of a transaction.

use thiserror::Error;

use crate::errors::BoxError;

/// Whether the database may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may be changed.
    ReadWrite,
    /// It may not be changed, not even by opening it.
    ReadOnly,
}

/// What a change must survive once its caller has the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The death of the process.
    Lazy,
    /// A power cut.
    Full,
}

/// Whether a request waits for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A request waits for it.
    Awaited,
    /// Only background work waits for it.
    Background,
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

/// The result of every method of [`Metadata`](super::Metadata).
pub type Result<T> = std::result::Result<T, MetadataError>;
