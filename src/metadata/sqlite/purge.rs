//! From the trash to nothing: a manifest's edges go in batches, and what it alone held goes with it.

use rusqlite::{Connection, OptionalExtension, params};

use super::holds::{self, Review};
use crate::clock::Timestamp;
use crate::metadata::{Batch, CollectionRules, EdgeKind};

pub(super) fn trash_is_due(c: &Connection, cutoff: Timestamp) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE state = 1 AND removed_at <= ?1 LIMIT 1")?.exists([cutoff])
}

/// Moves what was removed at `cutoff` or before from the trash to purging.
pub(super) fn condemn(c: &Connection, cutoff: Timestamp, limit: usize) -> rusqlite::Result<Batch> {
    let changed = c
        .prepare_cached(
            "UPDATE manifests SET state = 2 WHERE id IN
             (SELECT id FROM manifests WHERE state = 1 AND removed_at <= ?1 ORDER BY removed_at LIMIT ?2)",
        )?
        .execute(params![cutoff, limit.cast_signed()])?;
    Ok(Batch { changed: changed as u64, more: changed == limit })
}

pub(super) fn is_due(c: &Connection) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE state = 2 LIMIT 1")?.exists([])
}

struct Purging {
    id: i64,
    repo: i64,
    digest: Vec<u8>,
    removed_at: Timestamp,
}

/// Takes up to about `limit` edges from purging manifests, and deletes those that have none left. `changed`
/// counts the manifests deleted.
pub(super) fn purge(c: &Connection, rules: &CollectionRules, limit: usize) -> rusqlite::Result<Batch> {
    let mut batch = Batch::default();
    let mut left = limit;
    while left > 0 {
        let Some(manifest) = next(c)? else {
            return Ok(batch);
        };
        let edges = edges(c, manifest.id, left)?;
        for (target, kind) in &edges {
            let_go(c, &manifest, target, *kind, rules)?;
        }
        if edges.len() < left {
            release_referrers(c, &manifest, rules)?;
            c.prepare_cached("DELETE FROM manifests WHERE id = ?1")?.execute([manifest.id])?;
            batch.changed += 1;
        }
        left = left.saturating_sub(edges.len() + 1);
    }
    batch.more = is_due(c)?;
    Ok(batch)
}

fn next(c: &Connection) -> rusqlite::Result<Option<Purging>> {
    c.prepare_cached(
        "SELECT id, repo, digest, removed_at FROM manifests WHERE state = 2 ORDER BY id LIMIT 1",
    )?
    .query_row([], |row| {
        Ok(Purging { id: row.get(0)?, repo: row.get(1)?, digest: row.get(2)?, removed_at: row.get(3)? })
    })
    .optional()
}

fn edges(c: &Connection, manifest: i64, limit: usize) -> rusqlite::Result<Vec<(Vec<u8>, EdgeKind)>> {
    let mut query = c.prepare_cached("SELECT target, kind FROM edges WHERE manifest = ?1 LIMIT ?2")?;
    let rows =
        query.query_map(params![manifest, limit.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Deletes an edge. Its target is leased from the manifest's removal on, for until then clients were told
/// that it is held.
fn let_go(
    c: &Connection,
    manifest: &Purging,
    target: &[u8],
    kind: EdgeKind,
    rules: &CollectionRules,
) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM edges WHERE manifest = ?1 AND target = ?2 AND kind = ?3")?
        .execute(params![manifest.id, target, kind])?;
    match kind {
        EdgeKind::Blob => {
            c.prepare_cached(
                "UPDATE links SET leased_at = max(leased_at, ?3) WHERE repo = ?1 AND digest = ?2",
            )?
            .execute(params![manifest.repo, target, manifest.removed_at])?;
            holds::queue(c, Review::Link, manifest.repo, target, manifest.removed_at)
        }
        EdgeKind::Child => {
            let child = c
                .prepare_cached("SELECT id FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0")?
                .query_row(params![manifest.repo, target], |row| row.get(0))
                .optional()?;
            child.map_or(Ok(()), |child| release(c, manifest, child, target, rules))
        }
        EdgeKind::Subject => Ok(()),
    }
}

/// A referrer lives as long as its subject.
fn release_referrers(c: &Connection, subject: &Purging, rules: &CollectionRules) -> rusqlite::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 2 AND m.state = 0",
    )?;
    let rows =
        query.query_map(params![subject.repo, subject.digest], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let referrers: Vec<(i64, Vec<u8>)> = rows.collect::<rusqlite::Result<_>>()?;
    for (id, digest) in referrers {
        release(c, subject, id, &digest, rules)?;
    }
    Ok(())
}

/// Lets a live manifest that `holder` held follow it into the purge, unless something else holds it, or
/// somebody wanted it since: then it waits for its review like any other that lost its last holder.
fn release(
    c: &Connection,
    holder: &Purging,
    id: i64,
    digest: &[u8],
    rules: &CollectionRules,
) -> rusqlite::Result<()> {
    if holds::manifest_is_held(c, id, holder.repo, digest)? {
        return Ok(());
    }
    let leased_at: Timestamp = c
        .prepare_cached("SELECT leased_at FROM manifests WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    if holds::is_leased(c, holder.repo, leased_at.max(holder.removed_at), rules)? {
        return holds::queue(c, Review::Manifest, holder.repo, digest, rules.now);
    }
    c.prepare_cached("UPDATE manifests SET state = 2, removed_at = ?2 WHERE id = ?1")?
        .execute(params![id, holder.removed_at])
        .map(drop)
}
