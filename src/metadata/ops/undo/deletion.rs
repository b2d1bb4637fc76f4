//! Moves repositories to the trash and restores them in steps. After each step every manifest is complete.
//!
//! A deletion goes from the newest row to the oldest, because an index nearly always comes after its children. If it
//! does not, the index is removed first. Manifests pushed after the deletion started have higher rows and stay:
//! `accounting.rs` says why ids follow the order of commits.

use crate::metadata::ops::undo::restore;
use crate::metadata::ops::{manifests, quotas, tags};
use crate::metadata::sql::{Connection, OptionalExtension, Row, params};
use crate::metadata::{Change, ChangeKind, EdgeKind, RepositoryStep, RepositoryWork, sql};
use crate::oci::{Digest, Tag};

/// A deletion or restoration of a repository that is under way.
pub(in crate::metadata) struct Work {
    repo: i64,
    kind: ChangeKind,
    removal: i64,
    at: i64,
    total: u64,
    done: u64,
    failed: u64,
    actor: Option<String>,
    reason: Option<String>,
}

/// Number of columns that [`read_work`] reads.
const WORK_COLUMNS: usize = 9;

fn read_work(row: Row<'_>) -> sql::Result<Work> {
    Ok(Work {
        repo: row.get(0)?,
        kind: row.get(1)?,
        removal: row.get(2)?,
        at: row.get(3)?,
        total: row.get(4)?,
        done: row.get(5)?,
        failed: row.get(6)?,
        actor: row.get(7)?,
        reason: row.get(8)?,
    })
}

pub(in crate::metadata) fn find(c: &dyn Connection, repo: i64) -> sql::Result<Option<Work>> {
    c.prepare_cached(
        "SELECT repo, kind, removal, at, total, done, failed, actor, reason FROM repository_work
         WHERE repo = ?1",
    )?
    .query_row([repo], read_work)
    .optional()
}

/// Lists all work that is under way.
pub(in crate::metadata) fn list(c: &dyn Connection, limit: usize) -> sql::Result<Vec<RepositoryWork>> {
    let mut query = c.prepare_cached(
        "SELECT w.repo, w.kind, w.removal, w.at, w.total, w.done, w.failed, w.actor, w.reason, r.name
         FROM repository_work w JOIN repositories r ON r.id = w.repo ORDER BY w.repo LIMIT ?1",
    )?;
    let rows = query.query_map([limit], |row| {
        let name = row.get(WORK_COLUMNS)?;
        Ok(read_work(row)?.to_record(name))
    })?;
    rows.collect()
}

impl Work {
    /// Converts the work for callers.
    pub(in crate::metadata) fn to_record(&self, repo: crate::oci::RepoName) -> RepositoryWork {
        RepositoryWork {
            repo,
            kind: self.kind,
            removal: self.removal,
            total: self.total,
            done: self.done,
            failed: self.failed,
        }
    }

    pub(in crate::metadata) fn is_deletion(&self) -> bool {
        self.kind == ChangeKind::Delete
    }

    fn save(&self, c: &dyn Connection) -> sql::Result<()> {
        c.prepare_cached(
            "INSERT INTO repository_work (repo, kind, removal, at, total, done, failed, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (repo) DO UPDATE SET kind = excluded.kind, removal = excluded.removal, at = excluded.at,
                 total = excluded.total, done = excluded.done, failed = excluded.failed,
                 actor = excluded.actor, reason = excluded.reason",
        )?
        .execute(params![
            self.repo,
            self.kind,
            self.removal,
            self.at,
            self.total,
            self.done,
            self.failed,
            self.actor,
            self.reason
        ])
        .map(drop)
    }
}

