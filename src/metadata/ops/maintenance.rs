//! Maintenance of the whole store: totals, pages for `fsck`, copies, returning unused space.

use std::path::Path;

use crate::metadata::facts::{read_value, write_value};
use crate::metadata::ops::{repo_id, verify};
use crate::metadata::sql::{self, Connection, OptionalExtension, Row, SqlDigest, digest, params};
use crate::metadata::{
    Durability, Edge, LiveManifest, Metadata, Operation, Result, StoredBlob, StoredManifest, Totals,
};
use crate::oci::{BlobKey, Digest, RepoName};

impl Metadata {
    /// Returns the id of the blob store that this metadata belongs to. The first call sets it.
    pub async fn bind_store(&self, store_id: &str) -> Result<String> {
        self.perform(Operation::BindStore, async {
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
        })
        .await
    }

    /// Returns totals that are kept current. The cost does not depend on the number of records.
    pub async fn totals(&self) -> Result<Totals> {
        self.query(Operation::Totals, totals).await
    }

    /// Returns a page of all blobs in order of their digests, including quarantined ones, for `fsck` and
    /// backups.
    pub async fn blobs_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>> {
        let after = after.map(digest).unwrap_or_default();
        self.query_blocking(Operation::BlobsAfter, move |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size, damaged, CASE WHEN measured <> 0 THEN allocated END, unverified, hardlinked
                 FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT ?2",
            )?;
            query.query_map(params![after, limit], stored_blob)?.collect()
        })
        .await
    }

    /// Returns the current generation of a blob, quarantined or not, whichever repository serves it.
    pub async fn stored_blob(&self, wanted: &Digest) -> Result<Option<StoredBlob>> {
        self.query(Operation::StoredBlob, |c| {
            let mut query =
                c.prepare_cached("SELECT digest, generation, size, damaged, CASE WHEN measured <> 0 THEN allocated END, unverified, hardlinked
                 FROM blobs WHERE digest = ?1")?;
            query.query_row([digest(wanted)], stored_blob).optional()
        }).await
    }

    /// Returns a page of all manifests with their content in a stable order, for `fsck`.
    pub async fn manifests_after(&self, after: i64, limit: usize) -> Result<Vec<StoredManifest>> {
        self.query_blocking(Operation::ManifestsAfter, move |c| {
            let mut query = c.prepare_cached(
                "SELECT m.id, r.name, m.digest, m.content, m.media_type FROM manifests m JOIN repositories r ON r.id = m.repo
                 WHERE m.id > ?1 ORDER BY m.id LIMIT ?2",
            )?;
            let rows = query.query_map(params![after, limit], |row| {
                Ok(StoredManifest {
                    id: row.get(0)?,
                    repo: row.get(1)?,
                    digest: row.get::<SqlDigest>(2)?.0,
                    content: row.get(3)?,
                    media_type: row.get(4)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// Returns a page of the manifests of a repository that are not in the trash, with their content, in order of their
    /// digests, for exports.
    pub async fn live_manifests(
        &self,
        repo: &RepoName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<LiveManifest>> {
        let repo = repo.clone();
        let after = after.map(digest).unwrap_or_default();
        self.query_blocking(Operation::LiveManifests, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(Vec::new());
            };
            let mut query = c.prepare_cached(
                "SELECT id, digest, media_type, content, pushed_at FROM manifests
                 WHERE repo = ?1 AND digest > ?2 AND state = 0 ORDER BY digest LIMIT ?3",
            )?;
            let rows = query.query_map(params![repo, after, limit], |row| {
                Ok(LiveManifest {
                    id: row.get(0)?,
                    digest: row.get::<SqlDigest>(1)?.0,
                    media_type: row.get(2)?,
                    content: row.get(3)?,
                    pushed_at: row.get(4)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// Returns the references of a manifest from such a page, as recorded when the manifest was accepted.
    pub async fn edges_of(&self, manifest: i64) -> Result<Vec<Edge>> {
        self.query(Operation::EdgesOf, |c| {
            let mut query =
                c.prepare_cached("SELECT target, kind, required FROM edges WHERE manifest = ?1")?;
            let rows = query.query_map([manifest], |row| {
                let target = row.get::<SqlDigest>(0)?.0;
                Ok(Edge { target, kind: row.get(1)?, required: row.get(2)?, size: None })
            })?;
            rows.collect()
        })
        .await
    }

    /// Checks that the records agree with each other and that the store's own structures are valid. Returns the
    /// problems found.
    pub async fn verify(&self) -> Result<Vec<String>> {
        self.perform(Operation::Verify, async {
            let mut problems = self.sqlite().verify_structure().await?;
            problems.extend(self.read_blocking(verify::verify).await?);
            Ok(problems)
        })
        .await
    }

    /// Writes a consistent copy of all metadata to the file `path`, which must not exist.
    pub async fn copy_to(&self, path: &Path) -> Result<()> {
        self.perform(Operation::CopyTo, self.sqlite().copy_to(path)).await
    }

    /// Returns the bytes that this store itself takes on disk.
    pub async fn own_size(&self) -> Result<u64> {
        self.perform(Operation::OwnSize, async { self.sqlite().allocated_bytes() }).await
    }

    /// Returns some unused space to the file system. Meant to be called from time to time.
    pub async fn tidy(&self) -> Result<()> {
        self.perform(Operation::Tidy, self.sqlite().tidy()).await
    }

    /// Verifies that the store can make a change durable.
    pub async fn check(&self) -> Result<()> {
        self.perform(Operation::Check, async {
            if self.sqlite().is_read_only() {
                return self.read(|c| read_value(c, "store_id")).map(drop);
            }
            self.write(Durability::Full, |c| write_value(c, "checked", &uuid::Uuid::new_v4().to_string()))
                .await
        })
        .await
    }
}

pub(in crate::metadata) fn totals(c: &dyn Connection) -> sql::Result<Totals> {
    let mut query = c.prepare_cached(
        "SELECT blobs, bytes, allocated, manifests, uploads, doomed, doomed_bytes, doomed_allocated FROM totals",
    )?;
    query.query_row([], |row| {
        Ok(Totals {
            blobs: row.get(0)?,
            blob_bytes: row.get(1)?,
            blob_allocated: row.get(2)?,
            manifests: row.get(3)?,
            uploads: row.get(4)?,
            pending_deletions: row.get(5)?,
            pending_deletion_bytes: row.get(6)?,
            pending_deletion_allocated: row.get(7)?,
        })
    })
}

pub(in crate::metadata) fn stored_blob(row: Row<'_>) -> sql::Result<StoredBlob> {
    Ok(StoredBlob {
        key: BlobKey { digest: row.get::<SqlDigest>(0)?.0, generation: row.get(1)? },
        size: row.get::<u64>(2)?,
        damaged: row.get(3)?,
        allocated: row.get::<Option<u64>>(4)?,
        unverified: row.get(5)?,
        hardlinked: row.get(6)?,
    })
}
