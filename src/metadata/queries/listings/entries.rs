//! Reads single entries of lists by their keys.

use crate::clock::Timestamp;
use crate::metadata::image_details;
use crate::metadata::sql::SqlDigest;
use crate::metadata::sql::{Connection, OptionalExtension, Row, Statement, params};
use crate::metadata::{MAX_ALIASES, MAX_RELATED, ManifestEntry, Related, RepositoryEntry, TagEntry, sql};
use crate::oci::{index_members, platforms};

/// Size limit of the indexes whose platforms a list shows, in bytes. Indexes in practice are far smaller.
const MAX_INDEX_BYTES: i64 = 256 << 10;

/// Sums the sizes of the blobs of the manifest `m` and of its children, counting each blob once.
pub(in crate::metadata) const SIZE: &str = "
    WITH RECURSIVE parts (id) AS (
        SELECT m.id UNION
        SELECT c.id FROM parts p JOIN edges e ON e.manifest = p.id AND e.kind = 1
                    JOIN manifests c ON c.repo = e.repo AND c.digest = e.target)
    SELECT CAST(coalesce(sum(b.size), 0) AS BIGINT) FROM blobs b
    WHERE b.digest IN (SELECT e.target FROM parts p JOIN edges e ON e.manifest = p.id WHERE e.kind = 0)";

/// An entry of a tag, and how many bytes of an index were read for it.
pub(in crate::metadata) struct TagRead {
    pub(in crate::metadata) entry: TagEntry,
    pub(in crate::metadata) read: usize,
}

pub(in crate::metadata) fn repository(c: &dyn Connection, id: i64) -> sql::Result<Option<RepositoryEntry>> {
    let mut query = c.prepare_cached(
        "SELECT name, tags, live, bytes, pushed_at, pulled_at, description FROM repositories WHERE id = ?1",
    )?;
    let entry = |row: Row<'_>| {
        Ok(RepositoryEntry {
            name: row.get(0)?,
            tags: row.get(1)?,
            manifests: row.get(2)?,
            bytes: row.get(3)?,
            pushed_at: row.get(4)?,
            pulled_at: read_time(row, 5)?,
            description: row.get(6)?,
        })
    };
    query.query_row([id], entry).optional()
}

pub(in crate::metadata) fn tag(c: &dyn Connection, repo: i64, name: &str) -> sql::Result<Option<TagRead>> {
    let found = "JOIN tags t ON t.manifest = m.id WHERE t.repo = ?1 AND t.name = ?2";
    let mut query = manifest_query(c, "t.name, t.updated_at", found)?;
    let entry = |row: Row<'_>| {
        let entry = TagEntry {
            name: row.get(0)?,
            pushed_at: row.get(1)?,
            manifest: manifest_row(row)?,
            pushed_by: None,
            aliases: Vec::new(),
        };
        Ok(TagRead { entry, read: row.blob_or_null(9)?.map_or(0, <[u8]>::len) })
    };
    let Some(mut found) = query.query_row(params![repo, name], entry).optional()? else {
        return Ok(None);
    };
    let mut pushed_by = c.prepare_cached(LAST_CHANGE_BY)?;
    let pushed_by = pushed_by.query_row(params![repo, name], |row| row.get(0)).optional()?;
    found.entry.pushed_by = pushed_by.flatten();
    let mut aliases = c.prepare_cached(ALIASES)?;
    let aliases = aliases.query_map(params![repo, name, MAX_ALIASES], |row| row.get(0))?;
    found.entry.aliases = aliases.collect::<sql::Result<_>>()?;
    found.entry.aliases.sort();
    Ok(Some(found))
}

/// Finds who made the last change of a tag.
pub(in crate::metadata) const LAST_CHANGE_BY: &str =
    "SELECT actor FROM tag_history WHERE repo = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1";

/// Finds some other tags of the manifest that a tag points at. Sorting would read all of them, which may be thousands.
pub(in crate::metadata) const ALIASES: &str = "
    SELECT a.name FROM tags t CROSS JOIN tags a /* INDEXED BY tags_by_manifest */
    WHERE t.repo = ?1 AND t.name = ?2 AND a.manifest = t.manifest AND a.name <> ?2 LIMIT ?3";

pub(in crate::metadata) fn manifest(
    c: &dyn Connection,
    repo: i64,
    digest: &[u8],
) -> sql::Result<Option<(ManifestEntry, Related)>> {
    let Some((id, entry)) = live_manifest(c, repo, digest)? else {
        return Ok(None);
    };
    Ok(Some((entry, related(c, repo, id, digest)?)))
}

