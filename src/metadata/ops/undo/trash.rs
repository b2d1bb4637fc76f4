//! Lists, restores and empties the trash.

use crate::clock::Timestamp;
use crate::metadata::ops::gc::purge;
use crate::metadata::ops::undo::restore;
use crate::metadata::ops::{quotas, repo_id};
use crate::metadata::sql::{Connection, Row, SqlDigest, digest, limit_plus_one, params};
use crate::metadata::{
    Batch, Change, Durability, LostTag, MAX_PAGE_BYTES, Metadata, Operation, Page, RemovedManifest,
    RemovedTag, Restoration, Result, TrashCursor, TrashPage, Weigh, sql,
};
use crate::oci::{Digest, RepoName};

/// Maximum number of tags that are listed for a removed manifest.
const MAX_LISTED_TAGS: i64 = 100;

/// Number of tag removals that are examined per entry of a page: most of these tags have been reused since, or were
/// removed with their manifest.
const EXAMINED_PER_ENTRY: usize = 16;

impl Metadata {
    /// Returns up to `limit` manifests in the trash, of `repo` or of all repositories.
    pub async fn removed_manifests(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedManifest>> {
        let repo = repo.cloned();
        self.query_page(Operation::RemovedManifests, move |c| {
            let sql = if repo.is_some() { MANIFESTS_OF_ONE } else { MANIFESTS };
            let Some((repo, from)) = page_start(c, repo.as_ref(), after)? else {
                return Ok(TrashPage { items: Vec::new(), next: None });
            };
            let mut query = c.prepare_cached(sql)?;
            let rows = query
                .query_map(params![repo, from.removed_at, from.id, limit_plus_one(limit)], |row| {
                    removed_manifest(c, row)
                })?;
            let Page { items, more } = Page::read(rows, limit)?;
            let last = items.last().filter(|_| more);
            let next = last.map(|last| TrashCursor { removed_at: last.removed_at, id: last.id });
            Ok(TrashPage { items, next })
        })
        .await
    }

    /// Returns up to `limit` removed tags, of `repo` or of all repositories, that have not been used again and
    /// whose manifest is live.
    pub async fn removed_tags(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedTag>> {
        let repo = repo.cloned();
        self.query_page(Operation::RemovedTags, move |c| {
            let sql = if repo.is_some() { TAGS_OF_ONE } else { TAGS_OF_ALL };
            let Some((repo, from)) = page_start(c, repo.as_ref(), after)? else {
                return Ok(TrashPage { items: Vec::new(), next: None });
            };
            let max_rows = limit.saturating_mul(EXAMINED_PER_ENTRY);
            let mut query = c.prepare_cached(sql)?;
            let mut rows = query.query(params![repo, from.removed_at, from.id, max_rows])?;
            let mut items = Vec::new();
            let mut seen = 0;
            let mut bytes = 0;
            let mut cursor = None;
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
            let next = cursor.filter(|_| is_full(&items, bytes) || seen == max_rows);
            Ok(TrashPage { items, next })
        })
        .await
    }

    /// Restores a manifest with the tags that were removed with it and its children that are in the trash. All
    /// references are checked as for a push. Manifests attached to them by tags that spell their digests are
    /// restored, too, if they are complete and a policy removed them after their subject, or the same deletion
    /// of the repository did.
    pub async fn restore_manifest(
        &self,
        repo: &RepoName,
        wanted: &Digest,
        change: &Change,
    ) -> Result<Restoration> {
        let repo = repo.clone();
        let target = digest(wanted);
        let change = change.clone();
        self.change(Operation::RestoreManifest, Durability::Full, move |c| {
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

    /// Returns up to `limit` manifests in the trash, oldest first.
    pub async fn oldest_trash(&self, limit: usize) -> Result<Vec<(RepoName, Digest)>> {
        self.query(Operation::OldestTrash, |c| {
            let mut query = c.prepare_cached(OLDEST)?;
            let rows = query
                .query_map(params![limit, i64::MAX], |row| Ok((row.get(0)?, row.get::<SqlDigest>(1)?.0)))?;
            rows.collect()
        })
        .await
    }

    /// Marks up to `limit` manifests for purging, oldest first, of `repo` or of all repositories, that were
    /// removed at or before `cutoff`.
    pub async fn empty_trash(
        &self,
        repo: Option<&RepoName>,
        cutoff: Timestamp,
        limit: usize,
    ) -> Result<Batch> {
        let repo = repo.cloned();
        self.change(Operation::EmptyTrash, Durability::Full, move |c| {
            let Some(repo) = repo else {
                return purge::start_purge(c, cutoff, limit);
            };
            match repo_id(c, &repo)? {
                Some(repo) => purge::start_purge_of_repository(c, repo, cutoff, limit),
                None => Ok(Batch::default()),
            }
        })
        .await
    }

    /// Marks these manifests for purging, as far as they are in the trash. Returns how many.
    pub async fn purge_from_trash(&self, removed: Vec<(RepoName, Digest)>) -> Result<u64> {
        self.change(Operation::PurgeFromTrash, Durability::Full, move |c| {
            let mut update = c.prepare_cached(
                "UPDATE manifests SET state = 2 WHERE repo = ?1 AND digest = ?2 AND state = 1",
            )?;
            let mut purged = 0;
            for (repo, removed) in &removed {
                if let Some(repo) = repo_id(c, repo)? {
                    purged += update.execute(params![repo, digest(removed)])? as u64;
                }
            }
            Ok(purged)
        })
        .await
    }
}

pub(in crate::metadata) const OLDEST: &str = "
    SELECT r.name, m.digest FROM manifests m JOIN repositories r ON r.id = m.repo
    WHERE m.state = 1 AND m.removed_at <= ?2 ORDER BY m.removed_at LIMIT ?1";

pub(in crate::metadata) const MANIFESTS: &str = "
    SELECT m.removed_at, m.id, r.name, m.digest, m.media_type, m.size, m.repo
    FROM manifests m JOIN repositories r ON r.id = m.repo
    WHERE m.state = 1 AND CAST(?1 AS BIGINT) IS NULL AND (m.removed_at, m.id) < (?2, ?3)
    ORDER BY m.removed_at DESC, m.id DESC LIMIT ?4";

pub(in crate::metadata) const MANIFESTS_OF_ONE: &str = "
    SELECT m.removed_at, m.id, r.name, m.digest, m.media_type, m.size, m.repo
    FROM repositories r JOIN manifests m ON m.repo = r.id
    WHERE m.state = 1 AND r.id = ?1 AND m.repo = ?1 AND (m.removed_at, m.id) < (?2, ?3)
    ORDER BY m.removed_at DESC, m.id DESC LIMIT ?4";

pub(in crate::metadata) const TAGS_OF_ALL: &str = "
    SELECT h.at, h.id, h.repo, h.was, h.name, h.kind, h.actor, h.reason FROM tag_history h
    WHERE h.digest IS NULL AND CAST(?1 AS BIGINT) IS NULL AND (h.at, h.id) < (?2, ?3)
    ORDER BY h.at DESC, h.id DESC LIMIT ?4";

pub(in crate::metadata) const TAGS_OF_ONE: &str = "
    SELECT h.at, h.id, h.repo, h.was, h.name, h.kind, h.actor, h.reason FROM tag_history h
    WHERE h.digest IS NULL AND h.repo = ?1 AND (h.at, h.id) < (?2, ?3)
    ORDER BY h.at DESC, h.id DESC LIMIT ?4";

/// Finds the id of the page's repository, if the page is for one, and the cursor where the page starts. Returns `None`
/// if the repository does not exist.
fn page_start(
    c: &dyn Connection,
    repo: Option<&RepoName>,
    after: Option<TrashCursor>,
) -> sql::Result<Option<(Option<i64>, TrashCursor)>> {
    let newest = TrashCursor { removed_at: Timestamp(i64::MAX), id: i64::MAX };
    let from = after.unwrap_or(newest);
    match repo {
        None => Ok(Some((None, from))),
        Some(repo) => Ok(repo_id(c, repo)?.map(|repo| (Some(repo), from))),
    }
}

fn removed_manifest(c: &dyn Connection, row: Row<'_>) -> sql::Result<RemovedManifest> {
    let removed_at: Timestamp = row.get(0)?;
    let target: Vec<u8> = row.get(3)?;
    let mut query = c.prepare_cached(
        "SELECT name, kind, actor, reason FROM tag_history
         WHERE repo = ?1 AND was = ?2 AND at = ?3 AND digest IS NULL LIMIT ?4",
    )?;
    let values = params![row.get::<i64>(6)?, target, removed_at, MAX_LISTED_TAGS];
    let tags = query.query_map(values, |row| lost_tag(row, 0))?.collect::<sql::Result<_>>()?;
    Ok(RemovedManifest {
        repo: row.get(2)?,
        digest: row.get::<SqlDigest>(3)?.0,
        media_type: row.get(4)?,
        size: row.get::<u64>(5)?,
        removed_at,
        id: row.get(1)?,
        tags,
    })
}

/// Reads a removal; `None` if its tag can't be restored alone.
fn removed_tag(c: &dyn Connection, row: Row<'_>) -> sql::Result<Option<RemovedTag>> {
    let id: i64 = row.get(1)?;
    let repo: i64 = row.get(2)?;
    let was: Option<Vec<u8>> = row.get(3)?;
    let name: String = row.get(4)?;
    let Some(was) = was else {
        return Ok(None);
    };
    if restore::newest_history_row(c, repo, &name)? != Some(id) {
        return Ok(None);
    }
    let named = c
        .prepare_cached(
            "SELECT r.name FROM repositories r JOIN manifests m ON m.repo = r.id
             WHERE r.id = ?1 AND m.digest = ?2 AND m.state = 0",
        )?
        .query_map(params![repo, was], |row| row.get(0))?
        .next();
    let Some(repo) = named.transpose()? else {
        return Ok(None);
    };
    Ok(Some(RemovedTag {
        repo,
        digest: row.get::<SqlDigest>(3)?.0,
        removed_at: row.get(0)?,
        id,
        lost: lost_tag(row, 4)?,
    }))
}

/// Reads a removed tag from the columns from `first` on.
fn lost_tag(row: Row<'_>, first: usize) -> sql::Result<LostTag> {
    Ok(LostTag {
        tag: row.get(first)?,
        kind: row.get(first + 1)?,
        by: row.get(first + 2)?,
        reason: row.get(first + 3)?,
    })
}
