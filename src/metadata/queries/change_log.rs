//! The latest changes of tags and repositories, in one list.

use crate::metadata::ops::repo_id;
use crate::metadata::ops::undo::history::read_entry;
use crate::metadata::sql::{self, Connection, limit_plus_one, params};
use crate::metadata::{ChangeQuery, Metadata, Operation, RecentChange, RecentChanges, Result, Visible};
use crate::oci::RepoName;

/// The number of rows of the history that are examined for a page.
const MAX_EXAMINED: usize = 2_000;

impl Metadata {
    /// Returns up to `limit` changes in the `visible` repositories, newest first. Reads a bounded number of rows, so a
    /// page may be short or empty although more follow.
    pub async fn recent_changes(
        &self,
        query: &ChangeQuery,
        visible: &Visible,
        limit: usize,
    ) -> Result<RecentChanges> {
        let query = query.clone();
        let visible = visible.clone();
        self.query_page(Operation::RecentChanges, move |c| read_page(c, &query, &visible, limit)).await
    }
}

fn read_page(
    c: &dyn Connection,
    query: &ChangeQuery,
    visible: &Visible,
    limit: usize,
) -> sql::Result<RecentChanges> {
    let mut page = RecentChanges::default();
    let repo = match &query.repository {
        None => None,
        Some(name) => match repo_id(c, name)? {
            Some(id) => Some(id),
            None => return Ok(page),
        },
    };
    let before = query.before.unwrap_or(i64::MAX);
    let max_rows = limit_plus_one(MAX_EXAMINED);
    let mut found = match repo {
        None => c.prepare_cached(
            "SELECT h.id, h.at, h.kind, h.digest, h.was, h.actor, h.reason, r.name, h.name
             FROM tag_history h CROSS JOIN repositories r
             WHERE h.id < ?1 AND r.id = h.repo AND CAST(?3 AS BIGINT) IS NULL ORDER BY h.id DESC LIMIT ?2",
        )?,
        Some(_) => c.prepare_cached(
            "SELECT h.id, h.at, h.kind, h.digest, h.was, h.actor, h.reason, r.name, h.name
             FROM repositories r CROSS JOIN tag_history h /* INDEXED BY tag_history_by_repository */
             WHERE r.id = ?3 AND h.repo = ?3 AND h.id < ?1 ORDER BY h.id DESC LIMIT ?2",
        )?,
    };
    let mut rows = found.query(params![before, max_rows, repo])?;
    let mut examined = 0;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.items.len() == limit || examined == MAX_EXAMINED {
            page.next = last;
            return Ok(page);
        }
        examined += 1;
        let entry = read_entry(row)?;
        last = Some(entry.id);
        let repo: RepoName = row.get(7)?;
        let is_wanted = query.kind.is_none_or(|kind| kind == entry.kind);
        if is_wanted && visible.shows(&repo) {
            let name: String = row.get(8)?;
            page.items.push(RecentChange { repo, tag: name.parse().ok(), entry });
        }
    }
    Ok(page)
}
