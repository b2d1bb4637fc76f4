//! Listing repositories.

use super::{Registry, ServiceError};
use crate::metadata::{ListPage, Page, Visible};
use crate::oci::RepoName;

/// A page of up to `limit` of `items`, of which one more was asked for.
pub(super) fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

impl Registry {
    /// Up to `limit` of the visible repositories that have something to pull, in byte order behind `after`.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>, ServiceError> {
        Ok(self.metadata.repository_names(after, limit, visible).await?)
    }
}
