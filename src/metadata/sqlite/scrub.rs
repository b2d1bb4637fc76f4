//! Stores the position of the scrub and lists quarantined blobs.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::codec::{SqlDigest, digest};
use super::maintenance::{read_value, write_value};
use super::{Durability, SqliteMetadata, limit_plus_one, parse_name};
use crate::metadata::{MAX_LINKING_REPOSITORIES, Page, QuarantinedBlob, Result, Scrubbing};
use crate::oci::{BlobKey, Digest, RepoName};

const POSITION_KEY: &str = "scrub";

#[async_trait]
impl Scrubbing for SqliteMetadata {
    async fn scrub_position(&self) -> Result<Option<String>> {
        self.read(|c| read_value(c, POSITION_KEY))
    }

    async fn record_scrub_position(&self, position: &str) -> Result<()> {
        let position = position.to_owned();
        self.write_behind(Durability::Lazy, move |c| write_value(c, POSITION_KEY, &position)).await
    }

    async fn quarantined_blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<QuarantinedBlob>> {
        let after = after.map(digest).unwrap_or_default();
        self.read_blocking(move |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size FROM blobs WHERE damaged <> 0 AND digest > ?1
                 ORDER BY digest LIMIT ?2",
            )?;
            let rows = query.query_map(params![after, limit_plus_one(limit)], |row| {
                let digest = row.get::<_, SqlDigest>(0)?.0;
                let repos = linking_repositories(c, &digest)?;
                let key = BlobKey { digest, generation: row.get(1)? };
                Ok(QuarantinedBlob { key, size: row.get::<_, i64>(2)?.cast_unsigned(), repos })
            })?;
            Page::read(rows, limit)
        })
        .await
    }

    async fn count_quarantined(&self, max_count: usize) -> Result<u64> {
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM blobs INDEXED BY blobs_damaged WHERE damaged <> 0 LIMIT ?1)",
            )?;
            query.query_row([max_count.cast_signed()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        })
    }
}

fn linking_repositories(c: &Connection, blob: &Digest) -> rusqlite::Result<Vec<RepoName>> {
    let mut query = c.prepare_cached(
        "SELECT r.name FROM links l JOIN repositories r ON r.id = l.repo WHERE l.digest = ?1
         ORDER BY l.repo LIMIT ?2",
    )?;
    let names = query.query_map(params![digest(blob), MAX_LINKING_REPOSITORIES.cast_signed()], |row| {
        parse_name(row.get_ref(0)?.as_str()?, 0)
    })?;
    names.collect()
}
