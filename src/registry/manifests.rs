//! Accepting, serving and deleting manifests.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::blobs::deleted;
use super::{DeleteError, Fault, ManifestError, PutManifestError, Repository};
use crate::metadata::{Edge, EdgeKind, ManifestRecord, PutManifest, PutOutcome, Target, WrongSize};
use crate::oci::{
    Algorithm, Digest, Hasher, InvalidManifest, Manifest, ManifestLimits, ManifestReference, MediaType,
    Reference, Role, Tag, TargetKind,
};

/// A manifest as a client pushes it.
#[derive(Debug, Clone)]
pub struct PutRequest {
    /// The digest that it was pushed by, if it was not by tag alone.
    pub digest: Option<Digest>,
    /// The tags to point at it.
    pub tags: Vec<Tag>,
    /// What the client says it is.
    pub content_type: Option<MediaType>,
    /// Its exact bytes.
    pub content: Bytes,
}

/// Where a manifest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client pushes it: its types and sizes are checked.
    Client,
    /// It was accepted earlier, perhaps by a version that was less strict.
    Record,
}

/// The right to take a body, while this lives.
#[derive(Debug)]
pub struct BodyTurn(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// What a client is told of an accepted manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReceipt {
    /// Its digest.
    pub digest: Digest,
    /// The subject that was noted.
    pub subject: Option<Digest>,
}

impl Repository {
    /// A live manifest, by tag or digest. Leases it to a caller who may push, unless a tag holds it: every pull
    /// comes by here, and what is pulled must not outlive its policies for that.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] and [`ManifestError::NameUnknown`].
    pub async fn manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError> {
        self.lookup(reference, false).await
    }

    /// The same for a caller who asks whether it is there: leased also if a tag holds it, for a policy may take that.
    ///
    /// # Errors
    /// Likewise.
    pub async fn probe_manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError> {
        self.lookup(reference, true).await
    }

    async fn lookup(&self, reference: &Reference, tagged: bool) -> Result<ManifestRecord, ManifestError> {
        let Some(manifest) = self.registry.metadata.manifest(&self.name, reference).await? else {
            return Err(self.unknown_manifest().await?);
        };
        if self.access.push && manifest.tagged_at.is_none() && self.lease_is_stale(manifest.leased_at) {
            let target = Target::Manifest(&manifest.digest);
            self.renew_lease(target, tagged).await?.then_some(()).ok_or(ManifestError::Unknown)?;
        }
        Ok(manifest)
    }

    /// Waits for a turn to take a manifest's body into memory. Who is refused one can come back later.
    ///
    /// # Errors
    /// [`Fault::Busy`].
    pub async fn body_turn(&self) -> Result<BodyTurn, Fault> {
        let registry = &self.registry;
        registry.sessions.turn(registry.settings.upload_queue).await.map(BodyTurn)
    }

    /// Accepts a manifest: it and all that it refers to can be pulled from now on. Durable when it returns.
    ///
    /// # Errors
    /// Any [`PutManifestError`]; then nothing changed.
    pub async fn put_manifest(&self, request: PutRequest) -> Result<PutReceipt, PutManifestError> {
        self.put(request, Origin::Client).await
    }

    /// Puts a manifest from a client, or one that was accepted earlier.
    pub(super) async fn put(
        &self,
        request: PutRequest,
        origin: Origin,
    ) -> Result<PutReceipt, PutManifestError> {
        self.registry.admit_body().await?;
        let digest = check_digest(&request)?;
        let settings = &self.registry.settings;
        let limits = ManifestLimits { max_references: settings.max_references };
        let manifest = Manifest::parse(&request.content, request.content_type.as_ref(), &limits)?;
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
            PutOutcome::Fixed(tag) => Err(PutManifestError::Immutable(tag)),
            PutOutcome::Refused(over) => Err(Fault::OverQuota(over).into()),
        }
    }

    /// Removes a manifest and all tags that point at it.
    ///
    /// # Errors
    /// [`DeleteError::HeldBy`] if a live index refers to it, [`DeleteError::Immutable`] if a tag may not go.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<(), DeleteError> {
        self.registry.admit_change()?;
        deleted(self.registry.metadata.delete_manifest(&self.name, digest, &self.change()).await?)
    }

    /// Which of the two things is unknown.
    pub(super) async fn unknown_manifest(&self) -> Result<ManifestError, ManifestError> {
        let exists = self.registry.metadata.repository_exists(&self.name).await?;
        Ok(if exists { ManifestError::Unknown } else { ManifestError::NameUnknown })
    }
}

/// The manifest's digest, by the algorithm that the client used or SHA-256.
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

fn edge(reference: &ManifestReference, sparse: bool, origin: Origin) -> Edge {
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
