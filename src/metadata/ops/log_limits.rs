//! Deletes rows of logs that are limited by age, and by number for each kind.

use crate::clock::Timestamp;
use crate::metadata::sql::{Connection, OptionalExtension, Row, params};
use crate::metadata::{Batch, Durability, Metadata, Result, sql};

/// Statements that find and delete the rows beyond the limits.
pub(in crate::metadata) struct RowLimits {
    /// Finds the ids of the oldest rows until ?1, at most ?2.
    pub(in crate::metadata) old: &'static str,
    /// Finds the id of the newest row beyond the limit ?2 of the kind ?1.
    pub(in crate::metadata) first_too_many: &'static str,
    /// Finds the smallest ids of the kind ?1 up to ?2, at most ?3.
    pub(in crate::metadata) too_many: &'static str,
    /// Deletes the row ?1.
    pub(in crate::metadata) delete: &'static str,
    /// Lists all kinds.
    pub(in crate::metadata) kinds: fn() -> Vec<String>,
}

impl RowLimits {
    /// Finds up to about `limit` rows that are too old or exceed the number of their kind.
    fn find_superfluous(
        &self,
        c: &dyn Connection,
        cutoff: Timestamp,
        max_rows: usize,
        limit: usize,
    ) -> sql::Result<Vec<i64>> {
        let ids = |row: Row<'_>| row.get::<i64>(0);
        let mut old = c.prepare_cached(self.old)?;
        let mut found = old.query_map(params![cutoff, limit], ids)?.collect::<sql::Result<Vec<_>>>()?;
        let mut first_too_many = c.prepare_cached(self.first_too_many)?;
        let mut too_many = c.prepare_cached(self.too_many)?;
        for kind in (self.kinds)() {
            let first = first_too_many.query_row(params![kind, max_rows.max(1)], ids).optional()?;
            if let Some(first) = first.filter(|_| found.len() < limit) {
                let rows = too_many.query_map(params![kind, first, limit], ids)?;
                found.extend(rows.collect::<sql::Result<Vec<_>>>()?);
            }
        }
        Ok(found)
    }
}

impl Metadata {
    /// Deletes about `limit` rows that are older than `cutoff` or exceed `max_rows` rows of their kind.
    pub(in crate::metadata) async fn delete_superfluous(
        &self,
        limits: &'static RowLimits,
        cutoff: Option<Timestamp>,
        max_rows: usize,
        limit: usize,
    ) -> Result<Batch> {
        let cutoff = cutoff.unwrap_or(Timestamp(i64::MIN));
        // Nearly always there is nothing to delete and so no need to wait for the writer.
        if self.read(|c| limits.find_superfluous(c, cutoff, max_rows, 1))?.is_empty() {
            return Ok(Batch::default());
        }
        self.write_in_background(Durability::Lazy, move |c| {
            let found = limits.find_superfluous(c, cutoff, max_rows, limit)?;
            let mut delete = c.prepare_cached(limits.delete)?;
            let mut changed = 0;
            for id in &found {
                changed += delete.execute([id])? as u64;
            }
            Ok(Batch { changed, more: found.len() >= limit })
        })
        .await
    }
}
