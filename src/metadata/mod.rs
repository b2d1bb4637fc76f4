//! The metadata store: small transactional records about repositories, manifests, blobs, accounts and
//! everything else that is not blob content.
//!
//! Every method is one transaction and one step of a use case; no transaction type crosses this interface. A
//! method that changes something returns after its COMMIT and the change is durable, unless the method is
//! documented as *lazy*: a lazy change survives a crash of the process, but a power failure may undo it.
//!
//! Each trait covers one subject; [`MetadataStore`] combines all of them.

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
pub use change::{Change, DEFAULT_REPOSITORY_HISTORY_ROWS, DEFAULT_TAG_HISTORY_ROWS, ImmutableTags};
pub use collection::{Batch, CollectionRules, Garbage};
pub use events::{Event, EventDetails, EventKind, Events, UnknownKind};
pub use expiry::{ExpireManifest, ExpireTag, Expired, Expiry, PinHolds};
pub use history::{ChangeKind, History, HistoryEntry, TagRestoration};
pub use listings::*;
pub use pages::{MAX_PAGE_BYTES, Page, Weigh};
pub use policies::*;
pub use quotas::*;
pub use records::*;
pub use repositories::{Renaming, RepositoryChanges, RepositoryStep, RepositoryWork};
pub use roles::{Grantee, InvalidUserName, Role, ScopedRole, Team, UnknownRole, check_name};
pub use scope::Scope;
pub use scrub::{Integrity, MAX_LINKING_REPOSITORIES, QuarantinedBlob, Scrubbing};
pub use snapshots::*;
pub use trash::{LostTag, RemovedManifest, RemovedTag, Restoration, Restored, Trash, TrashCursor, TrashPage};
pub use visible::{NameFilter, NameRange, Visible};
pub use why::*;

use crate::clock::Timestamp;
use crate::oci::{Algorithm, BlobKey, Digest, Reference, RepoName, Tag, UploadId};

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
    #[error("the metadata store is no longer at its path: {0}")]
    Vanished(String),
    /// The store failed. The change was not made, unless COMMIT itself failed: then the store must be reopened
    /// to find out.
    #[error("the metadata store failed: {0}")]
    Failed(String),
}

/// The result of every method of the metadata traits.
pub type Result<T> = std::result::Result<T, MetadataError>;

/// Uploads in progress.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Records a new upload, lazily, and its repository if that is new.
    async fn create_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<UploadCreation>;

    /// Returns an upload of `repo`.
    async fn upload(&self, repo: &RepoName, id: UploadId) -> Result<Option<UploadRecord>>;

    /// Returns the repository of an upload, and how many of its bytes are recorded.
    async fn upload_status(&self, id: UploadId) -> Result<Option<UploadStatus>>;

    /// Records that the bytes up to `offset` are durable, and their hash state. Returns `false` if the upload
    /// no longer exists.
    async fn record_progress(&self, id: UploadId, progress: Progress, now: Timestamp) -> Result<bool>;

    /// Records the blob key that the upload's content is about to be published under, so that recovery after a
    /// crash knows what to finish. The recorded progress does not change: later bytes are not durable yet. An
    /// earlier intent that is replaced becomes a pending deletion. Returns `false` if the upload no longer
    /// exists.
    async fn record_intent(&self, id: UploadId, intent: &BlobKey) -> Result<bool>;

    /// Removes an intent after its content was staged again, or was found never to have been published.
    async fn forget_intent(&self, id: UploadId) -> Result<()>;

    /// Turns an upload into a blob: deletes the upload's row, makes `key` the blob's current generation (the
    /// previous generation becomes a pending deletion), and links and leases the blob in the upload's
    /// repository. Records an event if this repairs a quarantined blob. Changes nothing if the upload no longer
    /// exists or a quota would be exceeded.
    async fn commit_upload(
        &self,
        id: UploadId,
        key: &BlobKey,
        size: BlobSize,
        end: UploadEnd,
    ) -> Result<Commit>;

    /// Ends an upload without a blob. Returns `false` if it no longer exists. With `idle_since`, cancels it
    /// only if it has had no activity since then.
    async fn cancel_upload(
        &self,
        id: UploadId,
        idle_since: Option<Timestamp>,
        end: UploadEnd,
    ) -> Result<bool>;

    /// Returns up to `limit` uploads without activity since `idle_since`.
    async fn idle_uploads(&self, idle_since: Timestamp, limit: usize) -> Result<Vec<UploadId>>;

    /// Returns every upload that has an intent.
    async fn intended_uploads(&self) -> Result<Vec<(UploadId, BlobKey)>>;
}

/// Blobs, and the links through which repositories serve them.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Returns a blob that `repo` serves. A quarantined blob is absent.
    async fn blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<BlobRecord>>;

    /// Renews the lease on a link or manifest of `repo` if the lease is stale. Skips the write if a live
    /// manifest or a tag keeps the target alive, unless `renewal` asks for it nevertheless. Returns `false` if
    /// the target no longer exists: the caller, which has just seen it, must look again.
    async fn renew_lease(&self, repo: &RepoName, target: Target<'_>, renewal: Renewal) -> Result<bool>;

    /// Links a blob to `repo` and leases it, if `from` serves it, or any repository if `from` is `None`.
    async fn mount_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        from: Option<&RepoName>,
        now: Timestamp,
    ) -> Result<Mount>;

    /// Returns up to `limit` repositories that serve a blob, in no particular order.
    async fn blob_repositories(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>>;

    /// Hides a blob from `repo`. It is collected after the trash time unless something unhides it.
    async fn delete_blob(&self, repo: &RepoName, digest: &Digest, now: Timestamp) -> Result<Deletion>;

    /// Quarantines a generation of a blob, or releases it from quarantine. A quarantined blob is absent to all
    /// clients, but its links and edges remain. A change of its state is recorded as an event. Returns `false`
    /// if the generation is not the current one.
    async fn mark_blob(&self, key: &BlobKey, integrity: Integrity, now: Timestamp) -> Result<bool>;
}