/// Returns the size of the content of a manifest, whether it is live or in the trash.
pub(in crate::metadata) fn content_size(
    c: &dyn Connection,
    repo: i64,
    digest: &[u8],
) -> sql::Result<Option<u64>> {
    let sql = format!("SELECT ({SIZE}) FROM manifests m WHERE m.repo = ?1 AND m.digest = ?2 AND m.state < 2");
    c.prepare_cached(&sql)?.query_row(params![repo, digest], |row| row.get(0)).optional()
}

/// Reads a live manifest and its id.
pub(in crate::metadata) fn live_manifest(
    c: &dyn Connection,
    repo: i64,
    digest: &[u8],
) -> sql::Result<Option<(i64, ManifestEntry)>> {
    let mut query =
        manifest_query(c, "m.id, m.pushed_at", "WHERE m.repo = ?1 AND m.digest = ?2 AND m.state = 0")?;
    query.query_row(params![repo, digest], |row| Ok((row.get(0)?, manifest_row(row)?))).optional()
}

/// Returns the size of the blobs of each of these live manifests and of their children.
pub(in crate::metadata) fn content_sizes(
    c: &dyn Connection,
    repo: i64,
    wanted: &[Vec<u8>],
) -> sql::Result<Vec<Option<u64>>> {
    let mut query = c.prepare_cached(&format!(
        "SELECT ({SIZE}) FROM manifests m WHERE m.repo = ?1 AND m.digest = ?2 AND m.state = 0"
    ))?;
    wanted.iter().map(|digest| query.query_row(params![repo, digest], |row| row.get(0)).optional()).collect()
}

/// Prepares a query for manifests: two columns `before`, then those that [`manifest_row`] reads.
fn manifest_query<'c>(c: &'c dyn Connection, before: &str, found: &str) -> sql::Result<Statement<'c>> {
    c.prepare_cached(&format!(
        "SELECT {before}, m.digest, m.media_type, m.artifact_type, m.size, m.pushed_at, m.pulled_at, ({SIZE}),
                CASE WHEN m.size <= {MAX_INDEX_BYTES} AND EXISTS (
                         SELECT 1 FROM edges e WHERE e.manifest = m.id AND e.kind = 1) THEN m.content END,
                (SELECT c.platforms FROM configs c WHERE c.digest = m.config), m.details
         FROM manifests m {found}"
    ))
}

fn manifest_row(row: Row<'_>) -> sql::Result<ManifestEntry> {
    let index = row.blob_or_null(9)?;
    let in_index = || index.map(|index| platforms(&index_members(index))).unwrap_or_default();
    Ok(ManifestEntry {
        digest: row.get::<SqlDigest>(2)?.0,
        media_type: row.get(3)?,
        artifact_type: row.get(4)?,
        manifest_size: row.get(5)?,
        pushed_at: row.get(6)?,
        pulled_at: read_time(row, 7)?,
        size: row.get(8)?,
        platforms: image_details::listed_platforms(row, 10, 11)?.unwrap_or_else(in_index),
    })
}

fn related(c: &dyn Connection, repo: i64, id: i64, digest: &[u8]) -> sql::Result<Related> {
    let most = MAX_RELATED;
    let mut tags = c.prepare_cached("SELECT name FROM tags WHERE manifest = ?1 ORDER BY name LIMIT ?2")?;
    let tags = tags.query_map(params![id, most], |row| row.get(0))?;
    let mut references = c.prepare_cached(REFERENCES)?;
    let references = references
        .query_map(params![id, most], |row| Ok((row.get::<SqlDigest>(0)?.0, row.get(1)?, row.get(2)?)))?;
    let mut indexes = c.prepare_cached(INDEXES)?;
    let indexes = indexes.query_map(params![repo, digest, most], |row| Ok(row.get::<SqlDigest>(0)?.0))?;
    Ok(Related {
        tags: tags.collect::<sql::Result<_>>()?,
        references: references.collect::<sql::Result<_>>()?,
        indexes: indexes.collect::<sql::Result<_>>()?,
    })
}

const REFERENCES: &str = "
    SELECT e.target, e.kind,
           CASE e.kind WHEN 0 THEN EXISTS (SELECT 1 FROM links l
                                           WHERE l.repo = e.repo AND l.digest = e.target AND l.hidden_at IS NULL)
                       ELSE EXISTS (SELECT 1 FROM manifests m
                                    WHERE m.repo = e.repo AND m.digest = e.target AND m.state = 0) END
    FROM edges e WHERE e.manifest = ?1 ORDER BY e.target LIMIT ?2";

const INDEXES: &str = "
    SELECT m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
    WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.state = 0 ORDER BY e.manifest LIMIT ?3";

/// Reads a time; 0 stands for none.
fn read_time(row: Row<'_>, column: usize) -> sql::Result<Option<Timestamp>> {
    Ok(Some(row.get(column)?).filter(|at| *at != Timestamp(0)))
}
