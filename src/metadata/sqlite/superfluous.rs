//! Rows that are kept for a time, and so many of each kind: finding the others, and forgetting them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Durability, SqliteMetadata};
use crate::clock::Timestamp;
use crate::metadata::{Batch, Result};

/// What such rows are found and deleted with.
pub(super) struct Kept {
    /// The ids of the oldest until ?1, up to ?2 of them.
    pub(super) old: &'static str,
    /// The id of the newest of the kind ?1 that is too many, where ?2 are kept.
    pub(super) first_too_many: &'static str,
    /// The ids of the kind ?1 up to ?2, the smallest ?3 of them.
    pub(super) too_many: &'static str,
    /// Deletes the row ?1.
    pub(super) delete: &'static str,
    /// All kinds.
    pub(super) kinds: fn() -> Vec<String>,
}

impl Kept {
    /// Up to about `limit` rows that are too old or, of their kind, too many.
    fn superfluous(
        &self,
        c: &Connection,
        cutoff: Timestamp,
        most: usize,
        limit: usize,
    ) -> rusqlite::Result<Vec<i64>> {
        let ids = |row: &Row<'_>| row.get::<_, i64>(0);
        let mut old = c.prepare_cached(self.old)?;
        let mut found = old
            .query_map(params![cutoff, limit.cast_signed()], ids)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let mut first_too_many = c.prepare_cached(self.first_too_many)?;
        let mut too_many = c.prepare_cached(self.too_many)?;
        for kind in (self.kinds)() {
            let first = first_too_many.query_row(params![kind, most.max(1).cast_signed()], ids).optional()?;
            if let Some(first) = first.filter(|_| found.len() < limit) {
                let rows = too_many.query_map(params![kind, first, limit.cast_signed()], ids)?;
                found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
            }
        }
        Ok(found)
    }
}

impl SqliteMetadata {
    /// Forgets about `limit` rows of before `cutoff`, or that are more than `most` of their kind.
    pub(super) async fn forget_superfluous(
        &self,
        kept: &'static Kept,
        cutoff: Option<Timestamp>,
        most: usize,
        limit: usize,
    ) -> Result<Batch> {
        let cutoff = cutoff.unwrap_or(Timestamp(i64::MIN));
        // Nearly always there is nothing to forget, and no need to wait for the writer.
        if self.read(|c| kept.superfluous(c, cutoff, most, 1))?.is_empty() {
            return Ok(Batch::default());
        }
        self.write_behind(Durability::Lazy, move |c| {
            let found = kept.superfluous(c, cutoff, most, limit)?;
            let mut forget = c.prepare_cached(kept.delete)?;
            let mut changed = 0;
            for id in &found {
                changed += forget.execute([id])? as u64;
            }
            Ok(Batch { changed, more: found.len() >= limit })
        })
        .await
    }
}
