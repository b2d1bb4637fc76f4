//! Processes the review queue: entries that are due are dropped from the queue, postponed, or their target is removed:
//! a manifest moves to the trash, a link is deleted, and a blob goes with its last link.

use crate::clock::Timestamp;
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::{accounting, blobs, manifests};
use crate::metadata::sql::{self, Connection, OptionalExtension, params};
use crate::metadata::{Batch, Change, ChangeKind, CollectionRules, image_details};

/// An entry of the review queue.
pub(in crate::metadata) struct Entry {
    pub(in crate::metadata) repo: i64,
    pub(in crate::metadata) digest: Vec<u8>,
}

/// Outcome of a review.
pub(in crate::metadata) enum ReviewOutcome {
    /// Leaves the queue: no review is needed until something changes.
    Dequeue,
    /// Stays in the queue, as if queued at this time.
    Postpone(Timestamp),
    /// Was removed, and leaves the queue.
    Removed,
}

fn due(c: &dyn Connection, kind: Review, cutoff: Timestamp, limit: usize) -> sql::Result<Vec<Entry>> {
    let mut query = c.prepare_cached(
        "SELECT repo, digest FROM review WHERE kind = ?1 AND since <= ?2 ORDER BY since LIMIT ?3",
    )?;
    let rows = query.query_map(params![kind as i64, cutoff, limit], |row| {
        Ok(Entry { repo: row.get(0)?, digest: row.get(1)? })
    })?;
    rows.collect()
}

/// Reviews up to `limit` entries that are due, and updates the queue.
pub(in crate::metadata) fn review(
    c: &dyn Connection,
    kind: Review,
    cutoff: Timestamp,
    limit: usize,
    review_one: impl Fn(&dyn Connection, &Entry) -> sql::Result<ReviewOutcome>,
) -> sql::Result<Batch> {
    let entries = due(c, kind, cutoff, limit)?;
    let changed = review_entries(c, kind, &entries, cutoff, review_one)?;
    Ok(Batch { changed, more: entries.len() == limit })
}

