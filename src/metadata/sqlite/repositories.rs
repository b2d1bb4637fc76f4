//! Repositories as a whole: names, deletions, and rows of which nothing is left.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::tags::{self, WHOLE};
use super::{Durability, SqliteMetadata, deletion, events, make_repo, name_from, pins, quotas, repo_id};
use crate::metadata::{
    Change, ChangeKind, EventDetails, ImmutableTags, Renaming, RepositoryChanges, RepositoryStep,
    RepositoryWork, Result,
};
use crate::oci::{RepoName, Tag};

#[async_trait]
impl RepositoryChanges for SqliteMetadata {
    async fn rename_repository(&self, from: &RepoName, to: &RepoName, change: &Change) -> Result<Renaming> {
        let (from, to, change) = (from.clone(), to.clone(), change.clone());
        self.write(Durability::Full, move |c| {
            Ok(quotas::within(c, |c| rename(c, &from, &to, &change))?.unwrap_or_else(Renaming::Refused))
        })
        .await
    }

    async fn begin_deletion(&self, repo: &RepoName, change: &Change) -> Result<Option<RepositoryWork>> {
        let (name, change) = (repo.clone(), change.clone());
        self.write(Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &name)? else {
                return Ok(None);
            };
            let work = match deletion::find(c, repo)? {
                Some(work) if work.is_deletion() => return Ok(Some(work.told(name))),
                _ => deletion::begin(c, repo, &change)?,
            };
            work.map(|work| begun(c, work.told(name), change)).transpose()
        })
        .await
    }

    async fn begin_restoration(
        &self,
        repo: &RepoName,
        removal: Option<i64>,
        change: &Change,
    ) -> Result<Option<RepositoryWork>> {
        let (name, change) = (repo.clone(), change.clone());
        self.write(Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &name)? else {
                return Ok(None);
            };
            let work = match deletion::find(c, repo)? {
                Some(work) if !work.is_deletion() => return Ok(Some(work.told(name))),
                // One that is under way ends, even if nothing has gone yet.
                deletion => deletion::begin_restoration(c, repo, removal, deletion.is_some(), &change)?,
            };
            work.map(|work| begun(c, work.told(name), change)).transpose()
        })
        .await
    }

    async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>> {
        self.read(|c| deletion::all(c, limit))
    }

    async fn advance_repository(
        &self,
        repo: &RepoName,
        limit: usize,
        change: &Change,
    ) -> Result<Option<RepositoryStep>> {
        let (name, change) = (repo.clone(), change.clone());
        self.write_behind(Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &name)? else {
                return Ok(None);
            };
            let Some(work) = deletion::find(c, repo)? else {
                return Ok(None);
            };
            deletion::advance(c, work, name, limit, &change).map(Some)
        })
        .await
    }

    async fn forget_repositories(&self, after: i64, limit: usize) -> Result<(Option<i64>, u64)> {
        let seen = self.read(|c| {
            c.prepare_cached("SELECT id FROM repositories WHERE id > ?1 ORDER BY id LIMIT ?2")?
                .query_map(params![after, limit.cast_signed()], |row| row.get::<_, i64>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let next = seen.last().copied().filter(|_| seen.len() == limit);
        let empty = self.read_blocking(move |c| keep_empty(c, seen)).await?;
        if empty.is_empty() {
            return Ok((next, 0));
        }
        // Something may have come in meanwhile.
        let forgotten = self.write_behind(Durability::Lazy, move |c| {
            let empty = keep_empty(c, empty)?;
            for repo in &empty {
                forget(c, *repo)?;
            }
            Ok(empty.len() as u64)
        });
        Ok((next, forgotten.await?))
    }
}

/// That a repository begins to go or to come back is an event.
fn begun(c: &Connection, work: RepositoryWork, change: Change) -> rusqlite::Result<RepositoryWork> {
    let (repository, manifests, by) = (work.repo.clone(), work.total, change.by);
    let event = match work.kind {
        ChangeKind::Delete => EventDetails::RepositoryDeleted { repository, manifests, by },
        _ => EventDetails::RepositoryRestored { repository, manifests, by },
    };
    events::note(c, change.now, &event).map(|()| work)
}

fn rename(c: &Connection, from: &RepoName, to: &RepoName, change: &Change) -> rusqlite::Result<Renaming> {
    let Some(source) = repo_id(c, from)? else {
        return Ok(Renaming::Unknown);
    };
    if deletion::find(c, source)?.is_some() {
        return Ok(Renaming::Busy);
    }
    if !is_in_use(c, source)? {
        return Ok(Renaming::Unknown);
    }
    let target = repo_id(c, to)?;
    if let Some(target) = target
        && (is_in_use(c, target)? || deletion::find(c, target)?.is_some())
    {
        return Ok(Renaming::Occupied);
    }
    if target.map_or(Ok(false), |target| has_trash(c, target))? {
        return Ok(Renaming::InTrash);
    }
    if let Some(tag) = fixed_in(c, source, &change.fixed)? {
        return Ok(Renaming::Fixed(tag));
    }
    let uploads = c.prepare_cached("SELECT 1 FROM uploads WHERE repo = ?1 LIMIT 1")?.exists([source])?;
    if let Some(target) = target {
        // No name is empty, so that none is twice at any time.
        set_name(c, target, "")?;
    }
    set_name(c, source, to.as_str())?;
    let other = match target {
        Some(target) => {
            set_name(c, target, from.as_str())?;
            Some(target)
        }
        None if uploads => Some(make_repo(c, from, change.now)?),
        None => None,
    };
    if let Some(other) = other {
        swap_uploads(c, source, other)?;
    }
    let told = Change { reason: Some(format!("{from} became {to}")), ..change.clone() };
    tags::note(c, source, WHOLE, (None, None), ChangeKind::Rename, &told)?;
    let (from, to, by) = (from.clone(), to.clone(), change.by.clone());
    events::note(c, change.now, &EventDetails::RepositoryRenamed { from, to, by })?;
    Ok(Renaming::Done)
}

fn has_trash(c: &Connection, repo: i64) -> rusqlite::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT 1 FROM manifests INDEXED BY manifests_removed WHERE repo = ?1 AND state = 1 LIMIT 1",
    )?;
    query.exists([repo])
}

