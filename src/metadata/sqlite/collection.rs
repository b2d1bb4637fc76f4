//! The collector's reviews: what is due leaves the queue, is put off, or goes.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::codec::SqlDigest;
use super::holds::{self, Review};
use super::{Access, Durability, SqliteMetadata, manifests, purge};
use crate::clock::Timestamp;
use crate::metadata::{Batch, Collection, CollectionRules, Garbage, MetadataError, Result};
use crate::store::BlobKey;

#[async_trait]
impl Collection for SqliteMetadata {
    async fn review_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let rules = *rules;
        let Some(cutoff) = rules.untagged_cutoff() else {
            return Ok(Batch::default());
        };
        if self.read(|c| due(c, Review::Manifest, cutoff, 1))?.is_empty() {
            return Ok(Batch::default());
        }
        let review = move |c: &Connection| {
            review(c, Review::Manifest, cutoff, limit, |c, entry| review_manifest(c, entry, cutoff, &rules))
        };
        self.write(Durability::Full, review).await
    }

    async fn condemn_trash(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let cutoff = rules.trash_cutoff();
        if !self.read(|c| purge::trash_is_due(c, cutoff))? {
            return Ok(Batch::default());
        }
        self.write(Durability::Full, move |c| purge::condemn(c, cutoff, limit)).await
    }

    async fn purge_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let rules = *rules;
        if !self.read(purge::is_due)? {
            return Ok(Batch::default());
        }
        self.write(Durability::Full, move |c| purge::purge(c, &rules, limit)).await
    }

    async fn review_links(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        let rules = *rules;
        let (leased, hidden) = (rules.lease_cutoff(), rules.trash_cutoff());
        let nothing = self.read(|c| {
            Ok(due(c, Review::Link, leased, 1)?.is_empty()
                && due(c, Review::HiddenLink, hidden, 1)?.is_empty())
        })?;
        if nothing {
            return Ok(Batch::default());
        }
        self.write(Durability::Full, move |c| {
            let links = review(c, Review::Link, leased, limit, |c, entry| review_link(c, entry, &rules))?;
            let more =
                review(c, Review::HiddenLink, hidden, limit, |c, entry| review_hidden(c, entry, &rules))?;
            forget_long_uploads(c, &rules)?;
            Ok(Batch { changed: links.changed + more.changed, more: links.more || more.more })
        })
        .await
    }

    async fn doomed(&self, limit: usize) -> Result<Vec<(BlobKey, u64)>> {
        self.read(|c| {
            let mut query = c.prepare_cached("SELECT digest, generation, size FROM doomed LIMIT ?1")?;
            let rows = query.query_map([limit.cast_signed()], |row| {
                let key = BlobKey { digest: row.get::<_, SqlDigest>(0)?.0, generation: row.get(1)? };
                Ok((key, row.get::<_, i64>(2)?.cast_unsigned()))
            })?;
            rows.collect()
        })
    }

    async fn forget_doomed(&self, keys: &[BlobKey]) -> Result<()> {
        let generations: Vec<_> = keys.iter().map(|key| key.generation).collect();
        self.write(Durability::Lazy, move |c| {
            let mut delete = c.prepare_cached("DELETE FROM doomed WHERE generation = ?1")?;
            generations.into_iter().try_for_each(|generation| delete.execute([generation]).map(drop))
        })
        .await
    }

    async fn dry_run(&self, rules: &CollectionRules) -> Result<Garbage> {
        let scratch = Scratch::beside(&self.path)?;
        crate::metadata::Maintenance::copy_to(self, &scratch.0.join("orlop.db")).await?;
        let copy = SqliteMetadata::open(&scratch.0, Access::ReadWrite)
            .map_err(|error| MetadataError::Failed(error.to_string()))?;
        collect_all(&copy, rules).await
    }
}

