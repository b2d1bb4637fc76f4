//! Changes of the metadata, with the rules of the registry.

pub(in crate::metadata) mod accounting;
pub(in crate::metadata) mod accounts;
pub(in crate::metadata) mod adoption;
pub(in crate::metadata) mod audit;
pub(in crate::metadata) mod blobs;
pub(in crate::metadata) mod clock;
pub(in crate::metadata) mod events;
pub(in crate::metadata) mod expiry;
pub(in crate::metadata) mod gc;
pub(in crate::metadata) mod liveness;
pub(in crate::metadata) mod log_limits;
pub(in crate::metadata) mod maintenance;
pub(in crate::metadata) mod manifests;
pub(in crate::metadata) mod pins;
pub(in crate::metadata) mod policies;
pub(in crate::metadata) mod quotas;
pub(in crate::metadata) mod references;
pub(in crate::metadata) mod repositories;
pub(in crate::metadata) mod runs;
pub(in crate::metadata) mod scrub;
pub(in crate::metadata) mod sessions;
pub(in crate::metadata) mod tags;
pub(in crate::metadata) mod undo;
pub(in crate::metadata) mod uploads;
pub(in crate::metadata) mod verify;

use crate::clock::Timestamp;
use crate::metadata::sql::{self, Connection, OptionalExtension, params};
use crate::oci::RepoName;

/// Finds the id of a repository.
pub(in crate::metadata) fn repo_id(connection: &dyn Connection, name: &RepoName) -> sql::Result<Option<i64>> {
    let mut query = connection.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?;
    query.query_row([name.as_str()], |row| row.get(0)).optional()
}

/// Returns the id of a repository and creates the repository if it does not exist.
pub(in crate::metadata) fn ensure_repo(
    connection: &dyn Connection,
    name: &RepoName,
    now: Timestamp,
) -> sql::Result<i64> {
    if let Some(id) = repo_id(connection, name)? {
        return Ok(id);
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO repositories (name, created_at) VALUES (?1, ?2)")?;
    let repo = insert.insert(params![name.as_str(), now])?;
    accounting::change_repositories(connection, repo, 1)?;
    Ok(repo)
}
