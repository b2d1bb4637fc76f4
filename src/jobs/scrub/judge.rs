//! What is done about what a pass found.

use rustix::io::Errno;
use thiserror::Error;

use super::Scrub;
use super::pass::{Pass, Suspect};
use crate::jobs::fsck::ProblemKind;
use crate::jobs::verdict::Verdict;
use crate::metadata::{Condition, MetadataError, StoredBlob};
use crate::oci::{Digest, RepoName};
use crate::registry::ServiceError;
use crate::store::StoreError;

/// How many blobs that could not be read are remembered. A disk that fails altogether is no matter of blobs.
const MOST_SUSPECTS: usize = 100;

/// What the medium says of bytes that it has lost: an error of reading, a checksum that does not fit.
const LOST: [Errno; 6] =
    [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO];

/// Why a pass cannot go on now.
#[derive(Debug, Error)]
pub(super) enum Halt {
    /// The store is away.
    #[error("{0}")]
    Away(String),
    /// It failed.
    #[error(transparent)]
    Service(ServiceError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Vanished(_) => Self::Away(error.to_string()),
            other => Self::Service(other.into()),
        }
    }
}

impl From<MetadataError> for Halt {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Vanished(_) => Self::Away(error.to_string()),
            other => Self::Service(other.into()),
        }
    }
}

impl From<Halt> for ServiceError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Away(reason) => Self::Failed(reason),
            Halt::Service(fault) => fault,
        }
    }
}

impl Pass {
    /// Acts on what reading `blob` told; `again` if it could not be read some time ago.
    pub(super) async fn judge(
        &mut self,
        scrub: &Scrub,
        blob: &StoredBlob,
        verdict: Verdict,
        again: bool,
    ) -> Result<(), Halt> {
        match verdict {
            Verdict::Sound if blob.damaged => bring_back(scrub, blob).await,
            Verdict::Sound => Ok(()),
            Verdict::Bad(kind, message) => self.set_aside(scrub, blob, kind, message).await,
            Verdict::Unreadable(error) if again && is_lost(&error) => {
                let message = format!("it could not be read twice: {error}");
                self.set_aside(scrub, blob, ProblemKind::UnreadableBlob, message).await
            }
            Verdict::Unreadable(error) => {
                self.doubt(scrub, blob, &error);
                Ok(())
            }
        }
    }

    /// Makes a blob absent until a push brings its bytes again. Not one that was pushed anew or collected
    /// while it was read; and none if the store as a whole is away or fails.
    async fn set_aside(
        &mut self,
        scrub: &Scrub,
        blob: &StoredBlob,
        kind: ProblemKind,
        message: String,
    ) -> Result<(), Halt> {
        let (registry, key) = (&scrub.registry, &blob.key);
        registry.blobs().check().await?;
        let is_current = if registry.settings().read_only || blob.damaged {
            registry.metadata().stored_blob(&key.digest).await?.is_some_and(|now| now.key == *key)
        } else {
            let condition = Condition::Damaged(message.clone());
            registry.metadata().mark_blob(key, condition, registry.clock().now()).await?
        };
        if !is_current {
            return Ok(());
        }
        if blob.damaged {
            tracing::warn!(digest = %key.digest, reason = message, "a blob that is set aside was not pushed yet");
        } else {
            tracing::error!(
                digest = %key.digest, generation = %key.generation, reason = message,
                "a blob is damaged: it is absent until it is pushed again"
            );
        }
        self.findings.add(kind, &key.digest, message, false);
        Ok(())
    }

    fn doubt(&mut self, scrub: &Scrub, blob: &StoredBlob, error: &std::io::Error) {
        let key = &blob.key;
        tracing::error!(digest = %key.digest, %error, "a blob could not be read; it is tried again later");
        self.findings.add(ProblemKind::UnreadableBlob, &key.digest, error, false);
        let known = self.suspects.iter().any(|suspect| suspect.key == *key);
        if is_lost(error) && !known && !blob.damaged && self.suspects.len() < MOST_SUSPECTS {
            let failed_at = scrub.registry.clock().now();
            self.suspects.push_back(Suspect { key: key.clone(), failed_at });
        }
    }

    /// A manifest cannot be set aside, but the next push of it writes its bytes anew.
    pub(super) fn judge_manifest(
        &mut self,
        scrub: &Scrub,
        repo: &RepoName,
        digest: &Digest,
        actual: &Digest,
    ) {
        let name = format!("{repo}@{digest}");
        let damaged = actual != digest;
        if scrub.count_manifest(&name, damaged) {
            tracing::error!(manifest = name, "a manifest's bytes are damaged: push it again");
        }
        if damaged {
            let message = format!("its bytes hash to {actual}");
            self.findings.add(ProblemKind::DamagedManifest, name, message, false);
        }
    }
}

async fn bring_back(scrub: &Scrub, blob: &StoredBlob) -> Result<(), Halt> {
    let registry = &scrub.registry;
    if registry.settings().read_only {
        return Ok(());
    }
    if registry.metadata().mark_blob(&blob.key, Condition::Sound, registry.clock().now()).await? {
        tracing::info!(digest = %blob.key.digest, "a blob that was set aside is sound, and served again");
    }
    Ok(())
}

/// Whether an error means that bytes are lost, not that they cannot be had just now: for want of a right, of
/// memory, of a descriptor.
fn is_lost(error: &std::io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| LOST.contains(&error))
}
