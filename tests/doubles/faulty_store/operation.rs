//! The operations of a store that can fail.

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`crate::store::BlobStore::stage`]
    Stage,
    /// [`crate::store::StagedBytes::write_at`]
    Write,
    /// [`crate::store::StagedBytes::sync`]
    Sync,
    /// [`crate::store::BlobStore::publish`]
    Publish,
    /// [`crate::store::BlobStore::unpublish`]
    Unpublish,
    /// [`crate::store::BlobStore::discard`]
    Discard,
    /// [`crate::store::BlobStore::read`]
    Read,
    /// [`crate::store::BlobStore::inspect`]
    Inspect,
    /// [`crate::store::BlobStore::adopt`]
    Adopt,
    /// [`crate::store::BlobStore::sync_adopted`]
    SyncAdopted,
    /// [`crate::store::BlobStore::remove`]
    Remove,
    /// [`crate::store::BlobStore::check`]
    Check,
}
