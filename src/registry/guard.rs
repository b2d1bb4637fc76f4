//! Immutable tags: they can be created, but neither moved nor removed.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{Registry, Repository};
use crate::metadata::{Change, ImmutableTags};
use crate::oci::{RepoName, Tag};

/// Decides which tags are immutable.
pub trait TagGuard: Send + Sync + 'static {
    /// Returns whether this tag is immutable. Called during a write to the metadata store, so it must be quick and must
    /// not block.
    fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool;
}

/// The guard in use; none until one is set.
#[derive(Default)]
pub(super) struct Guard(RwLock<Option<Arc<dyn TagGuard>>>);

impl Registry {
    /// Sets the guard that decides which tags are immutable, from the next request on.
    pub fn guard_tags(&self, guard: Arc<dyn TagGuard>) {
        *self.guard.0.write() = Some(guard);
    }

    /// Returns the immutable tags of a repository, for a change that is about to be made.
    pub(super) fn immutable_tags(&self, repo: &RepoName) -> ImmutableTags {
        let guard = self.guard.0.read().clone();
        let repo = repo.clone();
        guard.map_or_else(ImmutableTags::default, |guard| {
            ImmutableTags::new(move |tag| guard.is_immutable(&repo, tag))
        })
    }
}

impl Repository {
    /// Returns the context of a change that the caller makes now.
    pub(super) fn change(&self) -> Change {
        let by = self.by.as_deref().map(str::to_owned);
        self.registry
            .with_repository_rules(&self.name, Change { by, ..Change::from(self.registry.clock.now()) })
    }
}
