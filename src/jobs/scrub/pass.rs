//! One pass over everything: every blob in the order of the digests, then every manifest.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Scrub;
use super::findings::Halt;
use super::reading::{BlobRead, ReadOutcome};
use crate::clock::Timestamp;
use crate::maintenance::fsck::Findings;
use crate::maintenance::hashing::update;
use crate::metadata::{StoredBlob, StoredManifest};
use crate::oci::{BlobKey, Digest, Hasher};

/// The cost of opening a file or reading a row, in bytes.
pub(super) const ITEM_COST: u64 = 4096;

/// The number of blob records fetched at once.
const BLOB_PAGE: usize = 64;

/// The number of manifests held in memory at once: each may have several MiB.
const MANIFEST_PAGE: usize = 4;

/// When an unreadable blob is tried again. A cable, a controller or a network has recovered by then.
const RETRY_DELAY: Duration = Duration::from_secs(60 * 60);

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
            findings: Findings::default(),
        }
    }

    /// Does about `limit` of work.
    ///
    /// # Errors
    /// Fails with [`Halt`]; the blob that was being read is then read again from its beginning.
    pub(super) async fn step(&mut self, scrub: &Scrub, limit: u64) -> Result<StepResult, Halt> {
        let mut stepped = StepResult::default();
        let mut page = VecDeque::new();
        while stepped.work < limit && !stepped.finished {
            let reading = match self.reading.take() {
                Some(reading) => Some(reading),
                None => self.next_blob(scrub, &mut page).await?,
            };
            let work = match reading {
                Some(reading) => self.read(scrub, reading, limit - stepped.work, &mut stepped).await?,
                None => self.check_manifests(scrub, &mut stepped).await?,
            };
            stepped.work += work;
            self.done += work;
        }
        Ok(stepped)
    }

    /// Returns the next blob to read; `None` after the last.
    async fn next_blob(
        &mut self,
        scrub: &Scrub,
        page: &mut VecDeque<StoredBlob>,
    ) -> Result<Option<BlobRead>, Halt> {
        if let Some(reading) = self.next_suspect(scrub).await? {
            return Ok(Some(reading));
        }
        let Position::Blobs(after) = &self.position else {
            return Ok(None);
        };
        if page.is_empty() {
            page.extend(scrub.registry.metadata().blobs_after(after.as_ref(), BLOB_PAGE).await?);
        }
        let Some(blob) = page.pop_front() else {
            self.position = Position::Manifests(i64::MIN);
            return Ok(None);
        };
        Ok(Some(BlobRead::new(blob)))
    }

    /// Returns the next suspect that is due again, unless the blob was replaced meanwhile.
    async fn next_suspect(&mut self, scrub: &Scrub) -> Result<Option<BlobRead>, Halt> {
        let now = scrub.registry.clock().now();
        while let Some(suspect) = self.suspects.front()
            && now.since(suspect.failed_at) >= RETRY_DELAY
        {
            let found = scrub.registry.metadata().stored_blob(&suspect.key.digest).await?;
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
        scrub: &Scrub,
        reading: BlobRead,
        limit: u64,
        stepped: &mut StepResult,
    ) -> Result<u64, Halt> {
        let is_retry = reading.is_retry;
        let (outcome, bytes) = reading.read(scrub.registry.blobs().as_ref(), limit).await?;
        stepped.bytes += bytes;
        scrub.count_bytes(bytes);
        match outcome {
            ReadOutcome::Partial(reading) => {
                self.reading = Some(*reading);
                Ok(bytes)
            }
            ReadOutcome::Complete(blob, verdict) => {
                self.handle_verdict(scrub, &blob, verdict, is_retry).await?;
                scrub.count_blob();
                if !is_retry {
                    self.findings.count_blob(blob.size);
                    self.position = Position::Blobs(Some(blob.key.digest));
                }
                Ok(bytes + ITEM_COST)
            }
        }
    }

    async fn check_manifests(&mut self, scrub: &Scrub, stepped: &mut StepResult) -> Result<u64, Halt> {
        let Position::Manifests(after) = self.position else {
            return Ok(0);
        };
        let page = scrub.registry.metadata().manifests_after(after, MANIFEST_PAGE).await?;
        stepped.finished = page.is_empty();
        let mut work = 0;
        for manifest in page {
            work += ITEM_COST + manifest.content.len() as u64;
            self.position = Position::Manifests(manifest.id);
            self.check_manifest(scrub, manifest).await?;
        }
        Ok(work)
    }

    async fn check_manifest(&mut self, scrub: &Scrub, manifest: StoredManifest) -> Result<(), Halt> {
        let hasher = Hasher::new(manifest.digest.algorithm());
        let (hasher, _) = update(hasher, Bytes::from(manifest.content)).await?;
        self.findings.count_manifest();
        self.report_manifest(scrub, &manifest.repo, &manifest.digest, &hasher.finish());
        Ok(())
    }
}
