//! The facts: small and transactional.
//!
//! One method is one transaction is one step of a use case; no transaction type crosses the seam. A method
//! that changes something returns after its COMMIT, durable unless its description says *lazily*: such a
//! change survives the death of the process, but a power cut may undo it.
//!
//! The traits follow the nouns; [`MetadataStore`] is all of them together.

mod accounting;
mod accounts;
mod audit;
mod change;
mod collection;
mod events;
mod expiry;
mod history;
mod listings;
mod pages;
mod policies;
mod quotas;
mod records;
mod repositories;
mod roles;
mod scope;
mod scrub;
mod snapshots;
mod trash;
mod visible;
mod why;

pub mod faulty;
pub mod sqlite;
#[cfg(test)]
pub mod suite;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

pub use accounting::*;
pub use accounts::*;
pub use audit::*;
pub use change::{Change, HISTORY_KEPT, ImmutableTags, MAX_HISTORY_ROWS};
pub use collection::{Batch, CollectionRules, Garbage};
pub use events::{Event, EventDetails, EventKind, Events, UnknownKind};
pub use expiry::{ExpireManifest, ExpireTag, Expired, Expiry, PinHolds};
pub use history::{ChangeKind, History, HistoryEntry, TagReturn};
pub use listings::*;
pub use pages::{MAX_PAGE_BYTES, Page, Weigh};
pub use policies::*;
pub use quotas::*;
pub use records::*;
pub use repositories::{Renaming, RepositoryChanges, RepositoryStep, RepositoryWork};
pub use roles::{Grantee, InvalidUserName, May, Role, Team, UnknownRole, check_name};
pub use scope::Scope;
pub use scrub::{Condition, DamagedBlob, MOST_LINKERS, Scrubbing};
pub use snapshots::*;
pub use trash::{LostTag, RemovedManifest, RemovedTag, Restoration, Restored, Trash, TrashCursor, TrashPage};
pub use visible::{NameFilter, NameRange, Visible};
pub use why::*;

use crate::clock::Timestamp;
use crate::oci::{Algorithm, BlobKey, Digest, Reference, RepoName, Tag, UploadId};

/// What went wrong with the facts.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// No room for the change; it did not happen.
    #[error("the metadata store is full")]
    Full,
    /// The store was opened read-only or its medium is.
    #[error("the metadata store is read-only")]
    ReadOnly,
    /// The store is not in its place any more: an unmounted volume. The change did not happen.
    #[error("the metadata store has vanished: {0}")]
    Vanished(String),
    /// The store failed. The change did not happen, unless the failure was at COMMIT: then the store must be
    /// opened anew to tell.
    #[error("the metadata store failed: {0}")]
    Failed(String),
}

/// Shorthand for what every method returns.
pub type Result<T> = std::result::Result<T, MetadataError>;

/// Uploads in progress.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Records a new upload, lazily, and its repository where that is new.
    async fn create_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<UploadCreation>;

    /// An upload of `repo`.
    async fn upload(&self, repo: &RepoName, id: UploadId) -> Result<Option<UploadRecord>>;

    /// Whose an upload is, and how many of its bytes are recorded.
    async fn upload_place(&self, id: UploadId) -> Result<Option<UploadPlace>>;

    /// Records that the bytes up to `offset` are durable and what they hash to so far. `false` if the upload
    /// is no more.
    async fn note_progress(&self, id: UploadId, progress: Progress, now: Timestamp) -> Result<bool>;

    /// Records the place that the upload's bytes are about to get, so that a crash leaves a list to finish.
    /// Its progress stays what it was: the bytes behind that are not durable yet. An earlier intent that is
    /// replaced goes on the doomed list. `false` if the upload is no more.
    async fn intend(&self, id: UploadId, intent: &BlobKey) -> Result<bool>;

    /// Takes an intent back, after its bytes were staged again or found never to have moved.
    async fn forget_intent(&self, id: UploadId) -> Result<()>;

    /// Turns an upload into a blob: consumes its row, makes `key` the blob's current generation (what was
    /// current goes on the doomed list), and links and leases it in the upload's repository. That it heals a
    /// damaged blob is an event. Nothing of that if the upload is no more, or a quota would be passed.
    async fn commit_upload(
        &self,
        id: UploadId,
        key: &BlobKey,
        size: BlobSize,
        end: UploadEnd,
    ) -> Result<Commit>;

    /// Ends an upload without a blob. `false` if it is no more. With `idle_since` only if nothing was heard
    /// of it since then.
    async fn cancel_upload(
        &self,
        id: UploadId,
        idle_since: Option<Timestamp>,
        end: UploadEnd,
    ) -> Result<bool>;

    /// Some uploads of which nothing was heard since `idle_since`.
    async fn idle_uploads(&self, idle_since: Timestamp, limit: usize) -> Result<Vec<UploadId>>;

    /// Every upload that has an intent.
    async fn intended_uploads(&self) -> Result<Vec<(UploadId, BlobKey)>>;
}

