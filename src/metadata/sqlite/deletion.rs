//! The steps by which a repository goes to the trash or comes back: each leaves only what is whole.
//!
//! A deletion goes from the newest row down, for an index nearly always comes after its children; where it does
//! not, the index goes first. What was pushed since the deletion began lies above, and stays.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{manifests, name_from, quotas, restore, tags};
use crate::metadata::{Change, ChangeKind, EdgeKind, RepositoryStep, RepositoryWork};
use crate::oci::{Digest, Tag};

/// What is being done to a repository.
pub(super) struct Work {
    repo: i64,
    kind: ChangeKind,
    removal: i64,
    at: i64,
    total: i64,
    done: i64,
    failed: i64,
    actor: Option<String>,
    reason: Option<String>,
}

const COLUMNS: usize = 9;

fn work(row: &Row<'_>) -> rusqlite::Result<Work> {
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

pub(super) fn find(c: &Connection, repo: i64) -> rusqlite::Result<Option<Work>> {
    c.prepare_cached(
        "SELECT repo, kind, removal, at, total, done, failed, actor, reason FROM repository_work
         WHERE repo = ?1",
    )?
    .query_row([repo], work)
    .optional()
}

/// All that is being done, with the names.
pub(super) fn all(c: &Connection, limit: usize) -> rusqlite::Result<Vec<RepositoryWork>> {
    let mut query = c.prepare_cached(
        "SELECT w.repo, w.kind, w.removal, w.at, w.total, w.done, w.failed, w.actor, w.reason, r.name
         FROM repository_work w JOIN repositories r ON r.id = w.repo ORDER BY w.repo LIMIT ?1",
    )?;
    let rows = query.query_map([limit.cast_signed()], |row| {
        Ok(work(row)?.told(name_from(row.get_ref(COLUMNS)?.as_str()?, COLUMNS)?))
    })?;
    rows.collect()
}

impl Work {
    /// What a caller is told of it.
    pub(super) fn told(&self, repo: crate::oci::RepoName) -> RepositoryWork {
        RepositoryWork {
            repo,
            kind: self.kind,
            removal: self.removal,
            total: self.total.cast_unsigned(),
            done: self.done.cast_unsigned(),
            failed: self.failed.cast_unsigned(),
        }
    }

    pub(super) fn is_deletion(&self) -> bool {
        self.kind == ChangeKind::Delete
    }

    fn save(&self, c: &Connection) -> rusqlite::Result<()> {
        c.prepare_cached(
            "INSERT INTO repository_work (repo, kind, removal, at, total, done, failed, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET kind = excluded.kind, removal = excluded.removal, at = excluded.at,
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

/// Begins a deletion; `None` if there is nothing to delete.
pub(super) fn begin(c: &Connection, repo: i64, change: &Change) -> rusqlite::Result<Option<Work>> {
    let (total, newest): (i64, Option<i64>) = c
        .prepare_cached("SELECT count(*), max(id) FROM manifests WHERE repo = ?1 AND state = 0")?
        .query_row([repo], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let Some(at) = newest else {
        return Ok(None);
    };
    let removal = tags::note(c, repo, tags::WHOLE, (None, None), ChangeKind::Delete, change)?;
    begun(c, Work { kind: ChangeKind::Delete, at, ..new(repo, removal, total, change) }).map(Some)
}

/// Begins to undo the deletion `removal`, or the last; `None` if nothing of it is in the trash, and it is not
/// `under_way` either.
pub(super) fn begin_restoration(
    c: &Connection,
    repo: i64,
    removal: Option<i64>,
    under_way: bool,
    change: &Change,
) -> rusqlite::Result<Option<Work>> {
    let found = c
        .prepare_cached(
            "SELECT id FROM tag_history WHERE repo = ?1 AND name = '' AND kind = 2 AND id = coalesce(?2, id)
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![repo, removal], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(removal) = found else {
        return Ok(None);
    };
    let total: i64 = c
        .prepare_cached("SELECT count(*) FROM manifests WHERE removal = ?1 AND state = 1")?
        .query_row([removal], |row| row.get(0))?;
    if total == 0 && !under_way {
        return Ok(None);
    }
    tags::note(c, repo, tags::WHOLE, (None, None), ChangeKind::Restore, change)?;
    begun(c, Work { kind: ChangeKind::Restore, at: 0, ..new(repo, removal, total, change) }).map(Some)
}

fn new(repo: i64, removal: i64, total: i64, change: &Change) -> Work {
    let (actor, reason) = (change.by.clone(), change.reason.clone());
    Work { repo, kind: ChangeKind::Delete, removal, at: 0, total, done: 0, failed: 0, actor, reason }
}

fn begun(c: &Connection, work: Work) -> rusqlite::Result<Work> {
    work.save(c)?;
    Ok(work)
}

/// Takes the next step.
pub(super) fn advance(
    c: &Connection,
    mut work: Work,
    name: crate::oci::RepoName,
    limit: usize,
    change: &Change,
) -> rusqlite::Result<RepositoryStep> {
    let why = if work.is_deletion() { "its repository was deleted" } else { "its repository was restored" };
    let reason = work.reason.clone().unwrap_or_else(|| why.into());
    let change = Change { by: work.actor.clone(), reason: Some(reason), ..change.clone() };
    let (mut taken, mut missing) = (Vec::new(), Vec::new());
    let more = if work.is_deletion() {
        delete(c, &mut work, limit, &change)?
    } else {
        bring_back(c, &mut work, limit, &change, &mut taken, &mut missing)?
    };
    if more {
        work.save(c)?;
    } else {
        c.prepare_cached("DELETE FROM repository_work WHERE repo = ?1")?.execute([work.repo])?;
    }
    Ok(RepositoryStep { work: work.told(name), finished: !more, taken, missing })
}

/// A live manifest.
struct Live {
    id: i64,
    digest: Vec<u8>,
}

fn live(row: &Row<'_>) -> rusqlite::Result<Live> {
    Ok(Live { id: row.get(0)?, digest: row.get(1)? })
}

/// Moves about `limit` manifests to the trash. Whether more are left.
fn delete(c: &Connection, work: &mut Work, limit: usize, change: &Change) -> rusqlite::Result<bool> {
    let found: Vec<Live> = c
        .prepare_cached(
            "SELECT id, digest FROM manifests WHERE repo = ?1 AND state = 0 AND id <= ?2
             ORDER BY id DESC LIMIT ?3",
        )?
        .query_map(params![work.repo, work.at, limit.cast_signed()], live)?
        .collect::<rusqlite::Result<_>>()?;
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

/// Moves a manifest to the trash, after the indexes that list it. One that somebody listed again meanwhile, or
/// that an immutable tag holds, stays, and what it lists. How many went; `None` if there are more than `limit`.
fn delete_with_holders(
    c: &Connection,
    work: &mut Work,
    manifest: Live,
    limit: usize,
    change: &Change,
) -> rusqlite::Result<Option<usize>> {
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
        if let Some(holder) = live_holder(c, work.repo, &manifest.digest)? {
            if holder.id > work.at {
                break;
            }
            waiting.push(holder);
            continue;
        }
        if tags::fixed_of(c, manifest.id, &change.fixed)?.is_some() {
            break;
        }
        let target = (manifest.id, manifest.digest.as_slice());
        manifests::remove_manifest(c, work.repo, target, ChangeKind::Delete, change, Some(work.removal))?;
        (removed, work.done) = (removed + 1, work.done + 1);
        waiting.pop();
    }
    work.failed += i64::from(!waiting.is_empty());
    Ok(Some(removed))
}

fn live_holder(c: &Connection, repo: i64, target: &[u8]) -> rusqlite::Result<Option<Live>> {
    c.prepare_cached(
        "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 AND m.state = 0
         ORDER BY e.manifest DESC LIMIT 1",
    )?
    .query_row(params![repo, target, EdgeKind::Child], live)
    .optional()
}

/// Brings about `limit` manifests back. Whether more are left.
fn bring_back(
    c: &Connection,
    work: &mut Work,
    limit: usize,
    change: &Change,
    taken: &mut Vec<Tag>,
    missing: &mut Vec<(Digest, EdgeKind)>,
) -> rusqlite::Result<bool> {
    let found = restore::of_removal(c, work.removal, work.at, limit)?;
    let more = found.len() == limit;
    for manifest in found {
        work.at = manifest.id;
        // An index before it may have brought it back.
        if !restore::is_removed(c, manifest.id)? {
            continue;
        }
        match quotas::within(c, |c| restore::restore(c, work.repo, manifest, true, change))? {
            Ok(Ok(restored)) => {
                work.done += i64::try_from(restored.manifests.len()).unwrap_or(i64::MAX);
                taken.extend(restored.taken);
            }
            Ok(Err(lacks)) => {
                work.failed += 1;
                missing.extend(lacks);
            }
            // Its tags would pass a quota: it stays in the trash.
            Err(_) => work.failed += 1,
        }
    }
    Ok(more)
}