/// Starts a deletion. Returns `None` if there is nothing to delete.
pub(in crate::metadata) fn start_deletion(
    c: &dyn Connection,
    repo: i64,
    change: &Change,
) -> sql::Result<Option<Work>> {
    let (total, newest): (u64, Option<i64>) = c
        .prepare_cached("SELECT count(*), max(id) FROM manifests WHERE repo = ?1 AND state = 0")?
        .query_row([repo], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(at) = newest else {
        return Ok(None);
    };
    let removal =
        tags::record_change(c, repo, tags::REPOSITORY_HISTORY, None, None, ChangeKind::Delete, change)?;
    save_new(c, Work { kind: ChangeKind::Delete, at, ..new(repo, removal, total, change) }).map(Some)
}

/// Starts to undo the deletion `removal`, or the last one. Returns `None` if none of its manifests are in the trash and
/// the deletion is not `under_way` either.
pub(in crate::metadata) fn start_restoration(
    c: &dyn Connection,
    repo: i64,
    removal: Option<i64>,
    under_way: bool,
    change: &Change,
) -> sql::Result<Option<Work>> {
    let found = c
        .prepare_cached(
            "SELECT id FROM tag_history WHERE repo = ?1 AND name = '' AND kind = 2 AND id = coalesce(?2, id)
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![repo, removal], |row| row.get::<i64>(0))
        .optional()?;
    let Some(removal) = found else {
        return Ok(None);
    };
    let total: u64 = c
        .prepare_cached("SELECT count(*) FROM manifests WHERE removal = ?1 AND state = 1")?
        .query_row([removal], |row| row.get(0))?;
    if total == 0 && !under_way {
        return Ok(None);
    }
    tags::record_change(c, repo, tags::REPOSITORY_HISTORY, None, None, ChangeKind::Restore, change)?;
    save_new(c, Work { kind: ChangeKind::Restore, at: 0, ..new(repo, removal, total, change) }).map(Some)
}

fn new(repo: i64, removal: i64, total: u64, change: &Change) -> Work {
    let actor = change.by.clone();
    let reason = change.reason.clone();
    Work { repo, kind: ChangeKind::Delete, removal, at: 0, total, done: 0, failed: 0, actor, reason }
}

fn save_new(c: &dyn Connection, work: Work) -> sql::Result<Work> {
    work.save(c)?;
    Ok(work)
}

/// Runs the next step.
pub(in crate::metadata) fn advance(
    c: &dyn Connection,
    mut work: Work,
    name: crate::oci::RepoName,
    limit: usize,
    change: &Change,
) -> sql::Result<RepositoryStep> {
    let why = if work.is_deletion() { "its repository was deleted" } else { "its repository was restored" };
    let reason = work.reason.clone().unwrap_or_else(|| why.into());
    let change = Change { by: work.actor.clone(), reason: Some(reason), ..change.clone() };
    let mut tags_in_use = Vec::new();
    let mut missing = Vec::new();
    let more = if work.is_deletion() {
        delete_manifests(c, &mut work, limit, &change)?
    } else {
        restore_manifests(c, &mut work, limit, &change, &mut tags_in_use, &mut missing)?
    };
    if more {
        work.save(c)?;
    } else {
        c.prepare_cached("DELETE FROM repository_work WHERE repo = ?1")?.execute([work.repo])?;
    }
    Ok(RepositoryStep { work: work.to_record(name), finished: !more, tags_in_use, missing })
}

/// A live manifest.
struct Live {
    id: i64,
    digest: Vec<u8>,
}

fn read_live(row: Row<'_>) -> sql::Result<Live> {
    Ok(Live { id: row.get(0)?, digest: row.get(1)? })
}

/// Moves about `limit` manifests to the trash. Returns whether more are left.
fn delete_manifests(c: &dyn Connection, work: &mut Work, limit: usize, change: &Change) -> sql::Result<bool> {
    let found: Vec<Live> = c
        .prepare_cached(
            "SELECT id, digest FROM manifests WHERE repo = ?1 AND state = 0 AND id <= ?2
             ORDER BY id DESC LIMIT ?3",
        )?
        .query_map(params![work.repo, work.at, limit], read_live)?
        .collect::<sql::Result<_>>()?;
    let more = found.len() == limit;
    let mut left = limit;
    for manifest in found {
        if left == 0 {
            return Ok(true);
        }
        work.at = manifest.id;
        let Some(removed) = delete_with_holders(c, work, manifest, left, change)? else {
            return Ok(true);
        };
        left = left.saturating_sub(removed);
        work.at -= 1;
    }
    Ok(more)
}

/// Moves a manifest to the trash, after the indexes that list it. A manifest that a newer index lists, or that an
/// immutable tag holds, stays with all its children. Returns how many manifests were removed; `None` if there are more
/// than `limit`.
fn delete_with_holders(
    c: &dyn Connection,
    work: &mut Work,
    manifest: Live,
    limit: usize,
    change: &Change,
) -> sql::Result<Option<usize>> {
    let mut removed = 0;
    let mut waiting = vec![manifest];
    while let Some(manifest) = waiting.last() {
        if manifests::live_id(c, work.repo, &manifest.digest)?.is_none() {
            waiting.pop();
            continue;
        }
        if removed == limit {
            return Ok(None);
        }
        if let Some(index) = live_index(c, work.repo, &manifest.digest)? {
            if index.id > work.at {
                break;
            }
            waiting.push(index);
            continue;
        }
        if tags::immutable_tag_of(c, manifest.id, &change.immutable_tags)?.is_some() {
            break;
        }
        let Live { id, digest } = manifest;
        let kind = ChangeKind::Delete;
        manifests::remove_manifest(c, work.repo, *id, digest, kind, change, Some(work.removal))?;
        removed += 1;
        work.done += 1;
        waiting.pop();
    }
    work.failed += u64::from(!waiting.is_empty());
    Ok(Some(removed))
}

fn live_index(c: &dyn Connection, repo: i64, target: &[u8]) -> sql::Result<Option<Live>> {
    c.prepare_cached(
        "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 AND m.state = 0
         ORDER BY e.manifest DESC LIMIT 1",
    )?
    .query_row(params![repo, target, EdgeKind::Child], read_live)
    .optional()
}

/// Restores about `limit` manifests. Returns whether more are left.
fn restore_manifests(
    c: &dyn Connection,
    work: &mut Work,
    limit: usize,
    change: &Change,
    tags_in_use: &mut Vec<Tag>,
    missing: &mut Vec<(Digest, EdgeKind)>,
) -> sql::Result<bool> {
    let found = restore::list_removed(c, work.removal, work.at, limit)?;
    let more = found.len() == limit;
    for manifest in found {
        work.at = manifest.id;
        // It may have been restored with an index before it.
        if !restore::is_removed(c, manifest.id)? {
            continue;
        }
        match quotas::within(c, |c| restore::restore(c, work.repo, manifest, true, change))? {
            Ok(Ok(restored)) => {
                work.done += restored.manifests.len() as u64;
                tags_in_use.extend(restored.tags_in_use);
            }
            Ok(Err(targets)) => {
                work.failed += 1;
                missing.extend(targets);
            }
            // Its tags would exceed a quota, so it stays in the trash.
            Err(_) => work.failed += 1,
        }
    }
    Ok(more)
}
