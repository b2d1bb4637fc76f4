//! Listing repositories.

use super::{Registry, ServiceError};
use crate::metadata::{ListPage, Page, Visible};
use crate::oci::RepoName;

/// Builds a page of up to `limit` items. `items` may have one more, which shows that more follow.
pub(super) fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

impl Registry {
    /// Returns up to `limit` visible repositories that have something to pull, in byte order after `after`.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>, ServiceError> {
        Ok(self.metadata.repository_names(after, limit, visible).await?)
    }
}
