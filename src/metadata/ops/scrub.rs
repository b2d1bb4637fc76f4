//! Stores the position of the scrub and lists quarantined blobs.

use crate::metadata::facts::{read_value, write_value};
use crate::metadata::sql::{Connection, SqlDigest, digest, limit_plus_one, params};
use crate::metadata::{
    Durability, MAX_LINKING_REPOSITORIES, Metadata, Operation, Page, QuarantinedBlob, Result, sql,
};
use crate::oci::{BlobKey, Digest, RepoName};

const POSITION_KEY: &str = "scrub";

impl Metadata {
    /// Returns the recorded position of the scrub in its own format; `None` before the first run.
    pub async fn scrub_position(&self) -> Result<Option<String>> {
        self.query(Operation::ScrubPosition, |c| read_value(c, POSITION_KEY)).await
    }

    /// Records the position of the scrub, lazily.
    pub async fn record_scrub_position(&self, position: &str) -> Result<()> {
        let position = position.to_owned();
        self.change_in_background(Operation::RecordScrubPosition, Durability::Lazy, move |c| {
            write_value(c, POSITION_KEY, &position)
        })
        .await
    }

    /// Returns a page of the quarantined blobs in order of their digests.
    pub async fn quarantined_blobs(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<QuarantinedBlob>> {
        let after = after.map(digest).unwrap_or_default();
        self.query_blocking(Operation::QuarantinedBlobs, move |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size FROM blobs WHERE damaged <> 0 AND digest > ?1
                 ORDER BY digest LIMIT ?2",
            )?;
            let rows = query.query_map(params![after, limit_plus_one(limit)], |row| {
                let digest = row.get::<SqlDigest>(0)?.0;
                let repos = linking_repositories(c, &digest)?;
                let key = BlobKey { digest, generation: row.get(1)? };
                Ok(QuarantinedBlob { key, size: row.get::<u64>(2)?, repos })
            })?;
            Page::read(rows, limit)
        })
        .await
    }

    /// Returns the number of quarantined blobs, counting up to `max`.
    pub async fn count_quarantined(&self, max_count: usize) -> Result<u64> {
        self.query(Operation::CountQuarantined, |c| {
            let mut query = c.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM blobs /* INDEXED BY blobs_damaged */
                                       WHERE damaged <> 0 LIMIT ?1) found",
            )?;
            query.query_row([max_count], |row| row.get(0))
        })
        .await
    }
}

fn linking_repositories(c: &dyn Connection, blob: &Digest) -> sql::Result<Vec<RepoName>> {
    let mut query = c.prepare_cached(
        "SELECT r.name FROM links l JOIN repositories r ON r.id = l.repo WHERE l.digest = ?1
         ORDER BY l.repo LIMIT ?2",
    )?;
    let names = query.query_map(params![digest(blob), MAX_LINKING_REPOSITORIES], |row| row.get(0))?;
    names.collect()
}
