//! Decides what holds manifests and blobs, and whether a lease protects them. There are no reference counters: the
//! edges and tags themselves are queried.

use crate::clock::Timestamp;
use crate::metadata::sql::{Connection, OptionalExtension, params};
use crate::metadata::{CollectionRules, EdgeKind, sql};
use crate::oci::Tag;

/// Finds the digest of a live manifest of `repo` that refers to `target` as `kind`.
pub(in crate::metadata) fn live_holder(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    kind: EdgeKind,
) -> sql::Result<Option<Vec<u8>>> {
    let mut query = c.prepare_cached(
        "SELECT m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 AND m.state = 0
         ORDER BY e.manifest DESC LIMIT 1",
    )?;
    query.query_row(params![repo, target, kind], |row| row.get(0)).optional()
}

/// Whether one of the newest manifests that refer to `target` is live. Checking all of them could be expensive if many
/// manifests share it and most of them are in the trash.
pub(in crate::metadata) fn is_held_recently(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    kind: EdgeKind,
) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM (SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = ?3
                        ORDER BY manifest DESC LIMIT 16) newest
         JOIN manifests m ON m.id = newest.manifest WHERE m.state = 0 LIMIT 1",
    )?
    .exists(params![repo, target, kind])
}

/// Whether any manifest that is not completely purged refers to the blob `target`.
pub(in crate::metadata) fn is_blob_held(c: &dyn Connection, repo: i64, target: &[u8]) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 0 LIMIT 1")?
        .exists(params![repo, target])
}

/// Whether a tag, an index, a policy, the subject or an adoption holds the manifest `id`. Manifests in the trash still hold others
/// until they are purged, because they may be restored. An index that is being purged holds a manifest until the edge
/// is deleted: clients that requested the manifest while the index was live got no lease.
pub(in crate::metadata) fn is_manifest_held(
    c: &dyn Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
) -> sql::Result<bool> {
    Ok(is_manifest_held_without_pins(c, id, repo, digest)? || is_pinned(c, repo, digest)?)
}

/// Does the same, but ignores policies.
pub(in crate::metadata) fn is_manifest_held_without_pins(
    c: &dyn Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
) -> sql::Result<bool> {
    Ok(is_tagged(c, id)?
        || is_unreleased(c, id)?
        || is_listed(c, repo, digest, None)?
        || is_held_by_subject(c, id, repo)?)
}

/// Does the same, but ignores holders that are being purged, and adoptions: for a manifest that the purge releases.
pub(in crate::metadata) fn is_manifest_kept(
    c: &dyn Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
) -> sql::Result<bool> {
    let listed = c
        .prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.state < 2 LIMIT 1",
        )?
        .exists(params![repo, digest])?;
    Ok(listed || is_tagged(c, id)? || is_pinned(c, repo, digest)? || is_held_by_subject(c, id, repo)?)
}

/// Whether a tag other than `except`, a live index, a policy, a live subject or an adoption holds a manifest. Holders in the trash
/// do not count: they can only be restored together with it.
pub(in crate::metadata) fn is_manifest_held_by_live(
    c: &dyn Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
    except: Option<&Tag>,
) -> sql::Result<bool> {
    let subject = || {
        c.prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 2 AND s.state = 0 LIMIT 1",
        )?
        .exists([id])
    };
    let tagged = c
        .prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 AND name IS DISTINCT FROM ?2 LIMIT 1")?
        .exists(params![id, except.map(Tag::as_str)])?;
    Ok(tagged
        || is_unreleased(c, id)?
        || live_holder(c, repo, digest, EdgeKind::Child)?.is_some()
        || is_pinned(c, repo, digest)?
        || (subject()? && is_held_by_subject(c, id, repo)?))
}

/// Whether a manifest was adopted and is not released: only users may remove it.
pub(in crate::metadata) fn is_unreleased(c: &dyn Connection, id: i64) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE id = ?1 AND held <> 0")?.exists([id])
}

/// Releases an adopted manifest.
pub(in crate::metadata) fn release(c: &dyn Connection, id: i64) -> sql::Result<()> {
    c.prepare_cached("UPDATE manifests SET held = 0 WHERE id = ?1 AND held <> 0")?.execute([id]).map(drop)
}

fn is_tagged(c: &dyn Connection, id: i64) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 LIMIT 1")?.exists([id])
}

/// Whether a policy keeps a manifest.
fn is_pinned(c: &dyn Connection, repo: i64, digest: &[u8]) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM pins WHERE repo = ?1 AND digest = ?2")?.exists(params![repo, digest])
}

