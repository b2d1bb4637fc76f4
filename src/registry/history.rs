//! Restoring tags and manifests from the history.

use super::{Registry, Repository, ServiceError, UndoError};
use crate::metadata::{Restoration, Restored, TagRestoration};
use crate::oci::{Digest, Tag};

/// The number of removed tags whose history is deleted in one step.
const HISTORY_BATCH: usize = 100;

/// A tag that was rolled back or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepointedTag {
    /// What it pointed at before; `None` if the tag did not exist.
    pub from: Option<Digest>,
    /// What it points at now.
    pub to: Digest,
    /// The manifests restored from the trash for it.
    pub restored: Vec<Digest>,
}

impl Repository {
    /// Points a tag at its manifest before the last change, or at `to` from its history.
    ///
    /// # Errors
    /// Any [`UndoError`]; nothing has changed in that case.
    pub async fn rollback(&self, tag: &Tag, to: Option<&Digest>) -> Result<RepointedTag, UndoError> {
        self.registry.admit_change()?;
        repointed_tag(self.registry.metadata.rollback(&self.name, tag, to, &self.change()).await?)
    }

    /// Restores a removed tag to the manifest it pointed at.
    ///
    /// # Errors
    /// Any [`UndoError`]; nothing has changed in that case.
    pub async fn restore_tag(&self, tag: &Tag) -> Result<RepointedTag, UndoError> {
        self.registry.admit_change()?;
        repointed_tag(self.registry.metadata.restore_tag(&self.name, tag, &self.change()).await?)
    }

    /// Restores a manifest from the trash with its children, its tags, and the signatures and other referrers removed
    /// with it.
    ///
    /// # Errors
    /// [`UndoError::Unknown`] if it is not in the trash, [`UndoError::Missing`] if content it refers to has been
    /// removed.
    pub async fn restore_manifest(&self, digest: &Digest) -> Result<Restored, UndoError> {
        self.registry.admit_change()?;
        match self.registry.metadata.restore_manifest(&self.name, digest, &self.change()).await? {
            Restoration::Done(restored) => Ok(restored),
            Restoration::Unknown => Err(UndoError::Unknown),
            Restoration::Missing(missing) => Err(UndoError::Missing(missing)),
            Restoration::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }
}

fn repointed_tag(outcome: TagRestoration) -> Result<RepointedTag, UndoError> {
    match outcome {
        TagRestoration::Done { from, to, restored } => Ok(RepointedTag { from, to, restored }),
        TagRestoration::Unknown => Err(UndoError::Unknown),
        TagRestoration::NotInHistory => Err(UndoError::NotInHistory),
        TagRestoration::InUse(digest) => Err(UndoError::InUse(digest)),
        TagRestoration::Gone(digest) => Err(UndoError::Gone(digest)),
        TagRestoration::Missing(missing) => Err(UndoError::Missing(missing)),
        TagRestoration::Immutable(tag) => Err(UndoError::Immutable(tag)),
        TagRestoration::Refused(over) => Err(ServiceError::OverQuota(over).into()),
    }
}

impl Registry {
    /// Deletes the history of some tags that were removed long ago. Returns whether more are waiting.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn forget_history(&self) -> Result<bool, ServiceError> {
        let cutoff = self.clock.now().minus(self.settings.history_removed);
        Ok(self.metadata.forget_history(cutoff, HISTORY_BATCH).await?.more)
    }
}
