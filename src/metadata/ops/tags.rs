//! Sets and removes tags, and records each change in their history.

use crate::clock::Timestamp;
use crate::metadata::ops::liveness;
use crate::metadata::ops::{accounting, repo_id};
use crate::metadata::sql::{Connection, OptionalExtension, Row, digest, params};
use crate::metadata::{
    Change, ChangeKind, Durability, ImmutableTags, Metadata, Operation, PutManifest, Result, sql,
};
use crate::oci::{Tag, version_key};

/// Name of the history of the repository as a whole. No tag has this name.
pub(in crate::metadata) const REPOSITORY_HISTORY: &str = "";

/// Maximum number of old rows that one change removes from a history. Each change adds only one row, so a history
/// shrinks to a reduced setting over time.
const MAX_TRIMMED_ROWS: i64 = 16;

impl Metadata {
    /// Fills in, lazily, the version keys of up to `limit` tags that an older version wrote. Returns whether there may
    /// be more.
    pub async fn fill_version_keys(&self, limit: usize) -> Result<bool> {
        self.change_in_background(Operation::FillVersionKeys, Durability::Lazy, move |c| {
            let mut unfilled = c.prepare_cached(
                "SELECT repo, name FROM tags /* INDEXED BY tags_without_version_key */
                 WHERE version_key IS NULL LIMIT ?1",
            )?;
            let row = |row: Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found: Vec<(i64, String)> = unfilled.query_map([limit], row)?.collect::<sql::Result<_>>()?;
            let mut update =
                c.prepare_cached("UPDATE tags SET version_key = ?3 WHERE repo = ?1 AND name = ?2")?;
            for (repo, name) in &found {
                update.execute(params![repo, name, version_key(name)])?;
            }
            Ok(found.len() == limit)
        })
        .await
    }
}

/// The manifest that a tag points at.
pub(in crate::metadata) struct TagTarget {
    pub(in crate::metadata) manifest: i64,
    pub(in crate::metadata) digest: Vec<u8>,
    pub(in crate::metadata) updated_at: Timestamp,
}

pub(in crate::metadata) fn find(c: &dyn Connection, repo: i64, tag: &str) -> sql::Result<Option<TagTarget>> {
    let mut query = c.prepare_cached(
        "SELECT t.manifest, m.digest, t.updated_at FROM tags t JOIN manifests m ON m.id = t.manifest
         WHERE t.repo = ?1 AND t.name = ?2",
    )?;
    let row =
        |row: Row<'_>| Ok(TagTarget { manifest: row.get(0)?, digest: row.get(1)?, updated_at: row.get(2)? });
    query.query_row(params![repo, tag], row).optional()
}

/// Lists the tags of a manifest.
pub(in crate::metadata) fn list_names(c: &dyn Connection, manifest: i64) -> sql::Result<Vec<Tag>> {
    c.prepare_cached("SELECT name FROM tags WHERE manifest = ?1")?
        .query_map([manifest], |row| row.get(0))?
        .collect()
}

/// Finds an immutable tag of a manifest.
pub(in crate::metadata) fn immutable_tag_of(
    c: &dyn Connection,
    manifest: i64,
    immutable: &ImmutableTags,
) -> sql::Result<Option<Tag>> {
    if !immutable.can_match() {
        return Ok(None);
    }
    for tag in list_names(c, manifest)? {
        if immutable.contains(&tag) {
            return Ok(Some(tag));
        }
    }
    Ok(None)
}

/// Finds an immutable tag that a push would point at another manifest.
pub(in crate::metadata) fn find_immutable_conflict(
    c: &dyn Connection,
    put: &PutManifest,
) -> sql::Result<Option<Tag>> {
    let immutable = &put.change.immutable_tags;
    if !immutable.can_match() {
        return Ok(None);
    }
    let Some(repo) = repo_id(c, &put.repo)? else {
        return Ok(None);
    };
    let target = digest(&put.digest);
    for tag in put.tags.iter().filter(|tag| immutable.contains(tag)) {
        if find(c, repo, tag.as_str())?.is_some_and(|found| found.digest != target) {
            return Ok(Some(tag.clone()));
        }
    }
    Ok(None)
}

