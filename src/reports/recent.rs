//! What happened lately in the repositories that a client may read.

use super::Reports;
use crate::metadata::{EventPage, RecentPush, Visible};
use crate::registry::ServiceError;

impl Reports {
    /// Returns the `limit` tags that were pushed, moved or restored last in the `visible` repositories, newest first.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn recent_pushes(
        &self,
        visible: &Visible,
        limit: usize,
    ) -> Result<Vec<RecentPush>, ServiceError> {
        Ok(self.registry.metadata().recent_pushes(visible, limit).await?)
    }

    /// Returns a page of events before the position `before`, newest first. A client that may not read everything gets
    /// only events about repositories in `visible`.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn events(
        &self,
        visible: &Visible,
        sees_all: bool,
        before: Option<i64>,
        limit: usize,
    ) -> Result<EventPage, ServiceError> {
        let metadata = self.registry.metadata();
        if !sees_all {
            return Ok(metadata.visible_events(visible, before, limit).await?);
        }
        let found = metadata.events(None, before, limit).await?;
        let next = found.items.last().map(|event| event.id).filter(|_| found.more);
        Ok(EventPage { items: found.items, next })
    }
}