/// Blobs, and the links by which repositories serve them.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// A blob that `repo` serves. A damaged one is absent.
    async fn blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<BlobRecord>>;

    /// Renews the lease of a link or manifest of `repo` that is stale, unless a live manifest is seen to hold it
    /// or a tag does, and that is not to be renewed. `false` if the target is no more: whoever was told that it is
    /// there must look again.
    async fn renew_lease(&self, repo: &RepoName, target: Target<'_>, renewal: Renewal) -> Result<bool>;

    /// Lets `repo` serve a blob that `from`, or if that is `None` any repository, serves, and leases it.
    async fn mount_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        from: Option<&RepoName>,
        now: Timestamp,
    ) -> Result<Mount>;

    /// Up to `limit` repositories, in no order, that serve a blob.
    async fn blob_repositories(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>>;

    /// Hides a blob from `repo`, to be collected after the trash time unless something unhides it.
    async fn delete_blob(&self, repo: &RepoName, digest: &Digest, now: Timestamp) -> Result<Deletion>;

    /// Marks a generation of a blob as damaged, or as sound again: absent to everyone while it is damaged,
    /// its links and edges staying. A mark that it did not have is an event. `false` if that generation is not
    /// the current one.
    async fn mark_blob(&self, key: &BlobKey, condition: Condition, now: Timestamp) -> Result<bool>;
}

/// Manifests, tags and what they refer to.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// A live manifest of `repo`, with its bytes.
    async fn manifest(&self, repo: &RepoName, reference: &Reference) -> Result<Option<ManifestRecord>>;

    /// Stores a manifest, or a removed one again, with its edges and tags. One out of the trash unhides the
    /// blobs that it needs.
    async fn put_manifest(&self, put: PutManifest) -> Result<PutOutcome>;

    /// Whether it is recorded what this config says of its image.
    async fn has_config_details(&self, config: &Digest) -> Result<bool>;

    /// Marks a manifest as removed and takes its tags away.
    async fn delete_manifest(&self, repo: &RepoName, digest: &Digest, change: &Change) -> Result<Deletion>;

    /// Removes a tag alone.
    async fn delete_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<Deletion>;

    /// Up to `limit` tags of `repo` in byte order behind `after`. `None` if there is no such repository.
    async fn tags(&self, repo: &RepoName, after: Option<&str>, limit: usize) -> Result<Option<Vec<Tag>>>;

    /// Up to `limit` live manifests, by digest behind `after`, whose subject is `subject`, with the given
    /// artifact type if there is one. Fewer where their bytes are many: see [`MAX_REFERRERS_BYTES`].
    async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>>;

    /// Up to `limit` repositories that have a live manifest, in byte order behind `after`. Looks at no others.
    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Vec<RepoName>>;

    /// Whether a repository of this name was ever pushed to.
    async fn repository_exists(&self, repo: &RepoName) -> Result<bool>;

    /// Records, lazily, when manifests were last pulled.
    async fn note_pulls(&self, pulls: Vec<(RepoName, Digest, Timestamp)>) -> Result<()>;
}

