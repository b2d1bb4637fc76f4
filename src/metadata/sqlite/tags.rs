//! Tags: pointing them and taking them away, each with its row in the history.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::digest;
use super::{holds, name_from, repo_id};
use crate::clock::Timestamp;
use crate::metadata::{Change, ChangeKind, ImmutableTags, PutManifest};
use crate::oci::Tag;

/// The name under which the history is about the repository as a whole: no tag has it.
pub(super) const WHOLE: &str = "";

/// The most rows that one change takes off the end of a history. Each adds one, so a shorter setting is
/// caught up with.
const TRIMMED: i64 = 16;

/// What a tag points at.
pub(super) struct Pointed {
    pub(super) manifest: i64,
    pub(super) digest: Vec<u8>,
    pub(super) updated_at: Timestamp,
}

pub(super) fn find(c: &Connection, repo: i64, tag: &str) -> rusqlite::Result<Option<Pointed>> {
    let mut query = c.prepare_cached(
        "SELECT t.manifest, m.digest, t.updated_at FROM tags t JOIN manifests m ON m.id = t.manifest
         WHERE t.repo = ?1 AND t.name = ?2",
    )?;
    let row =
        |row: &Row<'_>| Ok(Pointed { manifest: row.get(0)?, digest: row.get(1)?, updated_at: row.get(2)? });
    query.query_row(params![repo, tag], row).optional()
}

/// The tags of a manifest.
pub(super) fn names_of(c: &Connection, manifest: i64) -> rusqlite::Result<Vec<String>> {
    c.prepare_cached("SELECT name FROM tags WHERE manifest = ?1")?
        .query_map([manifest], |row| row.get(0))?
        .collect()
}

/// An immutable tag of a manifest.
pub(super) fn fixed_of(
    c: &Connection,
    manifest: i64,
    fixed: &ImmutableTags,
) -> rusqlite::Result<Option<Tag>> {
    if !fixed.may_be_any() {
        return Ok(None);
    }
    for name in names_of(c, manifest)? {
        let tag = name_from(&name, 0)?;
        if fixed.contains(&tag) {
            return Ok(Some(tag));
        }
    }
    Ok(None)
}

/// An immutable tag that a put would point at something else than it does.
pub(super) fn fixed_elsewhere(c: &Connection, put: &PutManifest) -> rusqlite::Result<Option<Tag>> {
    let fixed = &put.change.fixed;
    if !fixed.may_be_any() {
        return Ok(None);
    }
    let Some(repo) = repo_id(c, &put.repo)? else {
        return Ok(None);
    };
    let target = digest(&put.digest);
    for tag in put.tags.iter().filter(|tag| fixed.contains(tag)) {
        if find(c, repo, tag.as_str())?.is_some_and(|found| found.digest != target) {
            return Ok(Some(tag.clone()));
        }
    }
    Ok(None)
}

/// Points a tag at a manifest; the one that it pointed at before may have lost its last holder. Without a
/// `kind` it is a push.
pub(super) fn point_tag(
    c: &Connection,
    repo: i64,
    tag: &str,
    (manifest, target): (i64, &[u8]),
    kind: Option<ChangeKind>,
    change: &Change,
) -> rusqlite::Result<()> {
    let before = find(c, repo, tag)?;
    c.prepare_cached(
        "INSERT INTO tags (repo, name, manifest, updated_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET manifest = excluded.manifest, updated_at = excluded.updated_at",
    )?
    .execute(params![repo, tag, manifest, change.now])?;
    if before.as_ref().is_some_and(|before| before.manifest == manifest) {
        return Ok(());
    }
    let pushed = if before.is_some() { ChangeKind::Move } else { ChangeKind::Push };
    let was = before.as_ref().map(|before| before.digest.as_slice());
    note(c, repo, tag, (was, Some(target)), kind.unwrap_or(pushed), change)?;
    match before {
        Some(before) => holds::queue_manifest(c, before.manifest, repo, &before.digest, change.now),
        None => Ok(()),
    }
}

/// Takes a tag away from the manifest `was`.
pub(super) fn take_away(
    c: &Connection,
    repo: i64,
    tag: &str,
    was: &[u8],
    kind: ChangeKind,
    change: &Change,
) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM tags WHERE repo = ?1 AND name = ?2")?.execute(params![repo, tag])?;
    note(c, repo, tag, (Some(was), None), kind, change).map(drop)
}

/// Adds a row to the history, and takes the oldest away where there are too many; tells the row's id.
pub(super) fn note(
    c: &Connection,
    repo: i64,
    tag: &str,
    (was, target): (Option<&[u8]>, Option<&[u8]>),
    kind: ChangeKind,
    change: &Change,
) -> rusqlite::Result<i64> {
    let id = c
        .prepare_cached(
            "INSERT INTO tag_history (repo, name, digest, at, kind, was, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert(params![repo, tag, target, change.now, kind, was, change.by, change.reason])?;
    c.prepare_cached(
        "DELETE FROM tag_history WHERE id IN
         (SELECT id FROM tag_history WHERE repo = ?1 AND name = ?2 AND id <=
            (SELECT id FROM tag_history WHERE repo = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)
          ORDER BY id LIMIT ?4)",
    )?
    .execute(params![repo, tag, change.keep.max(1).cast_signed(), TRIMMED])?;
    trim_repository(c, repo, change)?;
    Ok(id)
}

/// Removes the oldest rows of the tags of a repository that has too many rows. Those about the repository as a whole
/// stay: they are few, and a restoration needs them.
fn trim_repository(c: &Connection, repo: i64, change: &Change) -> rusqlite::Result<()> {
    let rows: i64 = c
        .prepare_cached("SELECT history FROM repositories WHERE id = ?1")?
        .query_row([repo], |row| row.get(0))?;
    let excess = rows.saturating_sub(i64::try_from(change.keep_in_repository.max(1)).unwrap_or(i64::MAX));
    if excess <= 0 {
        return Ok(());
    }
    c.prepare_cached(
        "DELETE FROM tag_history WHERE id IN
         (SELECT id FROM tag_history WHERE repo = ?1 AND name <> '' ORDER BY id LIMIT ?2)",
    )?
    .execute([repo, excess.min(TRIMMED)])
    .map(drop)
}
