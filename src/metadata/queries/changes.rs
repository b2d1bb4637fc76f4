//! Which repositories have changed, for clients that show them live.

use crate::metadata::sql::{self, Connection, params};
use crate::metadata::{ChangedRepositories, Metadata, Operation, Result};

impl Metadata {
    /// Returns the id of the newest change of a tag; 0 if there is none.
    pub async fn last_tag_change(&self) -> Result<i64> {
        self.query(Operation::LastTagChange, |c| {
            c.prepare_cached("SELECT coalesce(max(id), 0) FROM tag_history")?.query_row([], |row| row.get(0))
        })
        .await
    }

    /// Returns the repositories of the first `limit` changes of tags after the change `after`.
    pub async fn changed_repositories(&self, after: i64, limit: usize) -> Result<ChangedRepositories> {
        self.query(Operation::ChangedRepositories, |c| changed_repositories(c, after, limit)).await
    }
}

fn changed_repositories(c: &dyn Connection, after: i64, limit: usize) -> sql::Result<ChangedRepositories> {
    let mut query = c.prepare_cached(
        "SELECT h.id, r.name FROM tag_history h CROSS JOIN repositories r
         WHERE h.id > ?1 AND r.id = h.repo ORDER BY h.id LIMIT ?2",
    )?;
    let mut found = ChangedRepositories { last: after, names: Vec::new() };
    for row in query.query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (id, name) = row?;
        found.last = id;
        if !found.names.contains(&name) {
            found.names.push(name);
        }
    }
    Ok(found)
}
