//! One pass over everything: every blob in the order of the digests, then every manifest. It quarantines damaged blobs
//! and releases repaired ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use thiserror::Error;

use super::reading::{BlobRead, ReadOutcome, ReadReason};
use super::report::ScrubStatus;
use super::unverified::UnverifiedQueue;
use crate::clock::Timestamp;
use crate::errors::BoxError;
use crate::maintenance::fsck::{Findings, ProblemKind, Verdict, record_sound};
use crate::metadata::{Integrity, MetadataError, StoredBlob, StoredManifest};
use crate::oci::{BlobKey, Digest, Hasher, RepoName};
use crate::registry::{Registry, ServiceError};
use crate::store::StoreError;
use crate::store::hashing::update;

/// The cost of opening a file or reading a row, in bytes.
pub(super) const ITEM_COST: u64 = 4096;

/// The number of blob records fetched at once.
const BLOB_PAGE: usize = 64;

/// The number of manifests held in memory at once: each may have several MiB.
const MANIFEST_PAGE: usize = 4;

/// The maximum number of damaged manifests remembered by name.
const MAX_DAMAGED_MANIFESTS: usize = 1000;

/// When an unreadable blob is tried again. A cable, a controller or a network has recovered by then.
const RETRY_DELAY: Duration = Duration::from_secs(60 * 60);

/// What passes read, and the status in which they count it.
pub(super) struct ScrubbedStore {
    pub(super) registry: Arc<Registry>,
    status: Mutex<ScrubStatus>,
}

impl ScrubbedStore {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, status: Mutex::default() }
    }

    pub(super) fn status(&self) -> MutexGuard<'_, ScrubStatus> {
        self.status.lock()
    }

    fn count_bytes(&self, bytes: u64) {
        self.status().checked_bytes += bytes;
    }

    fn count_blob(&self) {
        self.status().checked_blobs += 1;
    }

    /// Records whether a manifest is damaged. Returns `true` if the damage is new.
    fn count_manifest(&self, name: &str, damaged: bool) -> bool {
        let known = &mut self.status().damaged_manifests;
        if !damaged {
            known.remove(name);
            return false;
        }
        known.len() >= MAX_DAMAGED_MANIFESTS || known.insert(name.to_owned())
    }
}

/// The position of a pass.
pub(super) enum Position {
    /// After this blob, or at the beginning.
    Blobs(Option<Digest>),
    /// After this manifest. All blobs have been read.
    Manifests(i64),
}

/// A blob that could not be read, to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) key: BlobKey,
    pub(super) failed_at: Timestamp,
}

/// A pass in progress.
pub(super) struct Pass {
    /// When the pass started.
    pub(super) began_at: Timestamp,
    /// The current position.
    pub(super) position: Position,
    /// The work done so far.
    pub(super) done: u64,
    /// The blob that is being read.
    pub(super) reading: Option<BlobRead>,
    /// The blobs to be tried again.
    pub(super) suspects: VecDeque<Suspect>,
    /// The adopted blobs that were not hashed yet: they come first.
    unverified: UnverifiedQueue,
    /// The problems found.
    pub(super) findings: Findings,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StepResult {
    /// Work done: the bytes read, and [`ITEM_COST`] for each file and row.
    pub(super) work: u64,
    /// The bytes of blobs that were read.
    pub(super) bytes: u64,
    /// Whether the pass has ended.
    pub(super) finished: bool,
}

impl Pass {
    /// Starts a pass, with the blobs that earlier passes could not read.
    pub(super) fn start(now: Timestamp, suspects: VecDeque<Suspect>) -> Self {
        Self {
            began_at: now,
            position: Position::Blobs(None),
            done: 0,
            reading: None,
            suspects,
            unverified: UnverifiedQueue::default(),
            findings: Findings::default(),
        }
    }

    /// Does about `limit` of work.
    ///
    /// # Errors
    /// Fails with [`Halt`]; the blob that was being read is then read again from its beginning.
    pub(super) async fn step(&mut self, store: &ScrubbedStore, limit: u64) -> Result<StepResult, Halt> {
        let mut stepped = StepResult::default();
        let mut page = VecDeque::new();
        while stepped.work < limit && !stepped.finished {
            let reading = match self.reading.take() {
                Some(reading) => Some(reading),
                None => self.next_blob(store, &mut page).await?,
            };
            let work = match reading {
                Some(reading) => self.read(store, reading, limit - stepped.work, &mut stepped).await?,
                None => self.check_manifests(store, &mut stepped).await?,
            };
            stepped.work += work;
            self.done += work;
        }
        Ok(stepped)
    }

