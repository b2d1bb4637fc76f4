//! What is in the trash, and emptying it.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::codec::{SqlDigest, digest};
use super::{Durability, SqliteMetadata, name_from, one_more, purge, quotas, repo_id, restore};
use crate::clock::Timestamp;
use crate::metadata::{
    Batch, Change, LostTag, MAX_PAGE_BYTES, Page, RemovedManifest, RemovedTag, Restoration, Result, Trash,
    TrashCursor, TrashPage, Weigh,
};
use crate::oci::{Digest, RepoName};

/// How many of a removed manifest's tags are told.
const TAGS: i64 = 100;

/// How many removals of tags are looked at for each that a page may have: most have been used again since, or
/// went with their manifest.
const LOOKED_AT: usize = 16;

#[async_trait]
impl Trash for SqliteMetadata {
    async fn removed_manifests(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedManifest>> {
        let repo = repo.cloned();
        self.read_page(move |c| {
            let sql = if repo.is_some() { MANIFESTS_OF_ONE } else { MANIFESTS };
            let Some((repo, from)) = bounds(c, repo.as_ref(), after)? else {
                return Ok(TrashPage { items: Vec::new(), next: None });
            };
            let mut query = c.prepare_cached(sql)?;
            let rows = query.query_map(params![repo, from.removed_at, from.id, one_more(limit)], |row| {
                removed_manifest(c, row)
            })?;
            let Page { items, more } = Page::read(rows, limit)?;
            let last = items.last().filter(|_| more);
            let next = last.map(|last| TrashCursor { removed_at: last.removed_at, id: last.id });
            Ok(TrashPage { items, next })
        })
        .await
    }

    async fn removed_tags(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedTag>> {
        let repo = repo.cloned();
        self.read_page(move |c| {
            let sql = if repo.is_some() { TAGS_OF_ONE } else { TAGS_OF_ALL };
            let Some((repo, from)) = bounds(c, repo.as_ref(), after)? else {
                return Ok(TrashPage { items: Vec::new(), next: None });
            };
            let most = limit.saturating_mul(LOOKED_AT);
            let mut query = c.prepare_cached(sql)?;
            let mut rows = query.query(params![repo, from.removed_at, from.id, most.cast_signed()])?;
            let (mut items, mut seen, mut bytes, mut cursor) = (Vec::new(), 0, 0, None);
            let is_full = |items: &Vec<_>, bytes| items.len() == limit || bytes > MAX_PAGE_BYTES;
            while !is_full(&items, bytes)
                && let Some(row) = rows.next()?
            {
                seen += 1;
                cursor = Some(TrashCursor { removed_at: row.get(0)?, id: row.get(1)? });
                if let Some(found) = removed_tag(c, row)? {
                    bytes += found.weight();
                    items.push(found);
                }
            }
            let next = cursor.filter(|_| is_full(&items, bytes) || seen == most);
            Ok(TrashPage { items, next })
        })
        .await
    }

    async fn restore_manifest(
        &self,
        repo: &RepoName,
        wanted: &Digest,
        change: &Change,
    ) -> Result<Restoration> {
        let (repo, target, change) = (repo.clone(), digest(wanted), change.clone());
        self.write(Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(Restoration::Unknown);
            };
            let Some(removed) = restore::find(c, repo, &target)? else {
                return Ok(Restoration::Unknown);
            };
            let restored = quotas::within(c, |c| restore::restore(c, repo, removed, true, &change))?;
            Ok(match restored {
                Ok(Ok(restored)) => Restoration::Done(restored),
                Ok(Err(missing)) => Restoration::Missing(missing),
                Err(over) => Restoration::Refused(over),
            })
        })
        .await
    }

    async fn oldest_trash(&self, limit: usize) -> Result<Vec<(RepoName, Digest)>> {
        self.read(|c| {
            let mut query = c.prepare_cached(OLDEST)?;
            let rows = query.query_map(params![limit.cast_signed(), i64::MAX], |row| {
                Ok((name_from(row.get_ref(0)?.as_str()?, 0)?, row.get::<_, SqlDigest>(1)?.0))
            })?;
            rows.collect()
        })
    }

    async fn empty_trash(&self, repo: Option<&RepoName>, cutoff: Timestamp, limit: usize) -> Result<Batch> {
        let repo = repo.cloned();
        self.write(Durability::Full, move |c| {
            let Some(repo) = repo else {
                return purge::condemn(c, cutoff, limit);
            };
            match repo_id(c, &repo)? {
                Some(repo) => purge::condemn_of(c, repo, cutoff, limit),
                None => Ok(Batch::default()),
            }
        })
        .await
    }
}

pub(super) const OLDEST: &str = "
    SELECT r.name, m.digest FROM manifests m JOIN repositories r ON r.id = m.repo
    WHERE m.state = 1 AND m.removed_at <= ?2 ORDER BY m.removed_at LIMIT ?1";