/// The collector's steps. Each looks at no more than about `limit` rows.
#[async_trait]
pub trait Collection: Send + Sync {
    /// Reviews manifests that lost their last holder: held ones leave the queue, leased or lately pulled
    /// ones are put off, the others go to the trash.
    async fn review_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Moves manifests whose trash time is over from trash to purging, for good.
    async fn expire_trash(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Deletes edges of purging manifests, puts what they held into the review queue, and deletes manifests
    /// that have no edge left. Children and referrers that nothing else holds follow when their leases have
    /// ended, as removed at that moment. `changed` counts the manifests deleted.
    async fn purge_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Reviews links: held ones leave the queue, leased ones are put off, the others are deleted; a blob
    /// that has no link any more loses its record, and its key goes on the doomed list.
    async fn review_links(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Keys that no record names, whose bytes are to be removed, with their sizes.
    async fn doomed(&self, limit: usize) -> Result<Vec<(BlobKey, u64)>>;

    /// Forgets doomed keys after their bytes were removed, lazily.
    async fn forget_doomed(&self, keys: &[BlobKey]) -> Result<()>;

    /// What a collection would do now, found by running these very steps on a copy: nothing changes.
    async fn dry_run(&self, rules: &CollectionRules) -> Result<Garbage>;
}

/// The store as a whole.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// The id of the byte store that these facts are about; set by the first call.
    async fn bind_store(&self, store_id: &str) -> Result<String>;

    /// The latest time recorded by [`Maintenance::record_time`].
    async fn recorded_time(&self) -> Result<Option<Timestamp>>;

    /// Records the time, lazily.
    async fn record_time(&self, now: Timestamp) -> Result<()>;

    /// Moves the times by which things expire with the clock: all that lie within the jump's span.
    async fn follow_jump(&self, jump: ClockJump) -> Result<()>;

    /// Totals, kept current, at a cost that does not depend on how much there is.
    async fn totals(&self) -> Result<Totals>;

    /// A page of all blobs in order of their digests, damaged ones included, for `fsck` and backups.
    async fn blobs_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>>;

    /// The current generation of a blob, damaged or not, whoever serves it.
    async fn stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>>;

    /// A page of all manifests with their bytes, in a stable order, for `fsck`.
    async fn manifests_after(&self, after: i64, limit: usize) -> Result<Vec<StoredManifest>>;

    /// What a manifest of that page was recorded to refer to when it was accepted.
    async fn edges_of(&self, manifest: i64) -> Result<Vec<Edge>>;

    /// Checks the facts against each other and the store's own structures.
    async fn verify(&self) -> Result<Vec<String>>;

    /// Writes a consistent copy of all facts to the file `path`, which must not exist.
    async fn copy_to(&self, path: &Path) -> Result<()>;

    /// Gives some room back; to be called now and then.
    async fn tidy(&self) -> Result<()>;

    /// Proves that a change becomes durable.
    async fn check(&self) -> Result<()>;
}

/// All facts. Every implementation runs the scenarios of its suite.
pub trait MetadataStore:
    Uploads
    + Blobs
    + Manifests
    + History
    + Trash
    + Expiry
    + Listings
    + Scrubbing
    + RepositoryChanges
    + Snapshots
    + Pins
    + PolicyRecords
    + RetentionRuns
    + Events
    + Collection
    + Accounting
    + Quotas
    + Accounts
    + AuditLog
    + Maintenance
    + 'static
{
}

impl<T> MetadataStore for T where
    T: Uploads
        + Blobs
        + Manifests
        + History
        + Trash
        + Expiry
        + Listings
        + Scrubbing
        + RepositoryChanges
        + Snapshots
        + Pins
        + PolicyRecords
        + RetentionRuns
        + Events
        + Collection
        + Accounting
        + Quotas
        + Accounts
        + AuditLog
        + Maintenance
        + 'static
{
}

/// How long before a lease's renewal matters: renewing one that is younger is not worth a write. A lease
/// thus protects for at least seven eighths of its setting.
pub fn stale_lease(now: Timestamp, lease: Duration) -> Timestamp {
    now.minus(lease / 8)
}
