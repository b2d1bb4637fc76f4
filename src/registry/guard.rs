//! Immutable tags: made once, and neither moved nor taken away.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Registry, Repository};
use crate::metadata::{Change, ImmutableTags};
use crate::oci::{RepoName, Tag};

/// Says which tags are immutable.
pub trait TagGuard: Send + Sync + 'static {
    /// Whether this tag is. Asked while the metadata store is being written to, so it must be quick and wait
    /// for nothing.
    fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool;
}

/// The guard in force; none until one is set.
#[derive(Default)]
pub(super) struct Guard(RwLock<Option<Arc<dyn TagGuard>>>);

impl Registry {
    /// Sets who says which tags are immutable, from the next request on.
    pub fn guard_tags(&self, guard: Arc<dyn TagGuard>) {
        *self.guard.0.write().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    }

    /// The immutable tags of a repository, for a change that is about to be made.
    pub(super) fn fixed_tags(&self, repo: &RepoName) -> ImmutableTags {
        let guard = self.guard.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let repo = repo.clone();
        guard.map_or_else(ImmutableTags::default, |guard| {
            ImmutableTags::new(move |tag| guard.is_immutable(&repo, tag))
        })
    }
}

impl Repository {
    /// The circumstances of a change that this caller makes now.
    pub(super) fn change(&self) -> Change {
        let by = self.by.as_deref().map(str::to_owned);
        self.registry.guarded(&self.name, Change { by, ..Change::from(self.registry.clock.now()) })
    }
}
