//! Purges manifests from the trash: deletes their edges in batches, and with them what only they held.

use crate::clock::Timestamp;
use crate::metadata::ops::accounting;
use crate::metadata::ops::gc::review;
use crate::metadata::ops::gc::review::{Entry, ReviewOutcome};
use crate::metadata::ops::liveness;
use crate::metadata::ops::liveness::Review;
use crate::metadata::sql::{Connection, OptionalExtension, Row, params};
use crate::metadata::{Batch, CollectionRules, EdgeKind, sql};

pub(in crate::metadata) fn is_trash_due(c: &dyn Connection, cutoff: Timestamp) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE state = 1 AND removed_at <= ?1 LIMIT 1")?.exists([cutoff])
}

/// Marks the manifests that were removed at `cutoff` or before for purging.
pub(in crate::metadata) fn start_purge(
    c: &dyn Connection,
    cutoff: Timestamp,
    limit: usize,
) -> sql::Result<Batch> {
    let changed = c
        .prepare_cached(
            "UPDATE manifests SET state = 2 WHERE id IN
             (SELECT id FROM manifests WHERE state = 1 AND removed_at <= ?1 ORDER BY removed_at LIMIT ?2)",
        )?
        .execute(params![cutoff, limit])?;
    Ok(Batch { changed: changed as u64, more: changed == limit })
}

/// Does the same as [`start_purge`] for one repository.
pub(in crate::metadata) fn start_purge_of_repository(
    c: &dyn Connection,
    repo: i64,
    cutoff: Timestamp,
    limit: usize,
) -> sql::Result<Batch> {
    let changed = c
        .prepare_cached(
            "UPDATE manifests SET state = 2 WHERE id IN
             (SELECT id FROM manifests WHERE repo = ?1 AND state = 1 AND removed_at <= ?2
              ORDER BY removed_at LIMIT ?3)",
        )?
        .execute(params![repo, cutoff, limit])?;
    Ok(Batch { changed: changed as u64, more: changed == limit })
}

pub(in crate::metadata) fn is_due(c: &dyn Connection, rules: &CollectionRules) -> sql::Result<bool> {
    let purging = c.prepare_cached("SELECT 1 FROM manifests WHERE state = 2 LIMIT 1")?.exists([])?;
    Ok(purging || review::is_due(c, Review::Orphan, rules.lease_cutoff())?)
}

struct Purging {
    id: i64,
    repo: i64,
    digest: Vec<u8>,
    size: i64,
    removed_at: Timestamp,
    /// The last time when a client may have learned, without a lease, that its targets exist.
    promised_at: Timestamp,
    purged_to: i64,
    /// Whether it was adopted and not released: then a user deleted it.
    is_unreleased: bool,
}

/// Purges orphans whose leases have ended. Then removes up to about `limit` edges and referrers of manifests that are
/// being purged, and deletes the manifests that have none left. `changed` counts the deleted manifests.
pub(in crate::metadata) fn purge(
    c: &dyn Connection,
    rules: &CollectionRules,
    limit: usize,
) -> sql::Result<Batch> {
    review::review(c, Review::Orphan, rules.lease_cutoff(), limit, |c, entry| purge_orphan(c, entry, rules))?;
    let mut changed = 0;
    let mut left = limit;
    while left > 0 {
        let Some(manifest) = next_purging(c, rules)? else {
            break;
        };
        let (spent, done) = remove_edges(c, &manifest, rules, left)?;
        changed += u64::from(done);
        left = left.saturating_sub(spent + 1);
    }
    Ok(Batch { changed, more: is_due(c, rules)? })
}

/// Removes up to `limit` edges and referrers of a manifest, and deletes the manifest if it has none left. Returns how
/// many were removed, and whether the manifest was deleted.
fn remove_edges(
    c: &dyn Connection,
    manifest: &Purging,
    rules: &CollectionRules,
    limit: usize,
) -> sql::Result<(usize, bool)> {
    let edges = edges(c, manifest.id, limit)?;
    for (target, kind) in &edges {
        remove_edge(c, manifest, target, *kind, rules)?;
    }
    let left = limit - edges.len();
    if left == 0 {
        return Ok((limit, false));
    }
    let referrers = referrers(c, manifest, left)?;
    for (id, digest) in &referrers {
        release_manifest(c, manifest, *id, digest, rules)?;
    }
    if let (Some((last, _)), true) = (referrers.last(), referrers.len() == left) {
        c.prepare_cached("UPDATE manifests SET purged_to = ?2 WHERE id = ?1")?
            .execute([manifest.id, *last])?;
        return Ok((limit, false));
    }
    c.prepare_cached("DELETE FROM manifests WHERE id = ?1")?.execute([manifest.id])?;
    accounting::change_manifests(c, manifest.repo, manifest.size, -1)?;
    Ok((edges.len() + referrers.len(), true))
}

/// Does the same for one manifest that is being purged. Returns the work done; 0 if there is no such manifest.
pub(in crate::metadata) fn purge_one(
    c: &dyn Connection,
    id: i64,
    rules: &CollectionRules,
    limit: usize,
) -> sql::Result<usize> {
    let found = c
        .prepare_cached(
            "SELECT id, repo, digest, removed_at, leased_at, purged_to, size, held FROM manifests
             WHERE id = ?1 AND state = 2",
        )?
        .query_row([id], |row| Purging::read(row, rules))
        .optional()?;
    match found {
        Some(manifest) => remove_edges(c, &manifest, rules, limit).map(|(spent, _)| spent + 1),
        None => Ok(0),
    }
}

