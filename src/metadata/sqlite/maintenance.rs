//! The store as a whole: totals, pages for `fsck`, copies, tidying.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::codec::{SqlDigest, digest};
use super::usage::number;
use super::{Durability, SqliteMetadata, clock, name_from, verify};
use crate::clock::Timestamp;
use crate::metadata::{ClockJump, Edge, Maintenance, Result, StoredBlob, StoredManifest, Totals};
use crate::oci::{BlobKey, Digest};

/// How many free pages are given back at once: about 4 MiB.
const VACUUM_PAGES: u32 = 1024;

#[async_trait]
impl Maintenance for SqliteMetadata {
    async fn bind_store(&self, store_id: &str) -> Result<String> {
        let bound = self.read(|c| fact(c, "store_id"))?;
        if let Some(bound) = bound {
            return Ok(bound);
        }
        let store_id = store_id.to_owned();
        self.write(Durability::Full, move |c| {
            c.execute(
                "INSERT INTO facts (key, value) VALUES ('store_id', ?1) ON CONFLICT DO NOTHING",
                [store_id],
            )?;
            Ok(fact(c, "store_id")?.unwrap_or_default())
        })
        .await
    }

    async fn recorded_time(&self) -> Result<Option<Timestamp>> {
        let text = self.read(|c| fact(c, "time"))?;
        Ok(text.and_then(|text| text.parse().ok()).map(Timestamp))
    }

    async fn record_time(&self, now: Timestamp) -> Result<()> {
        self.write(Durability::Lazy, move |c| set_fact(c, "time", &now.0.to_string())).await
    }

    async fn follow_jump(&self, jump: ClockJump) -> Result<()> {
        self.write(Durability::Full, move |c| clock::follow(c, jump)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT blobs, bytes, allocated, manifests, uploads, doomed, doomed_bytes, doomed_allocated
                 FROM totals",
            )?;
            query.query_row([], |row| {
                Ok(Totals {
                    blobs: number(row, 0)?,
                    blob_bytes: number(row, 1)?,
                    blob_allocated: number(row, 2)?,
                    manifests: number(row, 3)?,
                    uploads: number(row, 4)?,
                    doomed: number(row, 5)?,
                    doomed_bytes: number(row, 6)?,
                    doomed_allocated: number(row, 7)?,
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
                    repo: name_from(row.get_ref(1)?.as_str()?, 1)?,
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
            self.write_behind(Durability::Lazy, give_pages_back).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        if self.writer.is_none() {
            return self.read(|c| fact(c, "store_id")).map(drop);
        }
        self.write(Durability::Full, |c| set_fact(c, "checked", &uuid::Uuid::new_v4().to_string())).await
    }
}

/// Each step of this statement gives one page back.
fn give_pages_back(c: &rusqlite::Connection) -> rusqlite::Result<()> {
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

pub(super) fn fact(c: &rusqlite::Connection, key: &str) -> rusqlite::Result<Option<String>> {
    c.prepare_cached("SELECT value FROM facts WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

pub(super) fn set_fact(c: &rusqlite::Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])
    .map(drop)
}
