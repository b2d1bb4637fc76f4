//! Steps of garbage collection. Each is a transaction that starts only if there is something to do.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::codec::SqlDigest;
use super::holds::Review;
use super::{Access, Durability, SqliteMetadata, links, open, purge, review};
use crate::metadata::{Batch, Collection, CollectionRules, Garbage, MetadataError, Result};
use crate::oci::BlobKey;

#[async_trait]
impl Collection for SqliteMetadata {
    async fn review_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let rules = *rules;
        let Some(cutoff) = rules.untagged_cutoff() else {
            return Ok(Batch::default());
        };
        if !self.read(|c| review::is_due(c, Review::Manifest, cutoff))? {
            return Ok(Batch::default());
        }
        self.write_behind(Durability::Full, move |c| {
            review::review(c, Review::Manifest, cutoff, limit, |c, entry| {
                review::review_manifest(c, entry, cutoff, &rules)
            })
        })
        .await
    }

    async fn expire_trash(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let cutoff = rules.trash_cutoff();
        if !self.read(|c| purge::is_trash_due(c, cutoff))? {
            return Ok(Batch::default());
        }
        self.write_behind(Durability::Full, move |c| purge::start_purge(c, cutoff, limit)).await
    }

    async fn purge_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let rules = *rules;
        if !self.read(|c| purge::is_due(c, &rules))? {
            return Ok(Batch::default());
        }
        self.write_behind(Durability::Full, move |c| purge::purge(c, &rules, limit)).await
    }

    async fn review_links(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let rules = *rules;
        let leased = rules.lease_cutoff();
        let hidden = rules.trash_cutoff();
        let is_due = self.read(|c| {
            Ok(review::is_due(c, Review::Link, leased)? || review::is_due(c, Review::HiddenLink, hidden)?)
        })?;
        if !is_due {
            return Ok(Batch::default());
        }
        self.write_behind(Durability::Full, move |c| {
            let links = review::review(c, Review::Link, leased, limit, |c, entry| {
                links::review_link(c, entry, &rules)
            })?;
            let hidden = review::review(c, Review::HiddenLink, hidden, limit, |c, entry| {
                links::review_hidden_link(c, entry, &rules)
            })?;
            delete_past_uploads(c, &rules, limit)?;
            Ok(Batch { changed: links.changed + hidden.changed, more: links.more || hidden.more })
        })
        .await
    }

    async fn pending_deletions(&self, limit: usize) -> Result<Vec<(BlobKey, u64)>> {
        self.read(|c| {
            let mut query = c.prepare_cached("SELECT digest, generation, size FROM doomed LIMIT ?1")?;
            let rows = query.query_map([limit.cast_signed()], |row| {
                let key = BlobKey { digest: row.get::<_, SqlDigest>(0)?.0, generation: row.get(1)? };
                Ok((key, row.get::<_, i64>(2)?.cast_unsigned()))
            })?;
            rows.collect()
        })
    }

    async fn forget_pending_deletions(&self, keys: &[BlobKey]) -> Result<()> {
        let generations: Vec<_> = keys.iter().map(|key| key.generation).collect();
        self.write_behind(Durability::Lazy, move |c| {
            let mut delete = c.prepare_cached("DELETE FROM doomed WHERE generation = ?1")?;
            generations.into_iter().try_for_each(|generation| delete.execute([generation]).map(drop))
        })
        .await
    }

    async fn dry_run(&self, rules: &CollectionRules) -> Result<Garbage> {
        let scratch = ScratchFolder::create_next_to(&self.path)?;
        crate::metadata::Maintenance::copy_to(self, &scratch.0.join("orlop.db")).await?;
        let copy = SqliteMetadata::open(&scratch.0, Access::ReadWrite)
            .map_err(|error| MetadataError::Failed(error.to_string()))?;
        collect_all(&copy, rules).await
    }
}

/// Runs every step on `copy` until nothing is left to do at present.
async fn collect_all(copy: &SqliteMetadata, rules: &CollectionRules) -> Result<Garbage> {
    const BATCH: usize = 1000;
    let mut garbage = Garbage::default();
    loop {
        let reviewed = copy.review_manifests(rules, BATCH).await?;
        let expired = copy.expire_trash(rules, BATCH).await?;
        let purged = copy.purge_manifests(rules, BATCH).await?;
        let links = copy.review_links(rules, BATCH).await?;
        garbage.manifests_expired += reviewed.changed;
        garbage.manifests_purged += purged.changed;
        garbage.links += links.changed;
        if ![reviewed, expired, purged, links].iter().any(|batch| batch.more || batch.changed > 0) {
            break;
        }
    }
    copy.read_blocking(move |c| {
        let sum = "SELECT count(*), coalesce(sum(size), 0) FROM doomed";
        let (blobs, bytes) =
            c.query_row(sum, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok(Garbage { blobs: blobs.cast_unsigned(), bytes: bytes.cast_unsigned(), ..garbage })
    })
    .await
}

/// A folder that is removed when the value is dropped.
struct ScratchFolder(std::path::PathBuf);

impl ScratchFolder {
    fn create_next_to(path: &std::path::Path) -> Result<Self> {
        let folder =
            path.with_file_name(format!("{}{}", open::DRY_RUN_PREFIX, uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).map_err(|error| MetadataError::Failed(error.to_string()))?;
        Ok(Self(folder))
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Deletes the rows of uploads that ended more than a lease ago: they no longer extend any lease.
fn delete_past_uploads(c: &Connection, rules: &CollectionRules, limit: usize) -> rusqlite::Result<()> {
    c.prepare_cached(
        "DELETE FROM past_uploads WHERE (repo, began_at) IN
         (SELECT repo, began_at FROM past_uploads WHERE ended_at <= ?1 LIMIT ?2)",
    )?
    .execute(params![rules.lease_cutoff(), limit.cast_signed()])
    .map(drop)
}