/// Manifests, tags and the references between them.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// Returns a live manifest of `repo` with its content.
    async fn manifest(&self, repo: &RepoName, reference: &Reference) -> Result<Option<ManifestRecord>>;

    /// Stores a manifest, or a removed one again, with its edges and tags. A manifest that returns from the
    /// trash unhides the blobs it requires.
    async fn put_manifest(&self, put: PutManifest) -> Result<PutOutcome>;

    /// Returns whether the image details of this config are recorded.
    async fn has_config_details(&self, config: &Digest) -> Result<bool>;

    /// Moves a manifest to the trash and removes its tags.
    async fn delete_manifest(&self, repo: &RepoName, digest: &Digest, change: &Change) -> Result<Deletion>;

    /// Removes a tag and leaves its manifest.
    async fn delete_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<Deletion>;

    /// Returns up to `limit` tags of `repo` after `after`, in byte order. `None` if the repository does not
    /// exist.
    async fn tags(&self, repo: &RepoName, after: Option<&str>, limit: usize) -> Result<Option<Vec<Tag>>>;

    /// Returns up to `limit` live manifests whose subject is `subject`, sorted by digest, after `after`,
    /// filtered by artifact type if one is given. Returns fewer if they are large: see [`MAX_REFERRERS_BYTES`].
    async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>>;

    /// Returns up to `limit` repositories with a live manifest after `after`, in byte order. Reads no other
    /// repositories.
    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Vec<RepoName>>;

    /// Returns whether a repository of this name has ever been pushed to.
    async fn repository_exists(&self, repo: &RepoName) -> Result<bool>;

    /// Records, lazily, when manifests were last pulled.
    async fn record_pulls(&self, pulls: Vec<(RepoName, Digest, Timestamp)>) -> Result<()>;
}

/// The steps of the garbage collector. Each reads at most about `limit` rows.
#[async_trait]
pub trait Collection: Send + Sync {
    /// Reviews manifests that lost their last reference. A manifest that is referenced again leaves the review
    /// queue, one that is leased or was pulled recently is reviewed later, and any other moves to the trash.
    async fn review_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Marks manifests whose trash time is over for purging. They can no longer be restored.
    async fn expire_trash(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Deletes edges of manifests that are being purged, puts the targets into the review queue, and deletes
    /// manifests that have no edge left. Children and referrers that nothing else keeps alive follow when their
    /// leases have ended, as if they had been removed at that moment. `changed` counts the deleted manifests.
    async fn purge_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Reviews links. A link that a manifest needs leaves the review queue, a leased one is reviewed later, and
    /// any other is deleted. A blob without any link loses its record, and its key becomes a pending deletion.
    async fn review_links(&self, rules: &CollectionRules, limit: usize) -> Result<Batch>;

    /// Returns keys that no record refers to, whose content is to be deleted, with their sizes.
    async fn pending_deletions(&self, limit: usize) -> Result<Vec<(BlobKey, u64)>>;

    /// Removes pending deletions, lazily, after their content was deleted.
    async fn forget_pending_deletions(&self, keys: &[BlobKey]) -> Result<()>;

    /// Returns what a collection would remove now. It runs the real steps on a copy and changes nothing.
    async fn dry_run(&self, rules: &CollectionRules) -> Result<Garbage>;
}

/// Operations on the store as a whole.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Returns the id of the blob store that this metadata belongs to. The first call sets it.
    async fn bind_store(&self, store_id: &str) -> Result<String>;

    /// Returns the latest time recorded by [`Maintenance::record_time`].
    async fn recorded_time(&self) -> Result<Option<Timestamp>>;

    /// Records the current time, lazily.
    async fn record_time(&self, now: Timestamp) -> Result<()>;

    /// Moves recorded times that are used for expiry after the clock was corrected: all that lie within the
    /// span of the jump.
    async fn apply_clock_jump(&self, jump: ClockJump) -> Result<()>;

    /// Returns totals that are kept current. The cost does not depend on the number of records.
    async fn totals(&self) -> Result<Totals>;

    /// Returns a page of all blobs in order of their digests, including quarantined ones, for `fsck` and
    /// backups.
    async fn blobs_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>>;

    /// Returns the current generation of a blob, quarantined or not, whichever repository serves it.
    async fn stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>>;

    /// Returns a page of all manifests with their content in a stable order, for `fsck`.
    async fn manifests_after(&self, after: i64, limit: usize) -> Result<Vec<StoredManifest>>;

    /// Returns the references of a manifest from such a page, as recorded when the manifest was accepted.
    async fn edges_of(&self, manifest: i64) -> Result<Vec<Edge>>;

    /// Checks that the records agree with each other and that the store's own structures are valid. Returns the
    /// problems found.
    async fn verify(&self) -> Result<Vec<String>>;

    /// Writes a consistent copy of all metadata to the file `path`, which must not exist.
    async fn copy_to(&self, path: &Path) -> Result<()>;

    /// Returns some unused space to the file system. Meant to be called from time to time.
    async fn tidy(&self) -> Result<()>;

    /// Verifies that the store can make a change durable.
    async fn check(&self) -> Result<()>;
}

/// A complete metadata store. Every implementation runs the scenarios of the `suite` module.
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

/// Returns the time at or before which a lease must have been given to be worth renewing. Renewing a younger
/// lease is not worth a write, so a lease protects its target for at least seven eighths of the configured
/// duration.
pub fn lease_renewal_cutoff(now: Timestamp, lease: Duration) -> Timestamp {
    now.minus(lease / 8)
}
