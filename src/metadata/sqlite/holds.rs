//! What holds what, and what a lease protects. There are no counters: whether something is held is asked of
//! the edges and tags themselves.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, EdgeKind};
use crate::oci::Tag;

/// A live manifest of `repo` that refers to `target` as `kind`, by its digest.
pub(super) fn live_holder(
    c: &Connection,
    repo: i64,
    target: &[u8],
    kind: EdgeKind,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut query = c.prepare_cached(
        "SELECT m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 AND m.state = 0
         ORDER BY e.manifest DESC LIMIT 1",
    )?;
    query.query_row(params![repo, target, kind], |row| row.get(0)).optional()
}

/// Whether one of the newest manifests that refer to `target` is live. A look at all of them could cost much
/// where many share it and most are in the trash.
pub(super) fn is_held_lately(
    c: &Connection,
    repo: i64,
    target: &[u8],
    kind: EdgeKind,
) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM (SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = ?3
                        ORDER BY manifest DESC LIMIT 16) newest
         JOIN manifests m ON m.id = newest.manifest WHERE m.state = 0 LIMIT 1",
    )?
    .exists(params![repo, target, kind])
}

/// Whether any manifest that is not purged yet refers to the blob `target`.
pub(super) fn blob_is_held(c: &Connection, repo: i64, target: &[u8]) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 0 LIMIT 1")?
        .exists(params![repo, target])
}

/// Whether a tag, an index, a policy or the subject holds the manifest `id`. What is in the trash goes on holding
/// until it is purged: it may be brought back. So does an index that is being purged, until its own edge
/// goes: whoever asked for the manifest while that was live was given no lease.
pub(super) fn manifest_is_held(c: &Connection, id: i64, repo: i64, digest: &[u8]) -> rusqlite::Result<bool> {
    Ok(manifest_is_held_beside_pins(c, id, repo, digest)? || is_pinned(c, repo, digest)?)
}

/// The same, but for policies.
pub(super) fn manifest_is_held_beside_pins(
    c: &Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
) -> rusqlite::Result<bool> {
    Ok(is_tagged(c, id)? || is_listed(c, repo, digest, None)? || subject_holds(c, id, repo)?)
}

/// The same, but for what is being purged: for a manifest that the purge lets go of.
pub(super) fn manifest_is_kept(c: &Connection, id: i64, repo: i64, digest: &[u8]) -> rusqlite::Result<bool> {
    let listed = c
        .prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.state < 2 LIMIT 1",
        )?
        .exists(params![repo, digest])?;
    Ok(listed || is_tagged(c, id)? || is_pinned(c, repo, digest)? || subject_holds(c, id, repo)?)
}

/// Whether a tag (another than `but`), a live index, a policy or a live subject holds a manifest: what is in the trash
/// does not bring it back alone, and comes back with it.
pub(super) fn manifest_is_held_live(
    c: &Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
    but: Option<&Tag>,
) -> rusqlite::Result<bool> {
    let subject = || {
        c.prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 2 AND s.state = 0 LIMIT 1",
        )?
        .exists([id])
    };
    let tagged = c
        .prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 AND name IS NOT ?2 LIMIT 1")?
        .exists(params![id, but.map(Tag::as_str)])?;
    Ok(tagged
        || live_holder(c, repo, digest, EdgeKind::Child)?.is_some()
        || is_pinned(c, repo, digest)?
        || (subject()? && subject_holds(c, id, repo)?))
}

fn is_tagged(c: &Connection, id: i64) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 LIMIT 1")?.exists([id])
}

/// Whether a policy keeps a manifest.
fn is_pinned(c: &Connection, repo: i64, digest: &[u8]) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM pins WHERE repo = ?1 AND digest = ?2")?.exists(params![repo, digest])
}

/// Whether an index lists a manifest, `except` one.
fn is_listed(c: &Connection, repo: i64, digest: &[u8], except: Option<i64>) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 1 AND manifest IS NOT ?3 LIMIT 1",
    )?
    .exists(params![repo, digest, except])
}

/// Whether the subject of the manifest `id` holds it. One that the manifest itself lists does so only if
/// something else holds the two: they would hold each other for ever.
fn subject_holds(c: &Connection, id: i64, repo: i64) -> rusqlite::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT s.id, s.digest, EXISTS (SELECT 1 FROM edges l WHERE l.manifest = ?1 AND l.target = e.target AND l.kind = 1)
         FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
         WHERE e.manifest = ?1 AND e.kind = 2 AND s.state < 2",
    )?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        let (subject, digest, listed): (i64, Vec<u8>, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !listed
            || is_tagged(c, subject)?
            || is_listed(c, repo, &digest, Some(id))?
            || has_subject(c, subject)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_subject(c: &Connection, id: i64) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
         WHERE e.manifest = ?1 AND e.kind = 2 AND s.state < 2 LIMIT 1",
    )?
    .exists([id])
}

/// Has the indexes reviewed that list the manifest `digest` and are about it: it may have lost what else
/// held the two.
pub(super) fn queue_own_indexes(
    c: &Connection,
    repo: i64,
    digest: &[u8],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT m.digest FROM edges l JOIN manifests m ON m.id = l.manifest
         WHERE l.repo = ?1 AND l.target = ?2 AND l.kind = 1 AND m.state = 0
           AND EXISTS (SELECT 1 FROM edges s WHERE s.manifest = l.manifest AND s.target = l.target AND s.kind = 2)
         LIMIT 16",
    )?;
    let rows = query.query_map(params![repo, digest], |row| row.get(0))?;
    for index in rows.collect::<rusqlite::Result<Vec<Vec<u8>>>>()? {
        queue(c, Review::Manifest, repo, &index, now)?;
    }
    Ok(())
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
        "SELECT 1 FROM past_uploads WHERE repo = ?1 AND began_at <= ?2 AND ended_at > ?3 LIMIT 1",
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
    /// A manifest whose index or subject was purged, since that was removed: it follows.
    Orphan = 3,
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

/// Puts a manifest into the review queue that was put without a tag, or lost one: later than the removal of
/// whatever held it, by however little, also where the clock has gone back. So its purge can tell.
pub(super) fn queue_manifest(
    c: &Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let by_index: Option<Timestamp> = c
        .prepare_cached(
            "SELECT max(m.removed_at) FROM (SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 1
                                            ORDER BY manifest DESC LIMIT 64) newest
             JOIN manifests m ON m.id = newest.manifest",
        )?
        .query_row(params![repo, digest], |row| row.get(0))?;
    let by_subject: Option<Timestamp> = c
        .prepare_cached(
            "SELECT max(s.removed_at) FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 2",
        )?
        .query_row([id], |row| row.get(0))?;
    let after = by_index.max(by_subject).map_or(now, |removed| Timestamp(removed.0.saturating_add(1)));
    let alone_at = now.max(after);
    c.prepare_cached("UPDATE manifests SET alone_at = ?2 WHERE id = ?1")?.execute(params![id, alone_at])?;
    queue(c, Review::Manifest, repo, digest, alone_at)
}

/// Takes something out of the review queue.
pub(super) fn unqueue(c: &Connection, review: Review, repo: i64, digest: &[u8]) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![review as i64, repo, digest])
        .map(drop)
}
