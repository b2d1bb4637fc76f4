//! Changes to whole repositories: renames, descriptions, deletions, restorations, and the removal of empty rows.

use crate::metadata::ops::tags::REPOSITORY_HISTORY;
use crate::metadata::ops::undo::deletion;
use crate::metadata::ops::{accounting, ensure_repo, events, pins, quotas, repo_id, tags};
use crate::metadata::sql::{Connection, OptionalExtension, params};
use crate::metadata::{
    Change, ChangeKind, Durability, EventDetails, ImmutableTags, Metadata, Operation, Renaming,
    RepositoryStep, RepositoryWork, Result, sql,
};
use crate::oci::{RepoName, Tag};

impl Metadata {
    /// Renames a repository with everything in it. Open uploads stay under the name that their clients know. An
    /// empty repository of the new name takes the old name, so that its history is not lost and renaming back
    /// undoes everything.
    pub async fn rename_repository(
        &self,
        from: &RepoName,
        to: &RepoName,
        change: &Change,
    ) -> Result<Renaming> {
        let from = from.clone();
        let to = to.clone();
        let change = change.clone();
        self.change(Operation::RenameRepository, Durability::Full, move |c| {
            Ok(quotas::within(c, |c| rename(c, &from, &to, &change))?.unwrap_or_else(Renaming::Refused))
        })
        .await
    }

    /// Sets or removes the description of a repository that has a live manifest. Returns whether there is one. A
    /// description stays with the repository when it is renamed, and when it is deleted and restored.
    pub async fn set_description(&self, repo: &RepoName, description: Option<&str>) -> Result<bool> {
        let name = repo.clone();
        let description = description.map(str::to_owned);
        self.change(Operation::SetDescription, Durability::Full, move |c| {
            let mut update =
                c.prepare_cached("UPDATE repositories SET description = ?2 WHERE name = ?1 AND live > 0")?;
            Ok(update.execute(params![name.as_str(), description])? > 0)
        })
        .await
    }

    /// Starts moving every manifest of a repository to the trash. Content pushed from now on stays. Returns
    /// `None` if the repository is empty. Continues a deletion that was started already.
    pub async fn start_deletion(&self, repo: &RepoName, change: &Change) -> Result<Option<RepositoryWork>> {
        let name = repo.clone();
        let change = change.clone();
        self.change(Operation::StartDeletion, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &name)? else {
                return Ok(None);
            };
            let work = match deletion::find(c, repo)? {
                Some(work) if work.is_deletion() => return Ok(Some(work.to_record(name))),
                _ => deletion::start_deletion(c, repo, &change)?,
            };
            work.map(|work| record_start(c, work.to_record(name), change)).transpose()
        })
        .await
    }

    /// Starts restoring what the last deletion of a repository removed, or the deletion `removal`. Returns
    /// `None` if nothing of it is in the trash.
    pub async fn start_restoration(
        &self,
        repo: &RepoName,
        removal: Option<i64>,
        change: &Change,
    ) -> Result<Option<RepositoryWork>> {
        let name = repo.clone();
        let change = change.clone();
        self.change(Operation::StartRestoration, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &name)? else {
                return Ok(None);
            };
            let work = match deletion::find(c, repo)? {
                Some(work) if !work.is_deletion() => return Ok(Some(work.to_record(name))),
                // A deletion that is under way ends, even if it has not removed anything yet.
                deletion => deletion::start_restoration(c, repo, removal, deletion.is_some(), &change)?,
            };
            work.map(|work| record_start(c, work.to_record(name), change)).transpose()
        })
        .await
    }

    /// Returns up to `limit` repositories that are being deleted or restored.
    pub async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>> {
        self.query(Operation::RepositoryWork, |c| deletion::list(c, limit)).await
    }

    /// Runs the next step, of about `limit` manifests. Returns `None` if the repository is not being deleted or
    /// restored. Who requested the work and why was recorded at the start.
    pub async fn advance_repository(
        &self,
        repo: &RepoName,
        limit: usize,
        change: &Change,
    ) -> Result<Option<RepositoryStep>> {
        let name = repo.clone();
        let change = change.clone();
        self.change_in_background(Operation::AdvanceRepository, Durability::Full, move |c| {
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

    /// Examines up to `limit` repositories after the position `after` (0 to start) and deletes the records of
    /// those that are empty and have no history. Returns the position reached (`None` at the end) and how many
    /// records it deleted.
    pub async fn forget_empty_repositories(&self, after: i64, limit: usize) -> Result<(Option<i64>, u64)> {
        self.perform(Operation::ForgetRepositories, async {
            let seen = self.read(|c| {
                c.prepare_cached("SELECT id FROM repositories WHERE id > ?1 ORDER BY id LIMIT ?2")?
                    .query_map(params![after, limit], |row| row.get::<i64>(0))?
                    .collect::<sql::Result<Vec<_>>>()
            })?;
            let next = seen.last().copied().filter(|_| seen.len() == limit);
            let empty = self.read_blocking(move |c| filter_empty(c, seen)).await?;
            if empty.is_empty() {
                return Ok((next, 0));
            }
            // Something may have been pushed in the meantime, so check again.
            let forgotten = self.write_in_background(Durability::Lazy, move |c| {
                let empty = filter_empty(c, empty)?;
                for repo in &empty {
                    delete_repository(c, *repo)?;
                }
                Ok(empty.len() as u64)
            });
            Ok((next, forgotten.await?))
        })
        .await
    }
}

/// Records the event that a deletion or restoration started.
fn record_start(c: &dyn Connection, work: RepositoryWork, change: Change) -> sql::Result<RepositoryWork> {
    let repository = work.repo.clone();
    let manifests = work.total;
    let by = change.by;
    let event = match work.kind {
        ChangeKind::Delete => EventDetails::RepositoryDeleted { repository, manifests, by },
        _ => EventDetails::RepositoryRestored { repository, manifests, by },
    };
    events::record(c, change.now, &event).map(|()| work)
}

fn rename(c: &dyn Connection, from: &RepoName, to: &RepoName, change: &Change) -> sql::Result<Renaming> {
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
    if let Some(tag) = immutable_tag_in(c, source, &change.immutable_tags)? {
        return Ok(Renaming::Immutable(tag));
    }
    let uploads = c.prepare_cached("SELECT 1 FROM uploads WHERE repo = ?1 LIMIT 1")?.exists([source])?;
    if let Some(target) = target {
        // No repository has an empty name, so the names stay unique at all times.
        set_name(c, target, "")?;
    }
    set_name(c, source, to.as_str())?;
    let other = match target {
        Some(target) => {
            set_name(c, target, from.as_str())?;
            Some(target)
        }
        None if uploads => Some(ensure_repo(c, from, change.now)?),
        None => None,
    };
    if let Some(other) = other {
        swap_uploads(c, source, other)?;
    }
    let rename = Change { reason: Some(format!("{from} became {to}")), ..change.clone() };
    tags::record_change(c, source, REPOSITORY_HISTORY, None, None, ChangeKind::Rename, &rename)?;
    let from = from.clone();
    let to = to.clone();
    let by = change.by.clone();
    events::record(c, change.now, &EventDetails::RepositoryRenamed { from, to, by })?;
    Ok(Renaming::Done)
}

fn has_trash(c: &dyn Connection, repo: i64) -> sql::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT 1 FROM manifests /* INDEXED BY manifests_removed */ WHERE repo = ?1 AND state = 1 LIMIT 1",
    )?;
    query.exists([repo])
}

