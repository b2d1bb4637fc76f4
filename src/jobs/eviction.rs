//! The interface between the space reclaimer and the retention policies.

use async_trait::async_trait;

use crate::registry::ServiceError;

/// Evicts content that policies allow to expire while the store is nearly full.
#[async_trait]
pub trait Evictor: Send + Sync + 'static {
    /// Moves manifests that policies allow to expire to the trash, in the operator's order and least recently pulled
    /// first, one small step at a time, until `goal` is reached. It checks the goal before each step. The trash is
    /// purged meanwhile, so these manifests do not stay in it.
    ///
    /// # Errors
    /// Fails if a store can't be read or written; content evicted before the failure stays evicted. It is not an
    /// error if nothing may expire now because policies are broken or the clock is not trusted.
    async fn evict(&self, goal: &dyn SpaceGoal) -> Result<Evicted, ServiceError>;

    /// Returns the names of the policies that decide what is kept.
    fn policies(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The space that an eviction has to free.
#[async_trait]
pub trait SpaceGoal: Send + Sync {
    /// Whether enough space is free, after `evicted` manifests were moved to the trash since [`Evictor::evict`]
    /// was called. This takes a while, because it purges them to find out.
    ///
    /// # Errors
    /// Fails if a store can't be read or written; nothing more should be evicted then.
    async fn is_reached(&self, evicted: u64) -> Result<bool, ServiceError>;
}

/// What an eviction removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// The number of tags removed.
    pub tags: u64,
    /// The number of manifests moved to the trash.
    pub manifests: u64,
    /// The number of tags and manifests that stay because their removal frees too little: another registry's tree has
    /// their files too.
    pub futile: u64,
}