/// Runs every step on `copy` until nothing is left to do now.
async fn collect_all(copy: &SqliteMetadata, rules: &CollectionRules) -> Result<Garbage> {
    const BATCH: usize = 1000;
    let mut garbage = Garbage::default();
    loop {
        let reviewed = copy.review_manifests(rules, BATCH).await?;
        let condemned = copy.condemn_trash(rules, BATCH).await?;
        let purged = copy.purge_manifests(rules, BATCH).await?;
        let links = copy.review_links(rules, BATCH).await?;
        garbage.manifests_expired += reviewed.changed;
        garbage.manifests_purged += purged.changed;
        garbage.links += links.changed;
        if ![reviewed, condemned, purged, links].iter().any(|batch| batch.more || batch.changed > 0) {
            break;
        }
    }
    copy.read_aside(move |c| {
        let sum = "SELECT count(*), coalesce(sum(size), 0) FROM doomed";
        let (blobs, bytes) =
            c.query_row(sum, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok(Garbage { blobs: blobs.cast_unsigned(), bytes: bytes.cast_unsigned(), ..garbage })
    })
    .await
}

/// A folder that goes with its value.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn beside(path: &std::path::Path) -> Result<Self> {
        let folder = path.with_extension(format!("dry-run-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).map_err(|error| MetadataError::Failed(error.to_string()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An entry of the review queue.
struct Entry {
    repo: i64,
    digest: Vec<u8>,
}

/// What a review comes to.
enum Verdict {
    /// It need not be looked at until something happens to it.
    Drop,
    /// It is to be looked at again, as if queued at this time.
    PutOff(Timestamp),
    /// It went.
    Gone,
}

fn due(c: &Connection, kind: Review, cutoff: Timestamp, limit: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut query = c.prepare_cached(
        "SELECT repo, digest FROM review WHERE kind = ?1 AND since <= ?2 ORDER BY since LIMIT ?3",
    )?;
    let rows = query.query_map(params![kind as i64, cutoff, limit.cast_signed()], |row| {
        Ok(Entry { repo: row.get(0)?, digest: row.get(1)? })
    })?;
    rows.collect()
}

fn review(
    c: &Connection,
    kind: Review,
    cutoff: Timestamp,
    limit: usize,
    judge: impl Fn(&Connection, &Entry) -> rusqlite::Result<Verdict>,
) -> rusqlite::Result<Batch> {
    let entries = due(c, kind, cutoff, limit)?;
    let mut batch = Batch { changed: 0, more: entries.len() == limit };
    for entry in &entries {
        match judge(c, entry)? {
            Verdict::PutOff(since) => put_off(c, kind, entry, since.max(Timestamp(cutoff.0 + 1)))?,
            Verdict::Drop => holds::unqueue(c, kind, entry.repo, &entry.digest)?,
            Verdict::Gone => {
                holds::unqueue(c, kind, entry.repo, &entry.digest)?;
                batch.changed += 1;
            }
        }
    }
    Ok(batch)
}

fn put_off(c: &Connection, kind: Review, entry: &Entry, since: Timestamp) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE review SET since = ?4 WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![kind as i64, entry.repo, entry.digest, since])
        .map(drop)
}

/// When something that an upload keeps is looked at again: an eighth of a lease from now.
fn later(cutoff: Timestamp, rules: &CollectionRules) -> Timestamp {
    cutoff.plus(rules.lease / 8)
}

fn review_manifest(
    c: &Connection,
    entry: &Entry,
    cutoff: Timestamp,
    rules: &CollectionRules,
) -> rusqlite::Result<Verdict> {
    let live = c
        .prepare_cached(
            "SELECT id, leased_at, pulled_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0",
        )?
        .query_row(params![entry.repo, entry.digest], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Timestamp>(1)?, row.get::<_, Timestamp>(2)?))
        })
        .optional()?;
    let Some((id, leased_at, pulled_at)) = live else {
        return Ok(Verdict::Drop);
    };
    if holds::manifest_is_held(c, id, entry.repo, &entry.digest)? {
        return Ok(Verdict::Drop);
    }
    if pulled_at > cutoff {
        return Ok(Verdict::PutOff(pulled_at));
    }
    if holds::is_leased(c, entry.repo, leased_at, rules)? {
        return Ok(Verdict::PutOff(leased_at.max(later(cutoff, rules))));
    }
    manifests::remove_manifest(c, entry.repo, id, rules.now)?;
    Ok(Verdict::Gone)
}

struct Link {
    leased_at: Timestamp,
    hidden_at: Option<Timestamp>,
}

fn find_link(c: &Connection, entry: &Entry) -> rusqlite::Result<Option<Link>> {
    c.prepare_cached("SELECT leased_at, hidden_at FROM links WHERE repo = ?1 AND digest = ?2")?
        .query_row(params![entry.repo, entry.digest], |row| {
            Ok(Link { leased_at: row.get(0)?, hidden_at: row.get(1)? })
        })
        .optional()
}

fn review_link(c: &Connection, entry: &Entry, rules: &CollectionRules) -> rusqlite::Result<Verdict> {
    let Some(link) = find_link(c, entry)? else {
        return Ok(Verdict::Drop);
    };
    if holds::blob_is_held(c, entry.repo, &entry.digest)? {
        return Ok(Verdict::Drop);
    }
    if let Some(hidden_at) = link.hidden_at {
        holds::queue(c, Review::HiddenLink, entry.repo, &entry.digest, hidden_at)?;
        return Ok(Verdict::Drop);
    }
    if holds::is_leased(c, entry.repo, link.leased_at, rules)? {
        return Ok(Verdict::PutOff(link.leased_at.max(later(rules.lease_cutoff(), rules))));
    }
    delete_link(c, entry)?;
    Ok(Verdict::Gone)
}

fn review_hidden(c: &Connection, entry: &Entry, rules: &CollectionRules) -> rusqlite::Result<Verdict> {
    let Some(Link { hidden_at: Some(hidden_at), .. }) = find_link(c, entry)? else {
        return Ok(Verdict::Drop);
    };
    // What holds it is in the trash. Its purge puts the link into the queue again.
    if holds::blob_is_held(c, entry.repo, &entry.digest)? {
        return Ok(Verdict::Drop);
    }
    if hidden_at > rules.trash_cutoff() {
        return Ok(Verdict::PutOff(hidden_at));
    }
    delete_link(c, entry)?;
    Ok(Verdict::Gone)
}

/// Deletes a link; a blob that has no other loses its record, and its key goes on the doomed list.
fn delete_link(c: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM links WHERE repo = ?1 AND digest = ?2")?
        .execute(params![entry.repo, entry.digest])?;
    let linked =
        c.prepare_cached("SELECT 1 FROM links WHERE digest = ?1 LIMIT 1")?.exists([&entry.digest])?;
    if linked {
        return Ok(());
    }
    c.prepare_cached(
        "INSERT INTO doomed (generation, digest, size) SELECT generation, digest, size FROM blobs WHERE digest = ?1",
    )?
    .execute([&entry.digest])?;
    c.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([&entry.digest]).map(drop)
}

/// An upload that ended two leases ago extends nothing any more.
fn forget_long_uploads(c: &Connection, rules: &CollectionRules) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM long_uploads WHERE ended_at <= ?1")?
        .execute([rules.lease_cutoff()])
        .map(drop)
}
