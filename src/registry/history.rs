//! The history of tags, and pointing them back.

use super::{Page, Registry, Repository, ServiceError, UndoError};
use crate::metadata::{HistoryEntry, Restoration, Restored, TagReturn};
use crate::oci::{Digest, Tag};

/// How many removed tags the upkeep forgets the history of at once.
const FORGOTTEN: usize = 100;

/// A tag that was pointed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointedBack {
    /// What it pointed at before; `None` if it was not there.
    pub from: Option<Digest>,
    /// What it points at now.
    pub to: Digest,
    /// Manifests that came back from the trash for it.
    pub restored: Vec<Digest>,
}

impl Repository {
    /// Up to `limit` rows of a tag's history before the row `before`, newest first; also of one that was taken
    /// away.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn tag_history(
        &self,
        tag: &Tag,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        Ok(self.registry.metadata.tag_history(&self.name, Some(tag), before, limit).await?)
    }

    /// The same of the repository as a whole: when it was deleted, restored and renamed. The id of a deletion's
    /// row is what [`Repository::restore`] takes.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn history(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        Ok(self.registry.metadata.tag_history(&self.name, None, before, limit).await?)
    }

    /// Points a tag back: at what it pointed at before its last change, or at `to` out of its history.
    ///
    /// # Errors
    /// Any [`UndoError`]; then nothing changed.
    pub async fn rollback(&self, tag: &Tag, to: Option<&Digest>) -> Result<PointedBack, UndoError> {
        self.registry.admit_change()?;
        pointed_back(self.registry.metadata.rollback(&self.name, tag, to, &self.change()).await?)
    }

    /// Brings a tag back that was taken away, where it pointed then.
    ///
    /// # Errors
    /// Any [`UndoError`]; then nothing changed.
    pub async fn restore_tag(&self, tag: &Tag) -> Result<PointedBack, UndoError> {
        self.registry.admit_change()?;
        pointed_back(self.registry.metadata.restore_tag(&self.name, tag, &self.change()).await?)
    }

    /// Brings a manifest back from the trash, with its children, the tags that it lost, and signatures and their
    /// like that went along.
    ///
    /// # Errors
    /// [`UndoError::Unknown`] if it is not in the trash, [`UndoError::Missing`] if it would not be whole.
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

fn pointed_back(outcome: TagReturn) -> Result<PointedBack, UndoError> {
    match outcome {
        TagReturn::Done { from, to, restored } => Ok(PointedBack { from, to, restored }),
        TagReturn::Unknown => Err(UndoError::Unknown),
        TagReturn::NotInHistory => Err(UndoError::NotInHistory),
        TagReturn::InUse(digest) => Err(UndoError::InUse(digest)),
        TagReturn::Gone(digest) => Err(UndoError::Gone(digest)),
        TagReturn::Missing(missing) => Err(UndoError::Missing(missing)),
        TagReturn::Fixed(tag) => Err(UndoError::Immutable(tag)),
        TagReturn::Refused(over) => Err(ServiceError::OverQuota(over).into()),
    }
}

impl Registry {
    /// Forgets the history of some tags that were taken away long ago. Whether more are waiting.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn forget_history(&self) -> Result<bool, ServiceError> {
        let cutoff = self.clock.now().minus(self.settings.history_removed);
        Ok(self.metadata.forget_history(cutoff, FORGOTTEN).await?.more)
    }
}
