//! Maintenance of the whole store: totals, pages for `fsck`, copies, returning unused space.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::codec::{SqlDigest, digest};
use super::usage::read_u64;
use super::{Durability, SqliteMetadata, clock, parse_name, verify};
use crate::clock::Timestamp;
use crate::metadata::{ClockJump, Edge, Maintenance, Result, StoredBlob, StoredManifest, Totals};
use crate::oci::{BlobKey, Digest};

/// Number of free pages that are returned at once: about 4 MiB.
const VACUUM_PAGES: u32 = 1024;

#[async_trait]
impl Maintenance for SqliteMetadata {
    async fn bind_store(&self, store_id: &str) -> Result<String> {
        let bound = self.read(|c| read_value(c, "store_id"))?;
        if let Some(bound) = bound {
            return Ok(bound);
        }
        let store_id = store_id.to_owned();
        self.write(Durability::Full, move |c| {
            c.execute(
                "INSERT INTO facts (key, value) VALUES ('store_id', ?1) ON CONFLICT DO NOTHING",
                [store_id],
            )?;
            Ok(read_value(c, "store_id")?.unwrap_or_default())
        })
        .await
    }

    async fn recorded_time(&self) -> Result<Option<Timestamp>> {
        let text = self.read(|c| read_value(c, "time"))?;
        Ok(text.and_then(|text| text.parse().ok()).map(Timestamp))
    }

    async fn record_time(&self, now: Timestamp) -> Result<()> {
        self.write(Durability::Lazy, move |c| write_value(c, "time", &now.0.to_string())).await
    }

    async fn apply_clock_jump(&self, jump: ClockJump) -> Result<()> {
        self.write(Durability::Full, move |c| clock::shift_times(c, jump)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT blobs, bytes, allocated, manifests, uploads, doomed, doomed_bytes, doomed_allocated
                 FROM totals",
            )?;
            query.query_row([], |row| {
                Ok(Totals {
                    blobs: read_u64(row, 0)?,
                    blob_bytes: read_u64(row, 1)?,
                    blob_allocated: read_u64(row, 2)?,
                    manifests: read_u64(row, 3)?,
                    uploads: read_u64(row, 4)?,
                    pending_deletions: read_u64(row, 5)?,
                    pending_deletion_bytes: read_u64(row, 6)?,
                    pending_deletion_allocated: read_u64(row, 7)?,
                })
            })
        })
    }

    async fn blobs_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>> {
        let after = after.map(digest).unwrap_or_default();
        self.read_blocking(move |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size, damaged, iif(measured, allocated, NULL) FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT ?2",
            )?;
            query.query_map(params![after, limit.cast_signed()], stored_blob)?.collect()
        })
        .await
    }

    async fn stored_blob(&self, wanted: &Digest) -> Result<Option<StoredBlob>> {
        self.read(|c| {
            let mut query =
                c.prepare_cached("SELECT digest, generation, size, damaged, iif(measured, allocated, NULL) FROM blobs WHERE digest = ?1")?;
            query.query_row([digest(wanted)], stored_blob).optional()
        })
    }

    async fn manifests_after(&self, after: i64, limit: usize) -> Result<Vec<StoredManifest>> {
        self.read_blocking(move |c| {
            let mut query = c.prepare_cached(
                "SELECT m.id, r.name, m.digest, m.content, m.media_type FROM manifests m JOIN repositories r ON r.id = m.repo
                 WHERE m.id > ?1 ORDER BY m.id LIMIT ?2",
            )?;
            let rows = query.query_map(params![after, limit.cast_signed()], |row| {
                Ok(StoredManifest {
                    id: row.get(0)?,
                    repo: parse_name(row.get_ref(1)?.as_str()?, 1)?,
                    digest: row.get::<_, SqlDigest>(2)?.0,
                    content: row.get(3)?,
                    media_type: row.get(4)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    async fn edges_of(&self, manifest: i64) -> Result<Vec<Edge>> {
        self.read(|c| {
            let mut query =
                c.prepare_cached("SELECT target, kind, required FROM edges WHERE manifest = ?1")?;
            let rows = query.query_map([manifest], |row| {
                let target = row.get::<_, SqlDigest>(0)?.0;
                Ok(Edge { target, kind: row.get(1)?, required: row.get(2)?, size: None })
            })?;
            rows.collect()
        })
    }

    async fn verify(&self) -> Result<Vec<String>> {
        self.read_blocking(verify::verify).await
    }

    async fn copy_to(&self, path: &Path) -> Result<()> {
        let path = path.to_string_lossy().into_owned();
        self.read_blocking(move |c| c.execute("VACUUM INTO ?1", [path]).map(drop)).await
    }

    async fn tidy(&self) -> Result<()> {
        let free = self.read(|c| c.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u32>(0)))?;
        if free > VACUUM_PAGES {
            self.write_behind(Durability::Lazy, return_free_pages).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        if self.writer.is_none() {
            return self.read(|c| read_value(c, "store_id")).map(drop);
        }
        self.write(Durability::Full, |c| write_value(c, "checked", &uuid::Uuid::new_v4().to_string())).await
    }
}

/// Returns free pages to the filesystem. Each step of the statement returns one page.
fn return_free_pages(c: &rusqlite::Connection) -> rusqlite::Result<()> {
    let mut vacuum = c.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

pub(super) fn stored_blob(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredBlob> {
    Ok(StoredBlob {
        key: BlobKey { digest: row.get::<_, SqlDigest>(0)?.0, generation: row.get(1)? },
        size: row.get::<_, i64>(2)?.cast_unsigned(),
        damaged: row.get(3)?,
        allocated: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
    })
}

/// Reads a value from the table of keys and values.
pub(super) fn read_value(c: &rusqlite::Connection, key: &str) -> rusqlite::Result<Option<String>> {
    c.prepare_cached("SELECT value FROM facts WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

/// Writes a value into the table of keys and values.
pub(super) fn write_value(c: &rusqlite::Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])
    .map(drop)
}