/// Whether anything can be pulled from a repository.
fn is_in_use(c: &dyn Connection, repo: i64) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE repo = ?1 AND state = 0 LIMIT 1")?.exists([repo])
}

/// Finds an immutable tag of a repository. The tags are read only if some tag may be immutable.
fn immutable_tag_in(
    c: &dyn Connection,
    repo: i64,
    immutable_tags: &ImmutableTags,
) -> sql::Result<Option<Tag>> {
    if !immutable_tags.can_match() {
        return Ok(None);
    }
    let mut query = c.prepare_cached("SELECT name FROM tags WHERE repo = ?1")?;
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        let tag = row.get(0)?;
        if immutable_tags.contains(&tag) {
            return Ok(Some(tag));
        }
    }
    Ok(None)
}

fn set_name(c: &dyn Connection, repo: i64, name: &str) -> sql::Result<()> {
    accounting::change_repositories(c, repo, -1)?;
    c.prepare_cached("UPDATE repositories SET name = ?2 WHERE id = ?1")?.execute(params![repo, name])?;
    accounting::change_repositories(c, repo, 1)
}

/// Swaps the uploads of two repositories: the clients of uploads know them by the names.
fn swap_uploads(c: &dyn Connection, one: i64, other: i64) -> sql::Result<()> {
    c.prepare_cached(
        "UPDATE uploads SET repo = CASE repo WHEN ?1 THEN ?2 ELSE ?1 END WHERE repo IN (?1, ?2)",
    )?
    .execute([one, other])
    .map(drop)
}

/// Filters `repos` to those that are empty.
fn filter_empty(c: &dyn Connection, repos: Vec<i64>) -> sql::Result<Vec<i64>> {
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

/// Deletes the row of an empty repository. The leases that its past uploads extend no longer protect anything.
fn delete_repository(c: &dyn Connection, repo: i64) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM past_uploads WHERE repo = ?1")?.execute([repo])?;
    pins::remove_all(c, repo)?;
    c.prepare_cached("DELETE FROM review WHERE kind IN (0, 1, 2, 3) AND repo = ?1")?.execute([repo])?;
    accounting::change_repositories(c, repo, -1)?;
    c.prepare_cached("DELETE FROM repositories WHERE id = ?1")?.execute([repo]).map(drop)
}
