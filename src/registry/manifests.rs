//! Accepting, serving and deleting manifests.

use std::time::Duration;

use bytes::Bytes;

use super::blobs::deletion_result;
use super::{DeleteError, ManifestError, PutManifestError, Registry, Repository, ServiceError};
use crate::errors::{Chain, Context};
use crate::fair::Turn;
use crate::memory::{Holder, Purpose, Reservation, SMALL};
use crate::metadata::{Edge, EdgeKind, ManifestRecord, PutManifest, PutOutcome, Target, WrongSize};
use crate::oci::{
    Algorithm, Digest, Hasher, InvalidManifest, Manifest, ManifestLimits, ManifestReference, MediaType,
    Reference, RepoName, Role, Tag, TargetKind,
};

/// A manifest as a client pushes it.
#[derive(Debug, Clone)]
pub struct PutRequest {
    /// The digest it was pushed by; `None` if it was pushed by tag alone.
    pub digest: Option<Digest>,
    /// The tags to point at the manifest.
    pub tags: Vec<Tag>,
    /// The media type sent by the client.
    pub content_type: Option<MediaType>,
    /// Its exact bytes.
    pub content: Bytes,
}

/// The source of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client pushes it: types and sizes are checked.
    Client,
    /// It was accepted earlier, possibly by a less strict version.
    Record,
}

/// Manifests larger than this are large: few of them are held in memory at once, and they are parsed on a blocking
/// thread.
pub(super) const LARGE_MANIFEST: usize = 64 << 10;

/// How much longer a large manifest may take to arrive once another client waits for its turn.
const RECALLED_TURN: Duration = Duration::from_secs(5);

/// The memory that a push of a manifest takes, as a multiple of its size: the growing body, its parsed form, and the
/// copies the database makes while it writes the row.
const MEMORY_PER_BYTE: usize = 4;

/// The right to hold a manifest in memory, while this value lives.
pub struct ManifestPlace {
    memory: Reservation,
    /// Only for a large manifest.
    turn: Option<Turn>,
}

impl ManifestPlace {
    /// Returns when the manifest has to give way to waiting ones because its body took too long.
    pub async fn lost(&self) {
        let Some(turn) = &self.turn else { return std::future::pending().await };
        turn.recalled().await;
        tokio::time::sleep(RECALLED_TURN).await;
    }

    /// Releases the memory that a manifest of `len` bytes does not need.
    pub fn shrink_to(&mut self, len: usize) {
        self.memory.shrink_to(memory_for(len));
    }
}

/// Returns the memory that a push of `len` bytes takes. Small manifests count as small, so that none of them waits for
/// large ones.
fn memory_for(len: usize) -> usize {
    let bytes = len.saturating_mul(MEMORY_PER_BYTE);
    if len <= LARGE_MANIFEST { bytes.min(SMALL) } else { bytes }
}

/// The result of an accepted manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReceipt {
    /// Its digest.
    pub digest: Digest,
    /// The subject of the manifest, if it was recorded as a referrer.
    pub subject: Option<Digest>,
}

impl Repository {
    /// Returns a live manifest by tag or digest. Leases it to a caller who may push, unless a tag holds it: every pull
    /// takes this path, and a pull alone must not keep a manifest longer than its policies do.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError> {
        self.lookup(reference, false).await
    }

    /// The same for a client that checks whether a manifest exists. It is leased even if a tag holds it, because a
    /// policy may remove the tag.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn probe_manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError> {
        self.lookup(reference, true).await
    }

    async fn lookup(&self, reference: &Reference, tagged: bool) -> Result<ManifestRecord, ManifestError> {
        let Some(manifest) = self.registry.metadata.manifest(&self.name, reference).await? else {
            return Err(self.registry.unknown_manifest(&self.name).await?);
        };
        if self.access.push && manifest.tagged_at.is_none() && self.lease_is_stale(manifest.leased_at) {
            let target = Target::Manifest(&manifest.digest);
            self.renew_lease(target, tagged).await?.then_some(()).ok_or(ManifestError::Unknown)?;
        }
        Ok(manifest)
    }

    /// Waits until a manifest of `len` bytes can be held in memory, from receiving its body until it is stored.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] or [`ServiceError::OutOfMemory`] if the client has to retry later.
    pub async fn manifest_place(&self, len: usize) -> Result<ManifestPlace, ServiceError> {
        let registry = &self.registry;
        let mut turn = None;
        if len > LARGE_MANIFEST {
            let max_wait = registry.settings.upload_queue;
            turn = Some(registry.sessions.manifest_turn(&self.client, max_wait).await?);
        }
        let memory =
            registry.memory().reserve(Holder::Authenticated, Purpose::Bodies, memory_for(len)).await?;
        Ok(ManifestPlace { memory, turn })
    }

    /// Accepts a manifest: it and everything it refers to can be pulled from now on. It is durable when this returns.
    ///
    /// # Errors
    /// Any [`PutManifestError`]; nothing has changed in that case.
    pub async fn put_manifest(&self, request: PutRequest) -> Result<PutReceipt, PutManifestError> {
        self.put(request, Origin::Client).await
    }

    /// Stores a manifest from a client, or one that was accepted earlier.
    pub(super) async fn put(
        &self,
        request: PutRequest,
        origin: Origin,
    ) -> Result<PutReceipt, PutManifestError> {
        self.registry.admit_body(&self.requester()).await?;
        let settings = &self.registry.settings;
        let limits = ManifestLimits { max_references: settings.max_references };
        let (digest, manifest) = read_manifest(&request, limits).await?;
        if origin == Origin::Client
            && let Err(invalid) = manifest.check_types()
            && self
                .registry
                .metadata
                .manifest(&self.name, &Reference::Digest(digest.clone()))
                .await?
                .is_none()
        {
            return Err(invalid.into());
        }
        if origin == Origin::Client {
            // Blobs that could not be verified in time count as missing.
            let blobs = manifest.references.iter().filter(|target| target.kind == TargetKind::Blob);
            let blobs: Vec<_> = blobs.map(|target| target.digest.clone()).collect();
            self.registry.verify_for_push(Some(&self.name), &blobs).await?;
        }
        let details = self.details(&manifest, &request.content).await;
        let put = PutManifest {
            repo: self.name.clone(),
            digest: digest.clone(),
            content: request.content.into(),
            media_type: manifest.media_type.as_str().to_owned(),
            artifact_type: manifest.artifact_type,
            details,
            edges: manifest.references.iter().map(|target| edge(target, settings.sparse, origin)).collect(),
            tags: request.tags,
            requires_verified: origin == Origin::Client,
            change: self.change(),
        };
        let target = Target::Manifest(&digest);
        let _reserved = self.registry.reserve_quota(&self.name, target, put.content.len() as u64).await?;
        match self.registry.metadata.put_manifest(put).await? {
            PutOutcome::Stored => Ok(PutReceipt { digest, subject: manifest.subject }),
            PutOutcome::Missing(missing) => Err(PutManifestError::Missing(missing)),
            PutOutcome::WrongSize(WrongSize { digest, claimed, actual }) => {
                Err(InvalidManifest::WrongSize { digest, claimed, actual }.into())
            }
            PutOutcome::Immutable(tag) => Err(PutManifestError::Immutable(tag)),
            PutOutcome::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }

    /// Removes a manifest and all tags pointing at it.
    ///
    /// # Errors
    /// [`DeleteError::HeldBy`] if a live index refers to it, [`DeleteError::Immutable`] if a tag is immutable.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<(), DeleteError> {
        self.registry.admit_change()?;
        let metadata = &self.registry.metadata;
        let change = &self.change();
        let outcome = self.registry.make_space(|| metadata.delete_manifest(&self.name, digest, change));
        deletion_result(outcome.await?)
    }
}

