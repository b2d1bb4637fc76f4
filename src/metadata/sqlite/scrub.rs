//! Where the scrub is, and what is set aside.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::codec::{SqlDigest, digest};
use super::maintenance::{fact, set_fact};
use super::{Durability, SqliteMetadata, name_from, one_more};
use crate::metadata::{DamagedBlob, MOST_LINKERS, Page, Result, Scrubbing};
use crate::oci::{BlobKey, Digest, RepoName};

const PLACE: &str = "scrub";

#[async_trait]
impl Scrubbing for SqliteMetadata {
    async fn scrub_place(&self) -> Result<Option<String>> {
        self.read(|c| fact(c, PLACE))
    }

    async fn note_scrub_place(&self, place: &str) -> Result<()> {
        let place = place.to_owned();
        self.write_behind(Durability::Lazy, move |c| set_fact(c, PLACE, &place)).await
    }

    async fn damaged(&self, after: Option<&Digest>, limit: usize) -> Result<Page<DamagedBlob>> {
        let after = after.map(digest).unwrap_or_default();
        self.read_blocking(move |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size FROM blobs WHERE damaged <> 0 AND digest > ?1
                 ORDER BY digest LIMIT ?2",
            )?;
            let rows = query.query_map(params![after, one_more(limit)], |row| {
                let digest = row.get::<_, SqlDigest>(0)?.0;
                let repos = linkers(c, &digest)?;
                let key = BlobKey { digest, generation: row.get(1)? };
                Ok(DamagedBlob { key, size: row.get::<_, i64>(2)?.cast_unsigned(), repos })
            })?;
            Page::read(rows, limit)
        })
        .await
    }

    async fn count_damaged(&self, most: usize) -> Result<u64> {
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM blobs INDEXED BY blobs_damaged WHERE damaged <> 0 LIMIT ?1)",
            )?;
            query.query_row([most.cast_signed()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        })
    }
}

fn linkers(c: &Connection, of: &Digest) -> rusqlite::Result<Vec<RepoName>> {
    let mut query = c.prepare_cached(
        "SELECT r.name FROM links l JOIN repositories r ON r.id = l.repo WHERE l.digest = ?1
         ORDER BY l.repo LIMIT ?2",
    )?;
    let names = query.query_map(params![digest(of), MOST_LINKERS.cast_signed()], |row| {
        name_from(row.get_ref(0)?.as_str()?, 0)
    })?;
    names.collect()
}
