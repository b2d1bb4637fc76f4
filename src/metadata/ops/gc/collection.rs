//! Steps of garbage collection. Each is a transaction that starts only if there is something to do.

use crate::metadata::ops::accounting;
use crate::metadata::ops::gc::{purge, review};
use crate::metadata::ops::liveness::Review;
use crate::metadata::sql::{self, Connection, OptionalExtension, SqlDigest, params};
use crate::metadata::sqlite::DRY_RUN_PREFIX;
use crate::metadata::{
    Access, Batch, CollectionRules, Durability, Garbage, Metadata, MetadataError, Operation, Result,
};
use crate::oci::BlobKey;

impl Metadata {
    /// Reviews manifests that lost their last reference. A manifest that is referenced again leaves the review
    /// queue, one that is leased or was pulled recently is reviewed later, and any other moves to the trash.
    pub async fn review_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.perform(Operation::ReviewManifests, async {
            let rules = *rules;
            let Some(cutoff) = rules.untagged_cutoff() else {
                return Ok(Batch::default());
            };
            if !self.read(|c| review::is_due(c, Review::Manifest, cutoff))? {
                return Ok(Batch::default());
            }
            self.write_in_background(Durability::Full, move |c| {
                review::review(c, Review::Manifest, cutoff, limit, |c, entry| {
                    review::review_manifest(c, entry, cutoff, &rules)
                })
            })
            .await
        })
        .await
    }

    /// Marks manifests whose trash time is over for purging. They can no longer be restored.
    pub async fn expire_trash(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.perform(Operation::ExpireTrash, async {
            let cutoff = rules.trash_cutoff();
            if !self.read(|c| purge::is_trash_due(c, cutoff))? {
                return Ok(Batch::default());
            }
            self.write_in_background(Durability::Full, move |c| purge::start_purge(c, cutoff, limit)).await
        })
        .await
    }

    /// Deletes edges of manifests that are being purged, puts the targets into the review queue, and deletes
    /// manifests that have no edge left. Children and referrers that nothing else keeps alive follow when their
    /// leases have ended, as if they had been removed at that moment. `changed` counts the deleted manifests.
    pub async fn purge_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.perform(Operation::PurgeManifests, async {
            let rules = *rules;
            if !self.read(|c| purge::is_due(c, &rules))? {
                return Ok(Batch::default());
            }
            self.write_in_background(Durability::Full, move |c| purge::purge(c, &rules, limit)).await
        })
        .await
    }

    /// Reviews links. A link that a manifest needs leaves the review queue, a leased one is reviewed later, and
    /// any other is deleted. A blob without any link loses its record, and its key becomes a pending deletion.
    pub async fn review_links(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.perform(Operation::ReviewLinks, async {
            let rules = *rules;
            let leased = rules.lease_cutoff();
            let hidden = rules.trash_cutoff();
            let is_due = self.read(|c| {
                Ok(review::is_due(c, Review::Link, leased)? || review::is_due(c, Review::HiddenLink, hidden)?)
            })?;
            if !is_due {
                return Ok(Batch::default());
            }
            self.write_in_background(Durability::Full, move |c| {
                let links = review::review(c, Review::Link, leased, limit, |c, entry| {
                    review::review_link(c, entry, &rules)
                })?;
                let hidden = review::review(c, Review::HiddenLink, hidden, limit, |c, entry| {
                    review::review_hidden_link(c, entry, &rules)
                })?;
                delete_past_uploads(c, &rules, limit)?;
                Ok(Batch { changed: links.changed + hidden.changed, more: links.more || hidden.more })
            })
            .await
        })
        .await
    }

    /// Returns keys that no record refers to, whose content is to be deleted, with their sizes.
    pub async fn pending_deletions(&self, limit: usize) -> Result<Vec<(BlobKey, u64)>> {
        self.query(Operation::PendingDeletions, |c| {
            let mut query = c.prepare_cached("SELECT digest, generation, size FROM doomed LIMIT ?1")?;
            let rows = query.query_map([limit], |row| {
                let key = BlobKey { digest: row.get::<SqlDigest>(0)?.0, generation: row.get(1)? };
                Ok((key, row.get::<u64>(2)?))
            })?;
            rows.collect()
        })
        .await
    }

    /// Removes pending deletions, lazily, after their content was deleted.
    pub async fn forget_pending_deletions(&self, keys: &[BlobKey]) -> Result<()> {
        let generations: Vec<_> = keys.iter().map(|key| key.generation).collect();
        self.change_in_background(Operation::ForgetPendingDeletions, Durability::Lazy, move |c| {
            let mut delete =
                c.prepare_cached("DELETE FROM doomed WHERE generation = ?1 RETURNING size, allocated")?;
            let mut removed = Vec::new();
            for generation in generations {
                removed.extend(delete.query_row([generation], accounting::read_size).optional()?);
            }
            accounting::adjust_pending_deletions(c, removed, -1)
        })
        .await
    }

    /// Returns what a collection would remove now. It runs the real steps on a copy and changes nothing.
    pub async fn dry_run(&self, rules: &CollectionRules) -> Result<Garbage> {
        self.perform(Operation::DryRun, async {
            let scratch = ScratchFolder::create_next_to(self.path())?;
            self.sqlite().copy_to(&scratch.0.join("orlop.db")).await?;
            let copy = Metadata::open(&scratch.0, Access::ReadWrite)
                .map_err(|error| MetadataError::Failed(error.into()))?;
            Box::pin(collect_all(&copy, rules)).await
        })
        .await
    }
}

/// Runs every step on `copy` until nothing is left to do at present.
async fn collect_all(copy: &Metadata, rules: &CollectionRules) -> Result<Garbage> {
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
        let (blobs, bytes) = c.query_row(sum, [], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)))?;
        Ok(Garbage { blobs: blobs.cast_unsigned(), bytes: bytes.cast_unsigned(), ..garbage })
    })
    .await
}

/// A folder that is removed when the value is dropped.
struct ScratchFolder(std::path::PathBuf);

impl ScratchFolder {
    fn create_next_to(path: &std::path::Path) -> Result<Self> {
        let folder = path.with_file_name(format!("{}{}", DRY_RUN_PREFIX, uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).map_err(|error| MetadataError::Failed(error.into()))?;
        Ok(Self(folder))
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Deletes the rows of uploads that ended more than a lease ago: they no longer extend any lease.
fn delete_past_uploads(c: &dyn Connection, rules: &CollectionRules, limit: usize) -> sql::Result<()> {
    c.prepare_cached(
        "DELETE FROM past_uploads WHERE (repo, began_at) IN
         (SELECT repo, began_at FROM past_uploads WHERE ended_at <= ?1 LIMIT ?2)",
    )?
    .execute(params![rules.lease_cutoff(), limit])
    .map(drop)
}
