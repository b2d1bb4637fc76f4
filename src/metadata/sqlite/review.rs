//! Processes the review queue: entries that are due are dropped from the queue, postponed, or their target is removed.

use rusqlite::{Connection, OptionalExtension, params};

use super::holds::{self, Review};
use super::manifests;
use crate::clock::Timestamp;
use crate::metadata::{Batch, Change, ChangeKind, CollectionRules};

/// An entry of the review queue.
pub(super) struct Entry {
    pub(super) repo: i64,
    pub(super) digest: Vec<u8>,
}

/// Outcome of a review.
pub(super) enum ReviewOutcome {
    /// Leaves the queue: no review is needed until something changes.
    Dequeue,
    /// Stays in the queue, as if queued at this time.
    Postpone(Timestamp),
    /// Was removed, and leaves the queue.
    Removed,
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

/// Reviews up to `limit` entries that are due, and updates the queue.
pub(super) fn review(
    c: &Connection,
    kind: Review,
    cutoff: Timestamp,
    limit: usize,
    review_one: impl Fn(&Connection, &Entry) -> rusqlite::Result<ReviewOutcome>,
) -> rusqlite::Result<Batch> {
    let entries = due(c, kind, cutoff, limit)?;
    let changed = review_entries(c, kind, &entries, cutoff, review_one)?;
    Ok(Batch { changed, more: entries.len() == limit })
}

/// Reviews these entries and updates the queue. Returns how many targets were removed.
pub(super) fn review_entries(
    c: &Connection,
    kind: Review,
    entries: &[Entry],
    cutoff: Timestamp,
    review_one: impl Fn(&Connection, &Entry) -> rusqlite::Result<ReviewOutcome>,
) -> rusqlite::Result<u64> {
    let mut removed = 0;
    for entry in entries {
        match review_one(c, entry)? {
            ReviewOutcome::Postpone(since) => postpone(c, kind, entry, since.max(Timestamp(cutoff.0 + 1)))?,
            ReviewOutcome::Dequeue => holds::dequeue(c, kind, entry.repo, &entry.digest)?,
            ReviewOutcome::Removed => {
                holds::dequeue(c, kind, entry.repo, &entry.digest)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn postpone(c: &Connection, kind: Review, entry: &Entry, since: Timestamp) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE review SET since = ?4 WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![kind as i64, entry.repo, entry.digest, since])
        .map(drop)
}

/// Time of the next review of something that an upload protects: an eighth of a lease from now.
pub(super) fn recheck_time(cutoff: Timestamp, rules: &CollectionRules) -> Timestamp {
    cutoff.plus(rules.lease / 8)
}

/// Whether anything is due.
pub(super) fn is_due(c: &Connection, kind: Review, cutoff: Timestamp) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM review WHERE kind = ?1 AND since <= ?2 LIMIT 1")?
        .exists(params![kind as i64, cutoff])
}

/// A live manifest.
pub(super) struct Live {
    pub(super) id: i64,
    pub(super) leased_at: Timestamp,
    pulled_at: Timestamp,
}

pub(super) fn live_manifest(c: &Connection, entry: &Entry) -> rusqlite::Result<Option<Live>> {
    c.prepare_cached(
        "SELECT id, leased_at, pulled_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0",
    )?
    .query_row(params![entry.repo, entry.digest], |row| {
        Ok(Live { id: row.get(0)?, leased_at: row.get(1)?, pulled_at: row.get(2)? })
    })
    .optional()
}

pub(super) fn review_manifest(
    c: &Connection,
    entry: &Entry,
    cutoff: Timestamp,
    rules: &CollectionRules,
) -> rusqlite::Result<ReviewOutcome> {
    let Some(Live { id, leased_at, pulled_at }) = live_manifest(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    if holds::is_manifest_held(c, id, entry.repo, &entry.digest)? {
        holds::queue_own_indexes(c, entry.repo, &entry.digest, rules.now)?;
        return Ok(ReviewOutcome::Dequeue);
    }
    if pulled_at > cutoff {
        return Ok(ReviewOutcome::Postpone(pulled_at));
    }
    if holds::is_leased(c, entry.repo, leased_at, rules)? {
        return Ok(ReviewOutcome::Postpone(leased_at.max(recheck_time(cutoff, rules))));
    }
    let change = Change::from(rules.now);
    manifests::remove_manifest(c, entry.repo, id, &entry.digest, ChangeKind::Expiry, &change, None)?;
    Ok(ReviewOutcome::Removed)
}
