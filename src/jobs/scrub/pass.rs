//! One pass over everything: every blob in order of its digest, then every manifest.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Scrub;
use super::judge::Halt;
use super::reading::{Bite, Reading};
use crate::clock::Timestamp;
use crate::jobs::fsck::Findings;
use crate::jobs::hashing::update;
use crate::metadata::{StoredBlob, StoredManifest};
use crate::oci::{BlobKey, Digest, Hasher};

/// What opening a file or reading a row counts for, in bytes.
pub(super) const ITEM: u64 = 4096;

/// How many blobs are asked for at once.
const BLOBS: usize = 64;

/// How many manifests are held in memory at once: each may have some MiB.
const MANIFESTS: usize = 4;

/// When what could not be read is tried again: a cable, a controller or a network has come back by then.
const LATER: Duration = Duration::from_secs(60 * 60);

/// Where a pass is.
pub(super) enum At {
    /// Behind this blob.
    Blobs(Option<Digest>),
    /// Behind this manifest: all blobs are through.
    Manifests(i64),
}

/// A blob that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) key: BlobKey,
    pub(super) failed_at: Timestamp,
}

/// A pass.
pub(super) struct Pass {
    /// When it began.
    pub(super) began_at: Timestamp,
    /// Where it is.
    pub(super) at: At,
    /// The work that is behind it.
    pub(super) done: u64,
    /// The blob that it is in.
    pub(super) reading: Option<Reading>,
    /// What is to be tried again.
    pub(super) suspects: VecDeque<Suspect>,
    /// What it found.
    pub(super) findings: Findings,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stepped {
    /// Work done: bytes, and [`ITEM`] for each file and row.
    pub(super) work: u64,
    /// Bytes of blobs that were read.
    pub(super) bytes: u64,
    /// The pass is through.
    pub(super) finished: bool,
}

impl Pass {
    /// A pass that begins now, with what earlier ones could not read.
    pub(super) fn begin(now: Timestamp, suspects: VecDeque<Suspect>) -> Self {
        let (at, findings) = (At::Blobs(None), Findings::default());
        Self { began_at: now, at, done: 0, reading: None, suspects, findings }
    }

    /// Does about `most` of the work.
    ///
    /// # Errors
    /// [`Halt`]; a blob that it was in is read again from its beginning then.
    pub(super) async fn step(&mut self, scrub: &Scrub, most: u64) -> Result<Stepped, Halt> {
        let (mut stepped, mut page) = (Stepped::default(), VecDeque::new());
        while stepped.work < most && !stepped.finished {
            let reading = match self.reading.take() {
                Some(reading) => Some(reading),
                None => self.choose(scrub, &mut page).await?,
            };
            let work = match reading {
                Some(reading) => self.read(scrub, reading, most - stepped.work, &mut stepped).await?,
                None => self.manifests(scrub, &mut stepped).await?,
            };
            stepped.work += work;
            self.done += work;
        }
        Ok(stepped)
    }

    /// The next blob; `None` behind the last.
    async fn choose(
        &mut self,
        scrub: &Scrub,
        page: &mut VecDeque<StoredBlob>,
    ) -> Result<Option<Reading>, Halt> {
        if let Some(reading) = self.suspect(scrub).await? {
            return Ok(Some(reading));
        }
        let At::Blobs(after) = &self.at else {
            return Ok(None);
        };
        if page.is_empty() {
            page.extend(scrub.registry.metadata().blobs_after(after.as_ref(), BLOBS).await?);
        }
        let Some(blob) = page.pop_front() else {
            self.at = At::Manifests(i64::MIN);
            return Ok(None);
        };
        Ok(Some(Reading::new(blob)))
    }

    /// What could not be read and is due again, if it is still what it was.
    async fn suspect(&mut self, scrub: &Scrub) -> Result<Option<Reading>, Halt> {
        let now = scrub.registry.clock().now();
        while let Some(suspect) = self.suspects.front()
            && now.since(suspect.failed_at) >= LATER
        {
            let found = scrub.registry.metadata().stored_blob(&suspect.key.digest).await?;
            let found = found.filter(|blob| blob.key == suspect.key);
            self.suspects.pop_front();
            if let Some(blob) = found {
                return Ok(Some(Reading::again(blob)));
            }
        }
        Ok(None)
    }

    async fn read(
        &mut self,
        scrub: &Scrub,
        reading: Reading,
        most: u64,
        stepped: &mut Stepped,
    ) -> Result<u64, Halt> {
        let again = reading.again;
        let (bite, bytes) = reading.bite(scrub.registry.blobs().as_ref(), most).await?;
        stepped.bytes += bytes;
        scrub.count_bytes(bytes);
        match bite {
            Bite::Part(reading) => {
                self.reading = Some(*reading);
                Ok(bytes)
            }
            Bite::Whole(blob, verdict) => {
                self.judge(scrub, &blob, verdict, again).await?;
                scrub.count_blob();
                if !again {
                    self.findings.count_blob(blob.size);
                    self.at = At::Blobs(Some(blob.key.digest));
                }
                Ok(bytes + ITEM)
            }
        }
    }

    async fn manifests(&mut self, scrub: &Scrub, stepped: &mut Stepped) -> Result<u64, Halt> {
        let At::Manifests(after) = self.at else {
            return Ok(0);
        };
        let page = scrub.registry.metadata().manifests_after(after, MANIFESTS).await?;
        stepped.finished = page.is_empty();
        let mut work = 0;
        for manifest in page {
            work += ITEM + manifest.content.len() as u64;
            self.at = At::Manifests(manifest.id);
            self.manifest(scrub, manifest).await?;
        }
        Ok(work)
    }

    async fn manifest(&mut self, scrub: &Scrub, manifest: StoredManifest) -> Result<(), Halt> {
        let hasher = Hasher::new(manifest.digest.algorithm());
        let (hasher, _) = update(hasher, Bytes::from(manifest.content)).await?;
        self.findings.count_manifest();
        self.judge_manifest(scrub, &manifest.repo, &manifest.digest, &hasher.finish());
        Ok(())
    }
}