impl Repository {
    /// Records a pull of a manifest.
    pub fn record_pull(&self, digest: &Digest) {
        self.registry.pulls.record_pull(&self.name, digest, self.registry.clock.now());
    }

    /// Records that a caller who may push looked up a tag and found `manifest`. A push that finds nothing to upload
    /// ends here, and the tag counts as pushed now.
    pub fn record_unchanged_push(&self, tag: &Tag, manifest: &ManifestRecord) {
        if self.access.push {
            let now = self.registry.clock.now();
            self.registry.pulls.record_unchanged_push(&self.name, tag, manifest, now);
        }
    }
}

impl Registry {
    /// Writes the pulls and the pushes without a change that were recorded since the last call.
    ///
    /// # Errors
    /// Fails if the metadata store cannot be written; the records are kept for the next call.
    pub async fn flush_pulls(&self) -> Result<(), ServiceError> {
        Ok(self.pulls.flush(&self.metadata, self.settings.read_only).await?)
    }

    /// Writes the records before a report that shows them. A failure is only logged: a store that cannot be written is
    /// no reason to refuse a report.
    pub async fn flush_pulls_for_report(&self) {
        if let Err(error) = self.flush_pulls().await {
            tracing::debug!(error = %Chain(&error), "recording the last pulls failed; retrying later");
        }
    }

    /// Returns the error for an unknown manifest, or for an unknown repository if that does not exist either.
    pub(crate) async fn unknown_manifest(&self, name: &RepoName) -> Result<ManifestError, ManifestError> {
        let exists = self.metadata.repository_exists(name).await?;
        Ok(if exists { ManifestError::Unknown } else { ManifestError::NameUnknown })
    }
}

/// Checks the digest of a manifest and parses it; a large one on a blocking thread.
async fn read_manifest(
    request: &PutRequest,
    limits: ManifestLimits,
) -> Result<(Digest, Manifest), PutManifestError> {
    if request.content.len() <= LARGE_MANIFEST {
        return parse(request, &limits);
    }
    let request = request.clone();
    let parsed = tokio::task::spawn_blocking(move || parse(&request, &limits)).await;
    parsed.map_err(|error| ServiceError::Failed(Context::new("parsing a manifest failed", error).into()))?
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "limits may be added")]
fn parse(request: &PutRequest, limits: &ManifestLimits) -> Result<(Digest, Manifest), PutManifestError> {
    let digest = check_digest(request)?;
    let manifest = Manifest::parse(&request.content, request.content_type.as_ref(), limits)?;
    Ok((digest, manifest))
}

/// Returns the digest of the manifest, by the algorithm the client used or SHA-256.
fn check_digest(request: &PutRequest) -> Result<Digest, PutManifestError> {
    let algorithm = request.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let actual = Hasher::digest(algorithm, &request.content);
    match &request.digest {
        Some(claimed) if *claimed != actual => {
            Err(PutManifestError::WrongDigest { claimed: claimed.clone(), actual })
        }
        _ => Ok(actual),
    }
}

pub(super) fn edge(reference: &ManifestReference, sparse: bool, origin: Origin) -> Edge {
    let kind = match (reference.role, reference.kind) {
        (Role::Subject, _) => EdgeKind::Subject,
        (_, TargetKind::Manifest) => EdgeKind::Child,
        (_, TargetKind::Blob) => EdgeKind::Blob,
    };
    let may_be_absent = reference.may_be_absent || (sparse && reference.role == Role::Child);
    let has_size = origin == Origin::Client && kind != EdgeKind::Subject && !reference.has_urls;
    let size = has_size.then_some(reference.size);
    Edge { target: reference.digest.clone(), kind, required: !may_be_absent, size }
}