fn next_purging(c: &dyn Connection, rules: &CollectionRules) -> sql::Result<Option<Purging>> {
    c.prepare_cached(
        "SELECT id, repo, digest, removed_at, leased_at, purged_to, size, held FROM manifests WHERE state = 2
         ORDER BY id LIMIT 1",
    )?
    .query_row([], |row| Purging::read(row, rules))
    .optional()
}

impl Purging {
    fn read(row: Row<'_>, rules: &CollectionRules) -> sql::Result<Self> {
        let removed_at: Timestamp = row.get(3)?;
        let leased_at: Timestamp = row.get(4)?;
        Ok(Self {
            id: row.get(0)?,
            repo: row.get(1)?,
            digest: row.get(2)?,
            size: row.get(6)?,
            removed_at,
            // Its own PUT also confirmed that all its targets exist.
            promised_at: rules.last_recorded_lease(removed_at).max(leased_at),
            purged_to: row.get(5)?,
            is_unreleased: row.get(7)?,
        })
    }
}

fn edges(c: &dyn Connection, manifest: i64, limit: usize) -> sql::Result<Vec<(Vec<u8>, EdgeKind)>> {
    let mut query = c.prepare_cached("SELECT target, kind FROM edges WHERE manifest = ?1 LIMIT ?2")?;
    let rows = query.query_map(params![manifest, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Deletes an edge. The lease of its target starts at the last time when clients may have learned, without a lease,
/// that the target exists: if leases of held targets are not recorded, that is the manifest's removal.
fn remove_edge(
    c: &dyn Connection,
    manifest: &Purging,
    target: &[u8],
    kind: EdgeKind,
    rules: &CollectionRules,
) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM edges WHERE manifest = ?1 AND target = ?2 AND kind = ?3")?
        .execute(params![manifest.id, target, kind])?;
    match kind {
        EdgeKind::Blob => {
            c.prepare_cached(
                "UPDATE links SET leased_at = ?3 WHERE repo = ?1 AND digest = ?2 AND leased_at < ?3",
            )?
            .execute(params![manifest.repo, target, manifest.promised_at])?;
            liveness::queue(c, Review::Link, manifest.repo, target, manifest.promised_at)
        }
        EdgeKind::Child => {
            let child = c
                .prepare_cached("SELECT id FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0")?
                .query_row(params![manifest.repo, target], |row| row.get(0))
                .optional()?;
            child.map_or(Ok(()), |child| release_manifest(c, manifest, child, target, rules))
        }
        EdgeKind::Subject => Ok(()),
    }
}

/// Lists the referrers that the purge of their subject has not released yet. They live as long as their subject.
fn referrers(c: &dyn Connection, subject: &Purging, limit: usize) -> sql::Result<Vec<(i64, Vec<u8>)>> {
    let mut query = c.prepare_cached(
        "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 2 AND e.manifest > ?3 AND m.state = 0
         ORDER BY e.manifest LIMIT ?4",
    )?;
    let values = params![subject.repo, subject.digest, subject.purged_to, limit];
    query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Releases a live manifest that `holder` held: it is purged when its lease ends, unless something else holds it. A
/// manifest that was pushed again or lost a tag after the holder's removal is not purged: it waits for its review like
/// any other manifest that lost its last holder.
fn release_manifest(
    c: &dyn Connection,
    holder: &Purging,
    id: i64,
    digest: &[u8],
    rules: &CollectionRules,
) -> sql::Result<()> {
    if liveness::is_manifest_kept(c, id, holder.repo, digest)? {
        return liveness::queue_own_indexes(c, holder.repo, digest, rules.now);
    }
    if liveness::is_unreleased(c, id)? {
        if !holder.is_unreleased {
            return Ok(());
        }
        // A user deleted the adopted holder, and what only it held follows it.
        liveness::release(c, id)?;
    }
    let alone_at: Timestamp = c
        .prepare_cached("SELECT alone_at FROM manifests WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    if alone_at > holder.removed_at {
        // A review in the meantime may have removed it from the queue because the trash held it.
        return liveness::queue(c, Review::Manifest, holder.repo, digest, alone_at);
    }
    c.prepare_cached("UPDATE manifests SET leased_at = ?2 WHERE id = ?1 AND leased_at < ?2")?
        .execute(params![id, holder.promised_at])?;
    liveness::queue(c, Review::Orphan, holder.repo, digest, holder.promised_at)
}

/// Starts to purge an orphan after its holder. The orphan was live until now, so clients may have relied on its targets
/// until now without a lease: its removal time is now, not that of its holder.
pub(in crate::metadata) fn purge_orphan(
    c: &dyn Connection,
    entry: &Entry,
    rules: &CollectionRules,
) -> sql::Result<ReviewOutcome> {
    let Some(orphan) = review::live_manifest(c, entry)? else {
        return Ok(ReviewOutcome::Dequeue);
    };
    if liveness::is_manifest_held(c, orphan.id, entry.repo, &entry.digest)? {
        liveness::queue_own_indexes(c, entry.repo, &entry.digest, rules.now)?;
        return Ok(ReviewOutcome::Dequeue);
    }
    if liveness::is_leased(c, entry.repo, orphan.leased_at, rules)? {
        return Ok(ReviewOutcome::Postpone(
            orphan.leased_at.max(review::recheck_time(rules.lease_cutoff(), rules)),
        ));
    }
    c.prepare_cached("UPDATE manifests SET state = 2, removed_at = ?2 WHERE id = ?1")?
        .execute(params![orphan.id, rules.now])?;
    accounting::change_live(c, entry.repo, -1)?;
    Ok(ReviewOutcome::Removed)
}