/// Reviews these entries and updates the queue. Returns how many targets were removed.
pub(in crate::metadata) fn review_entries(
    c: &dyn Connection,
    kind: Review,
    entries: &[Entry],
    cutoff: Timestamp,
    review_one: impl Fn(&dyn Connection, &Entry) -> sql::Result<ReviewOutcome>,
) -> sql::Result<u64> {
    let mut removed = 0;
    for entry in entries {
        match review_one(c, entry)? {
            ReviewOutcome::Postpone(since) => postpone(c, kind, entry, since.max(Timestamp(cutoff.0 + 1)))?,
            ReviewOutcome::Dequeue => liveness::dequeue(c, kind, entry.repo, &entry.digest)?,
            ReviewOutcome::Removed => {
                liveness::dequeue(c, kind, entry.repo, &entry.digest)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn postpone(c: &dyn Connection, kind: Review, entry: &Entry, since: Timestamp) -> sql::Result<()> {
    c.prepare_cached("UPDATE review SET since = ?4 WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![kind as i64, entry.repo, entry.digest, since])
        .map(drop)
}

/// Time of the next review of something that an upload protects: an eighth of a lease from now.
pub(in crate::metadata) fn recheck_time(cutoff: Timestamp, rules: &CollectionRules) -> Timestamp {
    cutoff.plus(rules.lease / 8)
}

/// Whether anything is due.
pub(in crate::metadata) fn is_due(c: &dyn Connection, kind: Review, cutoff: Timestamp) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM review WHERE kind = ?1 AND since <= ?2 LIMIT 1")?
        .exists(params![kind as i64, cutoff])
}

/// A live manifest.
pub(in crate::metadata) struct Live {
    pub(in crate::metadata) id: i64,
    pub(in crate::metadata) leased_at: Timestamp,
    pulled_at: Timestamp,
}

pub(in crate::metadata) fn live_manifest(c: &dyn Connection, entry: &Entry) -> sql::Result<Option<Live>> {
    c.prepare_cached(
        "SELECT id, leased_at, pulled_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0",
    )?
    .query_row(params![entry.repo, entry.digest], |row| {
        Ok(Live { id: row.get(0)?, leased_at: row.get(1)?, pulled_at: row.get(2)? })
    })
    .optional()
}

pub(in crate::metadata) fn review_manifest(
    c: &dyn Connection,
    entry: &Entry,
    cutoff: Timestamp,
    rules: &CollectionRules,
) -> sql::Result<ReviewOutcome> {
    let Some(Live { id, leased_at, pulled_at }) = live_manifest(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    if liveness::is_manifest_held(c, id, entry.repo, &entry.digest)? {
        liveness::queue_own_indexes(c, entry.repo, &entry.digest, rules.now)?;
        return Ok(ReviewOutcome::Dequeue);
    }
    if pulled_at > cutoff {
        return Ok(ReviewOutcome::Postpone(pulled_at));
    }
    if liveness::is_leased(c, entry.repo, leased_at, rules)? {
        return Ok(ReviewOutcome::Postpone(leased_at.max(recheck_time(cutoff, rules))));
    }
    let change = Change::from(rules.now);
    manifests::remove_manifest(c, entry.repo, id, &entry.digest, ChangeKind::Expiry, &change, None)?;
    Ok(ReviewOutcome::Removed)
}

struct Link {
    leased_at: Timestamp,
    hidden_at: Option<Timestamp>,
}

fn find_link(c: &dyn Connection, entry: &Entry) -> sql::Result<Option<Link>> {
    c.prepare_cached("SELECT leased_at, hidden_at FROM links WHERE repo = ?1 AND digest = ?2")?
        .query_row(params![entry.repo, entry.digest], |row| {
            Ok(Link { leased_at: row.get(0)?, hidden_at: row.get(1)? })
        })
        .optional()
}

pub(in crate::metadata) fn review_link(
    c: &dyn Connection,
    entry: &Entry,
    rules: &CollectionRules,
) -> sql::Result<ReviewOutcome> {
    let Some(link) = find_link(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    if liveness::is_blob_held(c, entry.repo, &entry.digest)? {
        return Ok(ReviewOutcome::Dequeue);
    }
    if let Some(hidden_at) = link.hidden_at {
        liveness::queue(c, Review::HiddenLink, entry.repo, &entry.digest, hidden_at)?;
        return Ok(ReviewOutcome::Dequeue);
    }
    if liveness::is_leased(c, entry.repo, link.leased_at, rules)? {
        return Ok(ReviewOutcome::Postpone(link.leased_at.max(recheck_time(rules.lease_cutoff(), rules))));
    }
    delete_link(c, entry)?;
    Ok(ReviewOutcome::Removed)
}

pub(in crate::metadata) fn review_hidden_link(
    c: &dyn Connection,
    entry: &Entry,
    rules: &CollectionRules,
) -> sql::Result<ReviewOutcome> {
    let Some(Link { hidden_at: Some(hidden_at), .. }) = find_link(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    // Its holder is in the trash. Purging the holder queues the link again.
    if liveness::is_blob_held(c, entry.repo, &entry.digest)? {
        return Ok(ReviewOutcome::Dequeue);
    }
    if hidden_at > rules.trash_cutoff() {
        return Ok(ReviewOutcome::Postpone(hidden_at));
    }
    delete_link(c, entry)?;
    Ok(ReviewOutcome::Removed)
}

/// Deletes a link. If it was the blob's last link, also deletes the blob's record and schedules its key for deletion.
fn delete_link(c: &dyn Connection, entry: &Entry) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM links WHERE repo = ?1 AND digest = ?2")?
        .execute(params![entry.repo, entry.digest])?;
    if accounting::adjust_links(c, entry.repo, &entry.digest, -1)? > 0 {
        return Ok(());
    }
    if let Some(size) = blobs::doom(c, &entry.digest)? {
        c.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([&entry.digest])?;
        accounting::adjust_blobs(c, size, -1)?;
    }
    image_details::remove_config(c, &entry.digest)
}
