//! What holds what, and what a lease protects. There are no counters: whether something is held is asked of
//! the edges and tags themselves.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, EdgeKind};

/// A live manifest of `repo` that refers to `target` as `kind`, by its digest.
pub(super) fn live_holder(
    c: &Connection,
    repo: i64,
    target: &[u8],
    kind: EdgeKind,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut query = c.prepare_cached(
        "SELECT m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 AND m.state = 0 LIMIT 1",
    )?;
    query.query_row(params![repo, target, kind], |row| row.get(0)).optional()
}

/// Whether any manifest that is not purged yet refers to the blob `target`.
pub(super) fn blob_is_held(c: &Connection, repo: i64, target: &[u8]) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 0 LIMIT 1")?
        .exists(params![repo, target])
}

/// Whether a tag, an index or its subject holds the manifest `id`. What is in the trash goes on holding
/// until it is purged: it may be brought back.
pub(super) fn manifest_is_held(c: &Connection, id: i64, repo: i64, digest: &[u8]) -> rusqlite::Result<bool> {
    let tagged = c.prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 LIMIT 1")?.exists([id])?;
    if tagged {
        return Ok(true);
    }
    let listed = c
        .prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.state < 2 LIMIT 1",
        )?
        .exists(params![repo, digest])?;
    if listed {
        return Ok(true);
    }
    c.prepare_cached(
        "SELECT 1 FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
         WHERE e.manifest = ?1 AND e.kind = 2 AND s.state < 2 LIMIT 1",
    )?
    .exists([id])
}

/// Whether a lease given at `leased_at` still protects. An upload that began before the lease's end extends
/// it to its own end and one more lease; extensions do not chain.
pub(super) fn is_leased(
    c: &Connection,
    repo: i64,
    leased_at: Timestamp,
    rules: &CollectionRules,
) -> rusqlite::Result<bool> {
    if leased_at > rules.lease_cutoff() {
        return Ok(true);
    }
    let lease_end = leased_at.plus(rules.lease);
    let open = c
        .prepare_cached("SELECT 1 FROM uploads WHERE repo = ?1 AND began_at <= ?2 LIMIT 1")?
        .exists(params![repo, lease_end])?;
    if open {
        return Ok(true);
    }
    c.prepare_cached(
        "SELECT 1 FROM long_uploads WHERE repo = ?1 AND began_at <= ?2 AND ended_at > ?3 LIMIT 1",
    )?
    .exists(params![repo, lease_end, rules.lease_cutoff()])
}

/// What is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Review {
    /// A link, since it was leased.
    Link = 0,
    /// A manifest, since it lost its last holder.
    Manifest = 1,
    /// A hidden link, since it was hidden.
    HiddenLink = 2,
}

/// Puts something into the review queue; where it is there already, its later time counts.
pub(super) fn queue(
    c: &Connection,
    review: Review,
    repo: i64,
    digest: &[u8],
    since: Timestamp,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO review (kind, repo, digest, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET since = excluded.since WHERE excluded.since > since",
    )?
    .execute(params![review as i64, repo, digest, since])
    .map(drop)
}

/// Takes something out of the review queue.
pub(super) fn unqueue(c: &Connection, review: Review, repo: i64, digest: &[u8]) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![review as i64, repo, digest])
        .map(drop)
}
