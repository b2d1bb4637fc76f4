//! Listing repositories.

use super::{Fault, Registry};
use crate::oci::RepoName;

/// Some items of a list, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// A page of up to `limit` of `items`, of which one more was asked for.
pub(super) fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

impl Registry {
    /// Up to `limit` repositories that have something to pull, in byte order behind `after`.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepoName>, Fault> {
        Ok(page(self.metadata.repositories(after, limit + 1).await?, limit))
    }
}
