//! Acts on the findings of a pass: quarantines damaged blobs, and releases repaired ones.

use rustix::io::Errno;
use thiserror::Error;

use super::Scrub;
use super::pass::{Pass, Suspect};
use crate::errors::BoxError;
use crate::maintenance::fsck::ProblemKind;
use crate::maintenance::verdict::Verdict;
use crate::metadata::{Integrity, MetadataError, StoredBlob};
use crate::oci::{Digest, RepoName};
use crate::registry::ServiceError;
use crate::store::StoreError;

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

impl From<Halt> for ServiceError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Unavailable(reason) => Self::Failed(reason),
            Halt::Service(error) => error,
        }
    }
}

impl Pass {
    /// Acts on the verdict on `blob`. `is_retry` means that an earlier attempt to read it failed.
    pub(super) async fn handle_verdict(
        &mut self,
        scrub: &Scrub,
        blob: &StoredBlob,
        verdict: Verdict,
        is_retry: bool,
    ) -> Result<(), Halt> {
        match verdict {
            Verdict::Sound if blob.damaged => release(scrub, blob).await,
            Verdict::Sound => Ok(()),
            Verdict::Bad(kind, message) => self.quarantine(scrub, blob, kind, message).await,
            Verdict::Unreadable(error) if is_retry && is_media_error(&error) => {
                let message = format!("reading it failed twice: {error}");
                self.quarantine(scrub, blob, ProblemKind::UnreadableBlob, message).await
            }
            Verdict::Unreadable(error) => {
                self.suspect(scrub, blob, &error);
                Ok(())
            }
        }
    }

    /// Quarantines a blob until it is pushed again. Does nothing if the blob was replaced or collected while it was
    /// read, or if the store as a whole is unavailable.
    async fn quarantine(
        &mut self,
        scrub: &Scrub,
        blob: &StoredBlob,
        kind: ProblemKind,
        message: String,
    ) -> Result<(), Halt> {
        let registry = &scrub.registry;
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

    fn suspect(&mut self, scrub: &Scrub, blob: &StoredBlob, error: &std::io::Error) {
        let key = &blob.key;
        tracing::error!(digest = %key.digest, %error, "could not read blob; retrying later");
        self.findings.add(ProblemKind::UnreadableBlob, &key.digest, error, false);
        let known = self.suspects.iter().any(|suspect| suspect.key == *key);
        if is_media_error(error) && !known && !blob.damaged && self.suspects.len() < MAX_SUSPECTS {
            let failed_at = scrub.registry.clock().now();
            self.suspects.push_back(Suspect { key: key.clone(), failed_at });
        }
    }

    /// Reports whether a manifest is damaged. A manifest can't be quarantined, but the next push of it replaces its
    /// content.
    pub(super) fn report_manifest(
        &mut self,
        scrub: &Scrub,
        repo: &RepoName,
        digest: &Digest,
        actual: &Digest,
    ) {
        let name = format!("{repo}@{digest}");
        let damaged = actual != digest;
        if scrub.count_manifest(&name, damaged) {
            tracing::error!(manifest = name, "manifest is damaged; push it again");
        }
        if damaged {
            let message = format!("its bytes hash to {actual}");
            self.findings.add(ProblemKind::DamagedManifest, name, message, false);
        }
    }
}

async fn release(scrub: &Scrub, blob: &StoredBlob) -> Result<(), Halt> {
    let registry = &scrub.registry;
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