    /// Returns the next blob to read; `None` after the last.
    async fn next_blob(
        &mut self,
        store: &ScrubbedStore,
        page: &mut VecDeque<StoredBlob>,
    ) -> Result<Option<BlobRead>, Halt> {
        if let Some(blob) = self.unverified.next(store.registry.metadata()).await? {
            return Ok(Some(BlobRead::verify(blob)));
        }
        if let Some(reading) = self.next_suspect(store).await? {
            return Ok(Some(reading));
        }
        while let Position::Blobs(after) = &self.position {
            if page.is_empty() {
                page.extend(store.registry.metadata().blobs_after(after.as_ref(), BLOB_PAGE).await?);
            }
            self.position = match page.pop_front() {
                None => Position::Manifests(i64::MIN),
                Some(blob) if self.unverified.was_read(&blob.key) => Position::Blobs(Some(blob.key.digest)),
                Some(blob) => return Ok(Some(BlobRead::new(blob))),
            };
        }
        Ok(None)
    }

    /// Returns the next suspect that is due again, unless the blob was replaced meanwhile.
    async fn next_suspect(&mut self, store: &ScrubbedStore) -> Result<Option<BlobRead>, Halt> {
        let now = store.registry.clock().now();
        while let Some(suspect) = self.suspects.front()
            && now.since(suspect.failed_at) >= RETRY_DELAY
        {
            let found = store.registry.metadata().stored_blob(&suspect.key.digest).await?;
            let found = found.filter(|blob| blob.key == suspect.key);
            self.suspects.pop_front();
            if let Some(blob) = found {
                return Ok(Some(BlobRead::retry(blob)));
            }
        }
        Ok(None)
    }

    async fn read(
        &mut self,
        store: &ScrubbedStore,
        reading: BlobRead,
        limit: u64,
        stepped: &mut StepResult,
    ) -> Result<u64, Halt> {
        let reason = reading.reason;
        let (outcome, bytes) = reading.read(store.registry.blobs().as_ref(), limit).await?;
        stepped.bytes += bytes;
        store.count_bytes(bytes);
        match outcome {
            ReadOutcome::Partial(reading) => {
                self.reading = Some(*reading);
                Ok(bytes)
            }
            ReadOutcome::Complete(blob, verdict) => {
                self.handle_verdict(store, &blob, verdict, reason).await?;
                store.count_blob();
                if reason != ReadReason::Retry {
                    self.findings.count_blob(blob.size);
                }
                match reason {
                    ReadReason::InOrder => self.position = Position::Blobs(Some(blob.key.digest)),
                    ReadReason::Unverified => self.unverified.record_read(blob.key),
                    ReadReason::Retry => {}
                }
                Ok(bytes + ITEM_COST)
            }
        }
    }

    async fn check_manifests(
        &mut self,
        store: &ScrubbedStore,
        stepped: &mut StepResult,
    ) -> Result<u64, Halt> {
        let Position::Manifests(after) = self.position else {
            return Ok(0);
        };
        let page = store.registry.metadata().manifests_after(after, MANIFEST_PAGE).await?;
        stepped.finished = page.is_empty();
        let mut work = 0;
        for manifest in page {
            work += ITEM_COST + manifest.content.len() as u64;
            self.position = Position::Manifests(manifest.id);
            self.check_manifest(store, manifest).await?;
        }
        Ok(work)
    }

    async fn check_manifest(&mut self, store: &ScrubbedStore, manifest: StoredManifest) -> Result<(), Halt> {
        let hasher = Hasher::new(manifest.digest.algorithm());
        let (hasher, _) = update(hasher, Bytes::from(manifest.content)).await?;
        self.findings.count_manifest();
        self.report_manifest(store, &manifest.repo, &manifest.digest, &hasher.finish());
        Ok(())
    }
}

/// The maximum number of unreadable blobs to retry. If a whole disk fails, a list of blobs does not help.
const MAX_SUSPECTS: usize = 100;

/// Errors that mean the medium has lost content: a read error, or a checksum that does not match.
const MEDIA_ERRORS: [Errno; 6] =
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO];

/// Why a pass cannot continue now.
#[derive(Debug, Error)]
pub(super) enum Halt {
    /// The store is unavailable.
    #[error(transparent)]
    Unavailable(BoxError),
    /// A store failed.
    #[error(transparent)]
    Service(ServiceError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Vanished(_) => Self::Unavailable(error.into()),
            other => Self::Service(other.into()),
        }
    }
}