/// Whether anything can be pulled from a repository.
fn is_in_use(c: &Connection, repo: i64) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE repo = ?1 AND state = 0 LIMIT 1")?.exists([repo])
}

/// An immutable tag of a repository. Only where there can be one are all of them looked at.
fn fixed_in(c: &Connection, repo: i64, fixed: &ImmutableTags) -> rusqlite::Result<Option<Tag>> {
    if !fixed.may_be_any() {
        return Ok(None);
    }
    let mut query = c.prepare_cached("SELECT name FROM tags WHERE repo = ?1")?;
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        let tag = name_from(row.get_ref(0)?.as_str()?, 0)?;
        if fixed.contains(&tag) {
            return Ok(Some(tag));
        }
    }
    Ok(None)
}

fn set_name(c: &Connection, repo: i64, name: &str) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE repositories SET name = ?2 WHERE id = ?1")?
        .execute(params![repo, name])
        .map(drop)
}

/// The clients of uploads know the names.
fn swap_uploads(c: &Connection, one: i64, other: i64) -> rusqlite::Result<()> {
    c.prepare_cached(
        "UPDATE uploads SET repo = CASE repo WHEN ?1 THEN ?2 ELSE ?1 END WHERE repo IN (?1, ?2)",
    )?
    .execute([one, other])
    .map(drop)
}

/// Those of `repos` of which nothing is left.
fn keep_empty(c: &Connection, repos: Vec<i64>) -> rusqlite::Result<Vec<i64>> {
    let mut query = c.prepare_cached(
        "SELECT 1 FROM repositories r WHERE r.id = ?1
           AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repo = r.id)
           AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repo = r.id)
           AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.repo = r.id)
           AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repo = r.id)
           AND NOT EXISTS (SELECT 1 FROM tag_history h WHERE h.repo = r.id)
           AND NOT EXISTS (SELECT 1 FROM repository_work w WHERE w.repo = r.id)",
    )?;
    let mut empty = Vec::new();
    for repo in repos {
        if query.query_row([repo], |_| Ok(())).optional()?.is_some() {
            empty.push(repo);
        }
    }
    Ok(empty)
}

/// Past uploads extend the leases of what is there no more.
fn forget(c: &Connection, repo: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM past_uploads WHERE repo = ?1")?.execute([repo])?;
    pins::forget(c, repo)?;
    c.prepare_cached("DELETE FROM review WHERE kind IN (0, 1, 2, 3) AND repo = ?1")?.execute([repo])?;
    c.prepare_cached("DELETE FROM repositories WHERE id = ?1")?.execute([repo]).map(drop)
}
