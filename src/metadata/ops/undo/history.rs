//! History of tags: reads it, rolls tags back and restores removed tags.

use crate::clock::Timestamp;
use crate::metadata::ops::blobs::read_digest;
use crate::metadata::ops::tags::{REPOSITORY_HISTORY, TagTarget};
use crate::metadata::ops::undo::restore;
use crate::metadata::ops::{accounting, manifests, quotas, repo_id, tags};
use crate::metadata::sql::{Connection, OptionalExtension, Row, SqlDigest, digest, limit_plus_one, params};
use crate::metadata::{
    Batch, Change, ChangeKind, Durability, HistoryEntry, Metadata, Operation, Page, Result, TagRestoration,
    sql,
};
use crate::oci::{Digest, RepoName, Tag};

impl Metadata {
    /// Returns a page of a tag's history, newest first, before the row `before`. Without a tag: the history of
    /// the repository itself (deleted, restored, renamed). The history of a tag outlives the tag.
    pub async fn tag_history(
        &self,
        repo: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>> {
        let name = tag.map_or(REPOSITORY_HISTORY, Tag::as_str);
        self.query(Operation::TagHistory, |c| {
            let Some(repo) = repo_id(c, repo)? else {
                return Ok(Page { items: Vec::new(), more: false });
            };
            let mut query = c.prepare_cached(
                "SELECT id, at, kind, digest, was, actor, reason FROM tag_history
                 WHERE repo = ?1 AND name = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
            )?;
            let values = params![repo, name, before.unwrap_or(i64::MAX), limit_plus_one(limit)];
            Page::read(query.query_map(values, read_entry)?, limit)
        })
        .await
    }

    /// Points a tag at the manifest it had before its last change, or at `to` from its history. A manifest in
    /// the trash is restored with everything it requires.
    pub async fn rollback(
        &self,
        repo: &RepoName,
        tag: &Tag,
        to: Option<&Digest>,
        change: &Change,
    ) -> Result<TagRestoration> {
        let repo = repo.clone();
        let tag = tag.clone();
        let to = to.map(digest);
        let change = change.clone();
        self.change(Operation::Rollback, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(TagRestoration::Unknown);
            };
            let wanted = match to {
                Some(to) if !has_pointed_at(c, repo, &tag, &to)? => {
                    return Ok(TagRestoration::NotInHistory);
                }
                Some(to) => to,
                None => match last_change(c, repo, &tag)? {
                    Some(LastChange { was: Some(was), .. }) => was,
                    _ => return Ok(TagRestoration::Unknown),
                },
            };
            let current = tags::find(c, repo, tag.as_str())?;
            let kind = ChangeKind::Rollback;
            let outcome = quotas::within(c, |c| point_back(c, repo, &tag, current, &wanted, kind, &change))?;
            Ok(outcome.unwrap_or_else(TagRestoration::Refused))
        })
        .await
    }

    /// Restores a removed tag together with its manifest.
    pub async fn restore_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<TagRestoration> {
        let repo = repo.clone();
        let tag = tag.clone();
        let change = change.clone();
        self.change(Operation::RestoreTag, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(TagRestoration::Unknown);
            };
            if let Some(found) = tags::find(c, repo, tag.as_str())? {
                return read_digest(&found.digest).map(TagRestoration::InUse);
            }
            match last_change(c, repo, &tag)? {
                Some(LastChange { was: Some(was), removed: true }) => {
                    let kind = ChangeKind::Restore;
                    let outcome =
                        quotas::within(c, |c| point_back(c, repo, &tag, None, &was, kind, &change))?;
                    Ok(outcome.unwrap_or_else(TagRestoration::Refused))
                }
                _ => Ok(TagRestoration::Unknown),
            }
        })
        .await
    }

    /// Deletes the history of tags up to their removal if they were removed at or before `cutoff`. Handles
    /// about `limit` tags.
    pub async fn forget_history(&self, cutoff: Timestamp, limit: usize) -> Result<Batch> {
        self.perform(Operation::ForgetHistory, async {
            if self.read(|c| removals(c, cutoff, 1))?.is_empty() {
                return Ok(Batch::default());
            }
            self.write_in_background(Durability::Lazy, move |c| {
                let removals = removals(c, cutoff, limit)?;
                let mut changed = 0;
                for (id, repo, name) in &removals {
                    let mut forget = c.prepare_cached(
                        "DELETE FROM tag_history WHERE repo = ?1 AND name = ?2 AND id <= ?3",
                    )?;
                    let removed = forget.execute(params![repo, name, id])?;
                    accounting::change_history(c, *repo, -removed.cast_signed() as i64)?;
                    changed += removed as u64;
                }
                Ok(Batch { changed, more: removals.len() == limit })
            })
            .await
        })
        .await
    }

    /// Records, lazily, pushes of tags that changed nothing. Skips a tag that points at another manifest by
    /// now.
    pub async fn record_pushes(&self, pushes: Vec<(RepoName, Tag, Digest, Timestamp)>) -> Result<()> {
        self.change(Operation::RecordPushes, Durability::Lazy, move |c| {
            let mut update = c.prepare_cached(
                "UPDATE tags SET updated_at = ?4
                 WHERE repo = (SELECT id FROM repositories WHERE name = ?1) AND name = ?2 AND updated_at < ?4
                   AND manifest = (SELECT m.id FROM repositories r JOIN manifests m ON m.repo = r.id
                                   WHERE r.name = ?1 AND m.digest = ?3)
                 RETURNING repo",
            )?;
            for (repo, tag, pushed, at) in pushes {
                let values = params![repo.as_str(), tag.as_str(), digest(&pushed), at];
                if let Some(repo) = update.query_row(values, |row| row.get(0)).optional()? {
                    accounting::record_push(c, repo, at)?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Reads a row of the history from its first seven columns.
pub(in crate::metadata) fn read_entry(row: Row<'_>) -> sql::Result<HistoryEntry> {
    Ok(HistoryEntry {
        id: row.get(0)?,
        at: row.get(1)?,
        kind: row.get(2)?,
        digest: row.get::<Option<SqlDigest>>(3)?.map(|digest| digest.0),
        was: row.get::<Option<SqlDigest>>(4)?.map(|digest| digest.0),
        by: row.get(5)?,
        reason: row.get(6)?,
    })
}

/// The last change of a tag.
struct LastChange {
    was: Option<Vec<u8>>,
    removed: bool,
}

fn last_change(c: &dyn Connection, repo: i64, tag: &Tag) -> sql::Result<Option<LastChange>> {
    let mut query = c.prepare_cached(
        "SELECT was, digest IS NULL FROM tag_history WHERE repo = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1",
    )?;
    let row = |row: Row<'_>| Ok(LastChange { was: row.get(0)?, removed: row.get(1)? });
    query.query_row(params![repo, tag.as_str()], row).optional()
}

/// Whether a tag pointed at a manifest before. The number of rows of a tag is bounded by the setting.
fn has_pointed_at(c: &dyn Connection, repo: i64, tag: &Tag, target: &[u8]) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM tag_history WHERE repo = ?1 AND name = ?2 AND (digest = ?3 OR was = ?3) LIMIT 1",
    )?
    .exists(params![repo, tag.as_str(), target])
}

/// Points a tag at a manifest from its history and restores the manifest if it is in the trash.
fn point_back(
    c: &dyn Connection,
    repo: i64,
    tag: &Tag,
    current: Option<TagTarget>,
    wanted: &[u8],
    kind: ChangeKind,
    change: &Change,
) -> sql::Result<TagRestoration> {
    if current.as_ref().is_some_and(|current| current.digest != wanted) && change.immutable_tags.contains(tag)
    {
        return Ok(TagRestoration::Immutable(tag.clone()));
    }
    let to = read_digest(wanted)?;
    let mut restored = Vec::new();
    let manifest = match manifests::live_id(c, repo, wanted)? {
        Some(id) => id,
        None => {
            let Some(removed) = restore::find(c, repo, wanted)? else {
                return Ok(TagRestoration::Gone(to));
            };
            let id = removed.id;
            match restore::restore(c, repo, removed, false, change)? {
                Ok(outcome) => restored = outcome.manifests,
                Err(missing) => return Ok(TagRestoration::Missing(missing)),
            }
            id
        }
    };
    tags::point_tag(c, repo, tag.as_str(), manifest, wanted, Some(kind), change)?;
    let from = current.map(|current| read_digest(&current.digest)).transpose()?;
    Ok(TagRestoration::Done { from, to, restored })
}

/// Lists the oldest removals. The newest row of the table stays, because its id must not be reused.
fn removals(c: &dyn Connection, cutoff: Timestamp, limit: usize) -> sql::Result<Vec<(i64, i64, String)>> {
    c.prepare_cached(
        "SELECT id, repo, name FROM tag_history
         WHERE digest IS NULL AND at <= ?1 AND id < (SELECT max(id) FROM tag_history)
         ORDER BY at LIMIT ?2",
    )?
    .query_map(params![cutoff, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
    .collect()
}