/// Whether an index other than `except` lists a manifest.
fn is_listed(c: &dyn Connection, repo: i64, digest: &[u8], except: Option<i64>) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 1 AND manifest IS DISTINCT FROM ?3 LIMIT 1",
    )?
    .exists(params![repo, digest, except])
}

/// Whether the subject of the manifest `id` holds it. A subject that the manifest itself lists counts only if something
/// else holds the two: otherwise they would hold each other forever.
fn is_held_by_subject(c: &dyn Connection, id: i64, repo: i64) -> sql::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT s.id, s.digest, EXISTS (SELECT 1 FROM edges l WHERE l.manifest = ?1 AND l.target = e.target AND l.kind = 1)
         FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
         WHERE e.manifest = ?1 AND e.kind = 2 AND s.state < 2",
    )?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        let subject: i64 = row.get(0)?;
        let digest: Vec<u8> = row.get(1)?;
        let listed: bool = row.get(2)?;
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

fn has_subject(c: &dyn Connection, id: i64) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
         WHERE e.manifest = ?1 AND e.kind = 2 AND s.state < 2 LIMIT 1",
    )?
    .exists([id])
}

/// Queues the indexes that list the manifest `digest` and have it as their subject: the two may have lost their last
/// other holder.
pub(in crate::metadata) fn queue_own_indexes(
    c: &dyn Connection,
    repo: i64,
    digest: &[u8],
    now: Timestamp,
) -> sql::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT m.digest FROM edges l JOIN manifests m ON m.id = l.manifest
         WHERE l.repo = ?1 AND l.target = ?2 AND l.kind = 1 AND m.state = 0
           AND EXISTS (SELECT 1 FROM edges s WHERE s.manifest = l.manifest AND s.target = l.target AND s.kind = 2)
         LIMIT 16",
    )?;
    let rows = query.query_map(params![repo, digest], |row| row.get(0))?;
    for index in rows.collect::<sql::Result<Vec<Vec<u8>>>>()? {
        queue(c, Review::Manifest, repo, &index, now)?;
    }
    Ok(())
}

/// Whether a lease given at `leased_at` is still in force. An upload that started before the lease ended extends it
/// until one more lease after the end of the upload. Extensions do not chain.
pub(in crate::metadata) fn is_leased(
    c: &dyn Connection,
    repo: i64,
    leased_at: Timestamp,
    rules: &CollectionRules,
) -> sql::Result<bool> {
    if leased_at > rules.lease_cutoff() {
        return Ok(true);
    }
    let lease_end = leased_at.plus(rules.lease);
    let has_open_upload = c
        .prepare_cached("SELECT 1 FROM uploads WHERE repo = ?1 AND began_at <= ?2 LIMIT 1")?
        .exists(params![repo, lease_end])?;
    if has_open_upload {
        return Ok(true);
    }
    c.prepare_cached(
        "SELECT 1 FROM past_uploads WHERE repo = ?1 AND began_at <= ?2 AND ended_at > ?3 LIMIT 1",
    )?
    .exists(params![repo, lease_end, rules.lease_cutoff()])
}

/// What is queued for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::metadata) enum Review {
    /// A link, from the time of its lease.
    Link = 0,
    /// A manifest, from the time when it lost its last holder.
    Manifest = 1,
    /// A hidden link, from the time when it was hidden.
    HiddenLink = 2,
    /// A manifest whose index or subject was purged, from the time of that removal: it is purged too.
    Orphan = 3,
}

/// Adds something to the review queue. If it is already queued, the later time counts.
pub(in crate::metadata) fn queue(
    c: &dyn Connection,
    review: Review,
    repo: i64,
    digest: &[u8],
    since: Timestamp,
) -> sql::Result<()> {
    c.prepare_cached(
        "INSERT INTO review (kind, repo, digest, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, repo, digest) DO UPDATE SET since = excluded.since WHERE excluded.since > review.since",
    )?
    .execute(params![review as i64, repo, digest, since])
    .map(drop)
}

/// Adds a manifest that was pushed without a tag, or lost one, to the review queue. Its time is always later than the
/// removal of its holders, even if the clock was set back, so that the purge can distinguish the two cases.
pub(in crate::metadata) fn queue_manifest(
    c: &dyn Connection,
    id: i64,
    repo: i64,
    digest: &[u8],
    now: Timestamp,
) -> sql::Result<()> {
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

/// Removes something from the review queue.
pub(in crate::metadata) fn dequeue(
    c: &dyn Connection,
    review: Review,
    repo: i64,
    digest: &[u8],
) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?
        .execute(params![review as i64, repo, digest])
        .map(drop)
}
