//! Quotas. `accounting.rs` keeps the usage of each quota current, so that checking a quota only reads its row.

use crate::metadata::ops::repo_id;
use crate::metadata::sql::{self, Connection, Row, digest, params};
use crate::metadata::{
    Durability, Growth, Metadata, Operation, OverQuota, Quota, QuotaUse, Result, Scope, Target,
};
use crate::oci::RepoName;

impl Metadata {
    /// Replaces the quotas in force. The usage of a new quota is computed.
    pub async fn set_quotas(&self, quotas: &[Quota]) -> Result<()> {
        self.perform(Operation::SetQuotas, async {
            let current: Vec<Quota> = self.quotas(None).await?.into_iter().map(|found| found.quota).collect();
            let mut wanted = quotas.to_vec();
            wanted.sort_by(|one, other| one.scope.as_str().cmp(other.scope.as_str()));
            if current == wanted {
                return Ok(());
            }
            self.write(Durability::Full, move |c| {
                c.execute("DELETE FROM quotas", [])?;
                wanted.iter().try_for_each(|quota| insert(c, quota))
            })
            .await
        })
        .await
    }

    /// Returns the quotas that apply to `repo`, or all quotas for `None`, with their usage.
    pub async fn quotas(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>> {
        self.query(Operation::Quotas, |c| match repo {
            Some(repo) => list_for(c, repo),
            None => list_all(c),
        })
        .await
    }

    /// Returns the usage of these quotas, whether they are in force or not. Reads every repository of each.
    pub async fn measure_quotas(&self, quotas: &[Quota]) -> Result<Vec<QuotaUse>> {
        let quotas = quotas.to_vec();
        self.query_blocking(Operation::MeasureQuotas, move |c| {
            quotas.into_iter().map(|quota| measure(c, quota)).collect()
        })
        .await
    }

    /// Returns whether `repo` has this manifest in any state, or a link to this blob. Storing it again then
    /// adds nothing.
    pub async fn is_counted(&self, repo: &RepoName, target: Target<'_>) -> Result<bool> {
        self.query(Operation::IsCounted, |c| match target {
            Target::Blob(wanted) => is_linked(c, repo, &digest(wanted)),
            Target::Manifest(wanted) => c
                .prepare_cached(
                    "SELECT 1 FROM repositories r JOIN manifests m ON m.repo = r.id AND m.digest = ?2
                     WHERE r.name = ?1",
                )?
                .exists(params![repo.as_str(), digest(wanted)]),
        })
        .await
    }
}

/// Records a quota with its current usage.
fn insert(c: &dyn Connection, quota: &Quota) -> sql::Result<()> {
    let used = measure(c, quota.clone())?;
    c.prepare_cached(
        "INSERT INTO quotas (prefix, bytes, tags, repositories, used_bytes, used_tags, used_repositories)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        quota.scope.as_str(),
        quota.bytes.map(u64::cast_signed),
        quota.tags.map(u64::cast_signed),
        quota.repositories.map(u64::cast_signed),
        used.bytes,
        used.tags,
        used.repositories,
    ])
    .map(drop)
}

/// Sums the current usage of a quota.
fn measure(c: &dyn Connection, quota: Quota) -> sql::Result<QuotaUse> {
    let mut query = c.prepare_cached(
        "SELECT coalesce(sum(bytes + manifest_bytes), 0), coalesce(sum(tags), 0), count(*) FROM repositories
         WHERE ?1 IN ('', name) OR (?1 LIKE '%/' AND substr(name, 1, length(?1)) = ?1)",
    )?;
    let count = |row: Row<'_>, column| row.get::<u64>(column);
    let (bytes, tags, repositories) = query
        .query_row([quota.scope.as_str()], |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?)))?;
    Ok(QuotaUse { quota, bytes, tags, repositories })
}

/// Whether any quota exists. Usually there is none.
pub(in crate::metadata) fn has_any(c: &dyn Connection) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM quotas LIMIT 1")?.exists([])
}

/// Finds a quota that this growth of `repo` would exceed. The repository may be new.
pub(in crate::metadata) fn check(
    c: &dyn Connection,
    repo: &RepoName,
    growth: Growth,
) -> sql::Result<Option<OverQuota>> {
    let repositories = u64::from(repo_id(c, repo)?.is_none());
    let growth = Growth { repositories, ..growth };
    Ok(list_for(c, repo)?.iter().find_map(|quota| quota.refuses(growth)))
}

/// Finds a quota that a link to a blob of this size would exceed. An existing link adds nothing.
pub(in crate::metadata) fn check_link(
    c: &dyn Connection,
    repo: &RepoName,
    target: &[u8],
    size: u64,
) -> sql::Result<Option<OverQuota>> {
    if is_linked(c, repo, target)? { Ok(None) } else { check(c, repo, Growth::of_bytes(size)) }
}

fn is_linked(c: &dyn Connection, repo: &RepoName, target: &[u8]) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM repositories r JOIN links l ON l.repo = r.id AND l.digest = ?2 WHERE r.name = ?1",
    )?
    .exists(params![repo.as_str(), target])
}

/// Runs a change whose growth is known only afterwards, and rolls it back if it exceeded a quota.
pub(in crate::metadata) fn within<T>(
    c: &dyn Connection,
    change: impl FnOnce(&dyn Connection) -> sql::Result<T>,
) -> sql::Result<std::result::Result<T, OverQuota>> {
    if !has_any(c)? {
        return change(c).map(Ok);
    }
    let before = list_all(c)?;
    c.execute_batch("SAVEPOINT within_quotas")?;
    let done = change(c)?;
    let over = before
        .iter()
        .zip(list_all(c)?)
        .find_map(|(before, after)| before.refuses(after.growth_since(before)));
    match over {
        None => c.execute_batch("RELEASE within_quotas").map(|()| Ok(done)),
        Some(over) => c.execute_batch("ROLLBACK TO within_quotas; RELEASE within_quotas").map(|()| Err(over)),
    }
}

impl QuotaUse {
    fn growth_since(&self, before: &Self) -> Growth {
        Growth {
            bytes: self.bytes.saturating_sub(before.bytes),
            tags: self.tags.saturating_sub(before.tags),
            repositories: self.repositories.saturating_sub(before.repositories),
        }
    }
}

fn list_all(c: &dyn Connection) -> sql::Result<Vec<QuotaUse>> {
    let mut query = c.prepare_cached(
        "SELECT prefix, bytes, tags, repositories, used_bytes, used_tags, used_repositories FROM quotas
         ORDER BY prefix",
    )?;
    query.query_map([], quota_use)?.collect()
}

fn list_for(c: &dyn Connection, repo: &RepoName) -> sql::Result<Vec<QuotaUse>> {
    let mut query = c.prepare_cached(
        "SELECT prefix, bytes, tags, repositories, used_bytes, used_tags, used_repositories FROM quotas
         WHERE prefix IN ('', ?1) OR (prefix LIKE '%/' AND substr(?1, 1, length(prefix)) = prefix)",
    )?;
    query.query_map([repo.as_str()], quota_use)?.collect()
}

fn quota_use(row: Row<'_>) -> sql::Result<QuotaUse> {
    let scope: Scope = row.get(0)?;
    let limit = |column| row.get::<Option<u64>>(column);
    let used = |column| row.get::<u64>(column);
    Ok(QuotaUse {
        quota: Quota { scope, bytes: limit(1)?, tags: limit(2)?, repositories: limit(3)? },
        bytes: used(4)?,
        tags: used(5)?,
        repositories: used(6)?,
    })
}
