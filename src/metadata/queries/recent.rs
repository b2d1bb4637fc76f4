//! The latest pushes to the repositories that a client may read.

use crate::metadata::queries::listings::{RecentRepository, recently_pushed};
use crate::metadata::sql::{self, Connection, SqlDigest, params};
use crate::metadata::{Metadata, Operation, RecentPush, Result, Visible};
use crate::oci::RepoName;

/// For each push in the list, tags of so many repositories are read: content that was pushed without a tag also makes
/// a repository recent.
const REPOSITORIES_PER_PUSH: usize = 2;

impl Metadata {
    /// Returns the `limit` tags that were pushed, moved or restored last in the `visible` repositories, newest first.
    /// Reads at most `limit` tags of each of twice as many repositories.
    pub async fn recent_pushes(&self, visible: &Visible, limit: usize) -> Result<Vec<RecentPush>> {
        let visible = visible.clone();
        self.query_page(Operation::RecentPushes, move |c| recent_pushes(c, &visible, limit)).await
    }
}

fn recent_pushes(c: &dyn Connection, visible: &Visible, limit: usize) -> sql::Result<Vec<RecentPush>> {
    let mut found: Vec<RecentPush> = Vec::new();
    let repositories = recently_pushed(c, visible, limit.saturating_mul(REPOSITORIES_PER_PUSH))?;
    for RecentRepository { id, name, pushed_at } in repositories {
        // The repositories are sorted too: no tag in this one or in those that follow is newer.
        if found.len() >= limit && found.last().is_some_and(|last| last.at >= pushed_at) {
            break;
        }
        add_tags(c, id, &name, limit, &mut found)?;
        found.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| one.repo.cmp(&other.repo)));
        found.truncate(limit);
    }
    let mut last_change = c.prepare_cached(
        "SELECT h.kind, h.actor FROM repositories r JOIN tag_history h ON h.repo = r.id
         WHERE r.name = ?1 AND h.name = ?2 ORDER BY h.id DESC LIMIT 1",
    )?;
    for push in &mut found {
        let mut rows = last_change.query(params![push.repo.as_str(), push.tag.as_str()])?;
        if let Some(row) = rows.next()? {
            push.kind = Some(row.get(0)?);
            push.by = row.get(1)?;
        }
    }
    Ok(found)
}

fn add_tags(
    c: &dyn Connection,
    id: i64,
    repo: &RepoName,
    limit: usize,
    found: &mut Vec<RecentPush>,
) -> sql::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT t.name, t.updated_at, m.digest
         FROM tags t /* INDEXED BY tags_by_push */ CROSS JOIN manifests m
         WHERE t.repo = ?1 AND m.id = t.manifest ORDER BY t.updated_at DESC, t.name DESC LIMIT ?2",
    )?;
    let rows = query.query_map(params![id, limit], |row| {
        Ok(RecentPush {
            repo: repo.clone(),
            tag: row.get(0)?,
            at: row.get(1)?,
            digest: row.get::<SqlDigest>(2)?.0,
            kind: None,
            by: None,
        })
    })?;
    for push in rows {
        found.push(push?);
    }
    Ok(())
}