/// Points a tag at a manifest. Queues the manifest that it pointed at before, so that the garbage collector checks
/// whether anything still refers to it. Without a `kind` the change is a push.
pub(in crate::metadata) fn point_tag(
    c: &dyn Connection,
    repo: i64,
    tag: &str,
    manifest: i64,
    target: &[u8],
    kind: Option<ChangeKind>,
    change: &Change,
) -> sql::Result<()> {
    let before = find(c, repo, tag)?;
    set_target(c, repo, tag, before.as_ref(), manifest, change.now)?;
    if before.as_ref().is_some_and(|before| before.manifest == manifest) {
        return Ok(());
    }
    let pushed = if before.is_some() { ChangeKind::Move } else { ChangeKind::Push };
    let was = before.as_ref().map(|before| before.digest.as_slice());
    record_change(c, repo, tag, was, Some(target), kind.unwrap_or(pushed), change)?;
    match before {
        Some(before) => liveness::queue_manifest(c, before.manifest, repo, &before.digest, change.now),
        None => Ok(()),
    }
}

/// Points a tag at a manifest without a row in its history. `before` is what it points at until now.
pub(in crate::metadata) fn set_target(
    c: &dyn Connection,
    repo: i64,
    tag: &str,
    before: Option<&TagTarget>,
    manifest: i64,
    now: Timestamp,
) -> sql::Result<()> {
    accounting::record_push(c, repo, now)?;
    if before.is_some() {
        return c
            .prepare_cached("UPDATE tags SET manifest = ?3, updated_at = ?4 WHERE repo = ?1 AND name = ?2")?
            .execute(params![repo, tag, manifest, now])
            .map(drop);
    }
    c.prepare_cached(
        "INSERT INTO tags (repo, name, manifest, updated_at, version_key) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![repo, tag, manifest, now, version_key(tag)])?;
    accounting::change_tags(c, repo, 1)
}

/// Removes a tag that points at the manifest `was`.
pub(in crate::metadata) fn remove_tag(
    c: &dyn Connection,
    repo: i64,
    tag: &str,
    was: &[u8],
    kind: ChangeKind,
    change: &Change,
) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM tags WHERE repo = ?1 AND name = ?2")?.execute(params![repo, tag])?;
    accounting::change_tags(c, repo, -1)?;
    record_change(c, repo, tag, Some(was), None, kind, change).map(drop)
}

/// Adds a row to the history and removes the oldest rows if there are too many. Returns the new row's id.
pub(in crate::metadata) fn record_change(
    c: &dyn Connection,
    repo: i64,
    tag: &str,
    was: Option<&[u8]>,
    target: Option<&[u8]>,
    kind: ChangeKind,
    change: &Change,
) -> sql::Result<i64> {
    let id = c
        .prepare_cached(
            "INSERT INTO tag_history (repo, name, digest, at, kind, was, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert(params![repo, tag, target, change.now, kind, was, change.by, change.reason])?;
    let trimmed = c
        .prepare_cached(
            "DELETE FROM tag_history WHERE id IN
             (SELECT id FROM tag_history WHERE repo = ?1 AND name = ?2 AND id <=
                (SELECT id FROM tag_history WHERE repo = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)
              ORDER BY id LIMIT ?4)",
        )?
        .execute(params![repo, tag, change.keep.max(1), MAX_TRIMMED_ROWS])?;
    let rows = accounting::change_history(c, repo, 1 - trimmed.cast_signed() as i64)?;
    trim_repository(c, repo, rows, change)?;
    Ok(id)
}

/// Removes the oldest rows of tags in a repository whose `rows` are too many. Rows about the repository as a whole
/// stay: they are few, and a restoration needs them.
fn trim_repository(c: &dyn Connection, repo: i64, rows: i64, change: &Change) -> sql::Result<()> {
    let excess = rows.saturating_sub(i64::try_from(change.keep_in_repository.max(1)).unwrap_or(i64::MAX));
    if excess <= 0 {
        return Ok(());
    }
    let trimmed = c
        .prepare_cached(
            "DELETE FROM tag_history WHERE id IN
             (SELECT id FROM tag_history WHERE repo = ?1 AND name <> '' ORDER BY id LIMIT ?2)",
        )?
        .execute([repo, excess.min(MAX_TRIMMED_ROWS)])?;
    accounting::change_history(c, repo, -trimmed.cast_signed() as i64).map(drop)
}
