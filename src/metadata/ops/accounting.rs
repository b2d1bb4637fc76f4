//! Keeps the sums: totals of the store, usage of each repository and usage of each quota. Every function that adds,
//! changes or removes counted rows calls this module in the same transaction, so that the sums are exact at every
//! COMMIT. `verify.rs` recomputes all of them.
//!
//! `ops` orders the manifests and the history of a repository by the ids of rows. That is the order of their
//! commits, even with several writers: a transaction that inserts such a row also changes the row of its repository
//! here, and a database with serializable transactions does not let two of these overlap.

use crate::clock::Timestamp;
use crate::metadata::sql::{self, Connection, Row, params};
use crate::metadata::{BlobSize, Durability, Metadata, Operation, Result};

/// Milliseconds in a day.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

impl Metadata {
    /// Records the totals for the day of `now`, if they have changed. The write need not be durable at once.
    pub async fn record_day(&self, now: Timestamp) -> Result<()> {
        self.perform(Operation::RecordDay, async {
            let day = now.0.div_euclid(DAY_MILLIS);
            if self.read(|c| is_day_recorded(c, day))? {
                return Ok(());
            }
            self.write(Durability::Lazy, move |c| record_day(c, day)).await
        })
        .await
    }
}

/// Changes the number of uploads by `by`, which may be negative.
pub(in crate::metadata) fn adjust_uploads(c: &dyn Connection, by: i64) -> sql::Result<()> {
    c.prepare_cached("UPDATE totals SET uploads = uploads + ?1 WHERE id = 1")?.execute([by]).map(drop)
}

/// Changes the number of blobs by `by` blobs of this size, which have no links.
pub(in crate::metadata) fn adjust_blobs(c: &dyn Connection, size: BlobSize, by: i64) -> sql::Result<()> {
    adjust_totals(c, Sums::default().plus(size, by))
}

/// Counts that the size of a blob changed, in the totals and in the repositories that link it.
pub(in crate::metadata) fn resize_blob(
    c: &dyn Connection,
    target: &[u8],
    before: BlobSize,
    after: BlobSize,
) -> sql::Result<()> {
    if before == after {
        return Ok(());
    }
    let change = Sums::default().plus(after, 1).plus(before, -1);
    adjust_totals(c, change)?;
    let repositories = c
        .prepare_cached("SELECT repo FROM links WHERE digest = ?1")?
        .query_map([target], |row| row.get(0))?
        .collect::<sql::Result<Vec<i64>>>()?;
    let own = if repositories.len() == 1 { change } else { Sums::default() };
    repositories.into_iter().try_for_each(|repo| adjust_usage(c, repo, change, own))
}

/// Adds (`by` is 1) or removes (-1) a repository's link to a blob. A blob is a repository's own while no other one
/// links it. Returns the blob's number of links.
pub(in crate::metadata) fn adjust_links(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    by: i64,
) -> sql::Result<i64> {
    let (size, links) = c
        .prepare_cached(
            "UPDATE blobs SET links = links + ?2 WHERE digest = ?1 RETURNING size, allocated, links",
        )?
        .query_row(params![target, by], |row| Ok((read_size(row)?, row.get::<i64>(2)?)))?;
    let change = Sums::default().plus(size, by);
    let others = if by > 0 { links - by } else { links };
    adjust_usage(c, repo, change, if others == 0 { change } else { Sums::default() })?;
    if others == 1 {
        c.prepare_cached(
            "UPDATE repositories SET own_bytes = own_bytes - ?3, own_allocated = own_allocated - ?4
             WHERE id = (SELECT repo FROM links WHERE digest = ?1 AND repo <> ?2)",
        )?
        .execute(params![target, repo, change.bytes, change.allocated])?;
    }
    Ok(links)
}

/// Changes the number of pending deletions by `by` for each of these sizes.
pub(in crate::metadata) fn adjust_pending_deletions(
    c: &dyn Connection,
    sizes: impl IntoIterator<Item = BlobSize>,
    by: i64,
) -> sql::Result<()> {
    let change = sizes.into_iter().fold(Sums::default(), |sums, size| sums.plus(size, by));
    if change.count == 0 {
        return Ok(());
    }
    c.prepare_cached(
        "UPDATE totals SET doomed = doomed + ?1, doomed_bytes = doomed_bytes + ?2,
                           doomed_allocated = doomed_allocated + ?3
         WHERE id = 1",
    )?
    .execute([change.count, change.bytes, change.allocated])
    .map(drop)
}

/// Reads the size of a blob or pending deletion from the columns `size` and `allocated`.
pub(in crate::metadata) fn read_size(row: Row<'_>) -> sql::Result<BlobSize> {
    Ok(BlobSize { logical: row.get(0)?, allocated: row.get(1)? })
}

/// Counts `by` new manifests of `size` bytes, live or not.
pub(in crate::metadata) fn change_manifests(
    c: &dyn Connection,
    repo: i64,
    size: i64,
    by: i64,
) -> sql::Result<()> {
    let bytes = by * size;
    c.prepare_cached("UPDATE totals SET manifests = manifests + ?1 WHERE id = 1")?.execute([by])?;
    c.prepare_cached(
        "UPDATE repositories SET manifests = manifests + ?2, manifest_bytes = manifest_bytes + ?3 WHERE id = ?1",
    )?
    .execute([repo, by, bytes])?;
    adjust_quotas(c, repo, QuotaGrowth { bytes, ..QuotaGrowth::default() })
}