impl From<MetadataError> for Halt {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Vanished(_) => Self::Unavailable(error.into()),
            other => Self::Service(other.into()),
        }
    }
}

impl From<ServiceError> for Halt {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<Halt> for ServiceError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Unavailable(reason) => Self::Failed(reason),
            Halt::Service(error) => error,
        }
    }
}

impl Pass {
    /// Acts on the verdict on `blob`.
    async fn handle_verdict(
        &mut self,
        store: &ScrubbedStore,
        blob: &StoredBlob,
        verdict: Verdict,
        reason: ReadReason,
    ) -> Result<(), Halt> {
        match verdict {
            Verdict::Sound if blob.damaged => release(store, blob).await,
            Verdict::Sound => record_sound(store.registry.as_ref(), blob).await.map_err(Halt::from),
            Verdict::Bad(kind, message) => self.quarantine(store, blob, kind, message).await,
            Verdict::Unreadable(error) if reason == ReadReason::Retry && is_media_error(&error) => {
                let message = format!("reading it failed twice: {error}");
                self.quarantine(store, blob, ProblemKind::UnreadableBlob, message).await
            }
            Verdict::Unreadable(error) => {
                self.suspect(store, blob, &error);
                Ok(())
            }
        }
    }

    /// Quarantines a blob until it is pushed again. Does nothing if the blob was replaced or collected while it was
    /// read, or if the store as a whole is unavailable.
    async fn quarantine(
        &mut self,
        store: &ScrubbedStore,
        blob: &StoredBlob,
        kind: ProblemKind,
        message: String,
    ) -> Result<(), Halt> {
        let registry = &store.registry;
        let key = &blob.key;
        registry.blobs().check().await?;
        let is_current = if registry.settings().read_only || blob.damaged {
            registry.metadata().stored_blob(&key.digest).await?.is_some_and(|now| now.key == *key)
        } else {
            let condition = Integrity::Damaged(message.clone());
            registry.metadata().mark_blob(key, condition, registry.clock().now()).await?
        };
        if !is_current {
            return Ok(());
        }
        if blob.damaged {
            let digest = &key.digest;
            tracing::warn!(%digest, reason = message, "quarantined blob has not been pushed again yet");
        } else {
            tracing::error!(
                digest = %key.digest, generation = %key.generation, reason = message,
                "blob is damaged; quarantined until it is pushed again"
            );
        }
        self.findings.add(kind, &key.digest, message, false);
        Ok(())
    }

    fn suspect(&mut self, store: &ScrubbedStore, blob: &StoredBlob, error: &std::io::Error) {
        let key = &blob.key;
        tracing::error!(digest = %key.digest, %error, "could not read blob; retrying later");
        self.findings.add(ProblemKind::UnreadableBlob, &key.digest, error, false);
        let known = self.suspects.iter().any(|suspect| suspect.key == *key);
        if is_media_error(error) && !known && !blob.damaged && self.suspects.len() < MAX_SUSPECTS {
            let failed_at = store.registry.clock().now();
            self.suspects.push_back(Suspect { key: key.clone(), failed_at });
        }
    }

    /// Reports whether a manifest is damaged. A manifest can't be quarantined, but the next push of it replaces its
    /// content.
    fn report_manifest(&mut self, store: &ScrubbedStore, repo: &RepoName, digest: &Digest, actual: &Digest) {
        let name = format!("{repo}@{digest}");
        let damaged = actual != digest;
        if store.count_manifest(&name, damaged) {
            tracing::error!(manifest = name, "manifest is damaged; push it again");
        }
        if damaged {
            let message = format!("its bytes hash to {actual}");
            self.findings.add(ProblemKind::DamagedManifest, name, message, false);
        }
    }
}

async fn release(store: &ScrubbedStore, blob: &StoredBlob) -> Result<(), Halt> {
    let registry = &store.registry;
    if registry.settings().read_only {
        return Ok(());
    }
    if registry.metadata().mark_blob(&blob.key, Integrity::Intact, registry.clock().now()).await? {
        tracing::info!(digest = %blob.key.digest, "quarantined blob is sound; released from quarantine");
    }
    Ok(())
}

/// Whether an error means that content is lost, rather than unavailable for lack of a permission, of memory or of a
/// file descriptor.
fn is_media_error(error: &std::io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| MEDIA_ERRORS.contains(&error))
}