pub(super) const MANIFESTS: &str = "
    SELECT m.removed_at, m.id, r.name, m.digest, m.media_type, m.size, m.repo
    FROM manifests m JOIN repositories r ON r.id = m.repo
    WHERE m.state = 1 AND ?1 IS NULL AND (m.removed_at, m.id) < (?2, ?3)
    ORDER BY m.removed_at DESC, m.id DESC LIMIT ?4";

pub(super) const MANIFESTS_OF_ONE: &str = "
    SELECT m.removed_at, m.id, r.name, m.digest, m.media_type, m.size, m.repo
    FROM repositories r JOIN manifests m ON m.repo = r.id
    WHERE m.state = 1 AND r.id = ?1 AND m.repo = ?1 AND (m.removed_at, m.id) < (?2, ?3)
    ORDER BY m.removed_at DESC, m.id DESC LIMIT ?4";

pub(super) const TAGS_OF_ALL: &str = "
    SELECT h.at, h.id, h.repo, h.was, h.name, h.kind, h.actor, h.reason FROM tag_history h
    WHERE h.digest IS NULL AND ?1 IS NULL AND (h.at, h.id) < (?2, ?3)
    ORDER BY h.at DESC, h.id DESC LIMIT ?4";

pub(super) const TAGS_OF_ONE: &str = "
    SELECT h.at, h.id, h.repo, h.was, h.name, h.kind, h.actor, h.reason FROM tag_history h
    WHERE h.digest IS NULL AND h.repo = ?1 AND (h.at, h.id) < (?2, ?3)
    ORDER BY h.at DESC, h.id DESC LIMIT ?4";

/// Where a page begins, in the repository that it is of, if it is of one; `None` where there is no such
/// repository.
fn bounds(
    c: &Connection,
    repo: Option<&RepoName>,
    after: Option<TrashCursor>,
) -> rusqlite::Result<Option<(Option<i64>, TrashCursor)>> {
    let newest = TrashCursor { removed_at: Timestamp(i64::MAX), id: i64::MAX };
    let from = after.unwrap_or(newest);
    match repo {
        None => Ok(Some((None, from))),
        Some(repo) => Ok(repo_id(c, repo)?.map(|repo| (Some(repo), from))),
    }
}

fn removed_manifest(c: &Connection, row: &Row<'_>) -> rusqlite::Result<RemovedManifest> {
    let removed_at: Timestamp = row.get(0)?;
    let target: Vec<u8> = row.get(3)?;
    let mut query = c.prepare_cached(
        "SELECT name, kind, actor, reason FROM tag_history
         WHERE repo = ?1 AND was = ?2 AND at = ?3 AND digest IS NULL LIMIT ?4",
    )?;
    let values = params![row.get::<_, i64>(6)?, target, removed_at, TAGS];
    let tags = query.query_map(values, |row| lost_tag(row, 0))?.collect::<rusqlite::Result<_>>()?;
    Ok(RemovedManifest {
        repo: name_from(row.get_ref(2)?.as_str()?, 2)?,
        digest: row.get::<_, SqlDigest>(3)?.0,
        media_type: row.get(4)?,
        size: row.get::<_, i64>(5)?.cast_unsigned(),
        removed_at,
        id: row.get(1)?,
        tags,
    })
}

/// A removal, if its tag can be brought back alone.
fn removed_tag(c: &Connection, row: &Row<'_>) -> rusqlite::Result<Option<RemovedTag>> {
    let (id, repo): (i64, i64) = (row.get(1)?, row.get(2)?);
    let (was, name): (Option<Vec<u8>>, String) = (row.get(3)?, row.get(4)?);
    let Some(was) = was else {
        return Ok(None);
    };
    if restore::newest(c, repo, &name)? != Some(id) {
        return Ok(None);
    }
    let named = c
        .prepare_cached(
            "SELECT r.name FROM repositories r JOIN manifests m ON m.repo = r.id
             WHERE r.id = ?1 AND m.digest = ?2 AND m.state = 0",
        )?
        .query_map(params![repo, was], |row| name_from(row.get_ref(0)?.as_str()?, 0))?
        .next();
    let Some(repo) = named.transpose()? else {
        return Ok(None);
    };
    Ok(Some(RemovedTag {
        repo,
        digest: row.get::<_, SqlDigest>(3)?.0,
        removed_at: row.get(0)?,
        id,
        lost: lost_tag(row, 4)?,
    }))
}

/// A tag in columns from `first` on.
fn lost_tag(row: &Row<'_>, first: usize) -> rusqlite::Result<LostTag> {
    Ok(LostTag {
        tag: name_from(row.get_ref(first)?.as_str()?, first)?,
        kind: row.get(first + 1)?,
        by: row.get(first + 2)?,
        reason: row.get(first + 3)?,
    })
}