/// Counts `by` manifests that became live.
pub(in crate::metadata) fn change_live(c: &dyn Connection, repo: i64, by: i64) -> sql::Result<()> {
    c.prepare_cached("UPDATE repositories SET live = live + ?2 WHERE id = ?1")?.execute([repo, by]).map(drop)
}

/// Counts `by` new tags.
pub(in crate::metadata) fn change_tags(c: &dyn Connection, repo: i64, by: i64) -> sql::Result<()> {
    c.prepare_cached("UPDATE repositories SET tags = tags + ?2 WHERE id = ?1")?.execute([repo, by])?;
    adjust_quotas(c, repo, QuotaGrowth { tags: by, ..QuotaGrowth::default() })
}

/// Counts `by` new rows of history. Returns how many rows the repository has.
pub(in crate::metadata) fn change_history(c: &dyn Connection, repo: i64, by: i64) -> sql::Result<i64> {
    c.prepare_cached("UPDATE repositories SET history = history + ?2 WHERE id = ?1 RETURNING history")?
        .query_row([repo, by], |row| row.get(0))
}

/// Records when a manifest or tag was pushed.
pub(in crate::metadata) fn record_push(c: &dyn Connection, repo: i64, at: Timestamp) -> sql::Result<()> {
    c.prepare_cached("UPDATE repositories SET pushed_at = ?2 WHERE id = ?1 AND pushed_at < ?2")?
        .execute(params![repo, at])
        .map(drop)
}

/// Records when a manifest was pulled.
pub(in crate::metadata) fn record_pull(c: &dyn Connection, repo: i64, at: Timestamp) -> sql::Result<()> {
    c.prepare_cached("UPDATE repositories SET pulled_at = ?2 WHERE id = ?1 AND pulled_at < ?2")?
        .execute(params![repo, at])
        .map(drop)
}

/// Counts a repository `by` times in the quotas that apply to its name. A rename removes it from those of the old name
/// first.
pub(in crate::metadata) fn change_repositories(c: &dyn Connection, repo: i64, by: i64) -> sql::Result<()> {
    let growth = c
        .prepare_cached("SELECT bytes + manifest_bytes, tags FROM repositories WHERE id = ?1")?
        .query_row([repo], |row| {
            Ok(QuotaGrowth {
                bytes: by * row.get::<i64>(0)?,
                tags: by * row.get::<i64>(1)?,
                repositories: by,
            })
        })?;
    adjust_quotas(c, repo, growth)
}

/// Changes of a number of blobs and of the sums of their sizes.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: i64,
    bytes: i64,
    allocated: i64,
}

impl Sums {
    /// Adds `by` blobs of this size.
    fn plus(self, size: BlobSize, by: i64) -> Self {
        Self {
            count: self.count + by,
            bytes: self.bytes + by * size.logical.cast_signed(),
            allocated: self.allocated + by * size.allocated.cast_signed(),
        }
    }
}

fn adjust_totals(c: &dyn Connection, change: Sums) -> sql::Result<()> {
    c.prepare_cached(
        "UPDATE totals SET blobs = blobs + ?1, bytes = bytes + ?2, allocated = allocated + ?3 WHERE id = 1",
    )?
    .execute([change.count, change.bytes, change.allocated])
    .map(drop)
}

/// Changes the usage of a repository: `all` for all of its blobs, `own` for those that no other repository links.
fn adjust_usage(c: &dyn Connection, repo: i64, all: Sums, own: Sums) -> sql::Result<()> {
    c.prepare_cached(
        "UPDATE repositories SET blobs = blobs + ?2, bytes = bytes + ?3, allocated = allocated + ?4,
                                 own_bytes = own_bytes + ?5, own_allocated = own_allocated + ?6
         WHERE id = ?1",
    )?
    .execute([repo, all.count, all.bytes, all.allocated, own.bytes, own.allocated])?;
    adjust_quotas(c, repo, QuotaGrowth { bytes: all.bytes, ..QuotaGrowth::default() })
}

/// Changes of what a quota limits.
#[derive(Clone, Copy, Default)]
struct QuotaGrowth {
    bytes: i64,
    tags: i64,
    repositories: i64,
}

/// Changes the usage of the quotas that apply to a repository.
fn adjust_quotas(c: &dyn Connection, repo: i64, growth: QuotaGrowth) -> sql::Result<()> {
    c.prepare_cached(
        "UPDATE quotas SET used_bytes = used_bytes + ?2, used_tags = used_tags + ?3,
                           used_repositories = used_repositories + ?4
         WHERE EXISTS (SELECT 1 FROM repositories r
                       WHERE r.id = ?1 AND (prefix IN ('', r.name)
                          OR (prefix LIKE '%/' AND substr(r.name, 1, length(prefix)) = prefix)))",
    )?
    .execute([repo, growth.bytes, growth.tags, growth.repositories])
    .map(drop)
}

/// Whether the row of `day` equals the totals.
fn is_day_recorded(c: &dyn Connection, day: i64) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM usage_days d, totals t WHERE d.day = ?1 AND t.id = 1 AND d.blobs = t.blobs
         AND d.bytes = t.bytes AND d.allocated = t.allocated AND d.manifests = t.manifests",
    )?
    .exists([day])
}

fn record_day(c: &dyn Connection, day: i64) -> sql::Result<()> {
    c.prepare_cached(
        "INSERT INTO usage_days (day, blobs, bytes, allocated, manifests)
         SELECT ?1, blobs, bytes, allocated, manifests FROM totals WHERE id = 1
         ON CONFLICT (day) DO UPDATE SET blobs = excluded.blobs, bytes = excluded.bytes,
                                         allocated = excluded.allocated, manifests = excluded.manifests",
    )?
    .execute([day])
    .map(drop)
}
