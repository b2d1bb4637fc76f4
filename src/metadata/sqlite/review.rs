//! The review queue: what is due leaves it, is put off, or goes.

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

/// What a review comes to.
pub(super) enum Verdict {
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

/// Judges up to `limit` entries that are due, and does with them as judged.
pub(super) fn review(
    c: &Connection,
    kind: Review,
    cutoff: Timestamp,
    limit: usize,
    judge: impl Fn(&Connection, &Entry) -> rusqlite::Result<Verdict>,
) -> rusqlite::Result<Batch> {
    let entries = due(c, kind, cutoff, limit)?;
    let changed = review_entries(c, kind, &entries, cutoff, judge)?;
    Ok(Batch { changed, more: entries.len() == limit })
}

/// Judges these entries, and does with them as judged. How many went.
pub(super) fn review_entries(
    c: &Connection,
    kind: Review,
    entries: &[Entry],
    cutoff: Timestamp,
    judge: impl Fn(&Connection, &Entry) -> rusqlite::Result<Verdict>,
) -> rusqlite::Result<u64> {
    let mut gone = 0;
    for entry in entries {
        match judge(c, entry)? {
            Verdict::PutOff(since) => put_off(c, kind, entry, since.max(Timestamp(cutoff.0 + 1)))?,
            Verdict::Drop => holds::unqueue(c, kind, entry.repo, &entry.digest)?,
            Verdict::Gone => {
                holds::unqueue(c, kind, entry.repo, &entry.digest)?;
                gone += 1;
            }
        }
    }
    Ok(gone)
}

fn put_off(c: &Connection, kind: Review, entry: &Entry, since: Timestamp) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE review SET since = ?4 WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![kind as i64, entry.repo, entry.digest, since])
        .map(drop)
}

/// When something that an upload keeps is looked at again: an eighth of a lease from now.
pub(super) fn later(cutoff: Timestamp, rules: &CollectionRules) -> Timestamp {
    cutoff.plus(rules.lease / 8)
}

/// Whether anything is due.
pub(super) fn is_due(c: &Connection, kind: Review, cutoff: Timestamp) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM review WHERE kind = ?1 AND since <= ?2 LIMIT 1")?
        .exists(params![kind as i64, cutoff])
}

/// A manifest that is live.
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
) -> rusqlite::Result<Verdict> {
    let Some(Live { id, leased_at, pulled_at }) = live_manifest(c, entry)? else {
        return Ok(Verdict::Drop);
    };
    if holds::manifest_is_held(c, id, entry.repo, &entry.digest)? {
        holds::queue_own_indexes(c, entry.repo, &entry.digest, rules.now)?;
        return Ok(Verdict::Drop);
    }
    if pulled_at > cutoff {
        return Ok(Verdict::PutOff(pulled_at));
    }
    if holds::is_leased(c, entry.repo, leased_at, rules)? {
        return Ok(Verdict::PutOff(leased_at.max(later(cutoff, rules))));
    }
    let change = Change::from(rules.now);
    manifests::remove_manifest(c, entry.repo, (id, &entry.digest), ChangeKind::Expiry, &change, None)?;
    Ok(Verdict::Gone)
}
