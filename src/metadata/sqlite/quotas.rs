//! Quotas. Triggers keep the usage of each quota current, so that checking a quota only reads its row.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::codec::digest;
use super::relief::{Candidates, Limits};
use super::{Durability, SqliteMetadata, parse_name, repo_id};
use crate::metadata::{
    CollectionRules, Growth, OverQuota, Quota, QuotaUse, Quotas, Reclaimed, Result, Scope, Target,
};
use crate::oci::RepoName;

#[async_trait]
impl Quotas for SqliteMetadata {
    async fn set_quotas(&self, quotas: &[Quota]) -> Result<()> {
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
    }

    async fn quotas(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>> {
        self.read(|c| match repo {
            Some(repo) => list_for(c, repo),
            None => list_all(c),
        })
    }

    async fn measure_quotas(&self, quotas: &[Quota]) -> Result<Vec<QuotaUse>> {
        let quotas = quotas.to_vec();
        self.read_blocking(move |c| quotas.into_iter().map(|quota| measure(c, quota)).collect()).await
    }

    async fn is_counted(&self, repo: &RepoName, target: Target<'_>) -> Result<bool> {
        self.read(|c| match target {
            Target::Blob(wanted) => is_linked(c, repo, &digest(wanted)),
            Target::Manifest(wanted) => c
                .prepare_cached(
                    "SELECT 1 FROM repositories r JOIN manifests m ON m.repo = r.id AND m.digest = ?2
                     WHERE r.name = ?1",
                )?
                .exists(params![repo.as_str(), digest(wanted)]),
        })
    }

    async fn reclaim_now(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
        trash: usize,
        rows: usize,
    ) -> Result<Reclaimed> {
        let scope = scope.clone();
        let rules = *rules;
        let limits = Limits { trash, rows };
        let found = self.read_blocking(move |c| Candidates::find(c, &scope, &rules, limits)).await?;
        if found.is_empty() {
            return Ok(Reclaimed::default());
        }
        self.write(Durability::Full, move |c| found.remove(c, &rules, rows)).await
    }
}

/// Records a quota with its current usage.
fn insert(c: &Connection, quota: &Quota) -> rusqlite::Result<()> {
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
        used.bytes.cast_signed(),
        used.tags.cast_signed(),
        used.repositories.cast_signed(),
    ])
    .map(drop)
}

/// Sums the current usage of a quota.
fn measure(c: &Connection, quota: Quota) -> rusqlite::Result<QuotaUse> {
    let mut query = c.prepare_cached(
        "SELECT coalesce(sum(bytes + manifest_bytes), 0), coalesce(sum(tags), 0), count(*) FROM repositories
         WHERE ?1 IN ('', name) OR (substr(?1, -1) = '/' AND substr(name, 1, length(?1)) = ?1)",
    )?;
    let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let (bytes, tags, repositories) = query
        .query_row([quota.scope.as_str()], |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?)))?;
    Ok(QuotaUse { quota, bytes, tags, repositories })
}

/// Whether any quota exists. Usually there is none.
pub(super) fn has_any(c: &Connection) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM quotas LIMIT 1")?.exists([])
}

/// Finds a quota that this growth of `repo` would exceed. The repository may be new.
pub(super) fn check(c: &Connection, repo: &RepoName, growth: Growth) -> rusqlite::Result<Option<OverQuota>> {
    let repositories = u64::from(repo_id(c, repo)?.is_none());
    let growth = Growth { repositories, ..growth };
    Ok(list_for(c, repo)?.iter().find_map(|quota| quota.refuses(growth)))
}

/// Finds a quota that a link to a blob of this size would exceed. An existing link adds nothing.
pub(super) fn check_link(
    c: &Connection,
    repo: &RepoName,
    target: &[u8],
    size: u64,
) -> rusqlite::Result<Option<OverQuota>> {
    if is_linked(c, repo, target)? { Ok(None) } else { check(c, repo, Growth::of_bytes(size)) }
}

fn is_linked(c: &Connection, repo: &RepoName, target: &[u8]) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM repositories r JOIN links l ON l.repo = r.id AND l.digest = ?2 WHERE r.name = ?1",
    )?
    .exists(params![repo.as_str(), target])
}

/// Runs a change whose growth is known only afterwards, and rolls it back if it exceeded a quota.
pub(super) fn within<T>(
    c: &Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<std::result::Result<T, OverQuota>> {
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

fn list_all(c: &Connection) -> rusqlite::Result<Vec<QuotaUse>> {
    let mut query = c.prepare_cached(
        "SELECT prefix, bytes, tags, repositories, used_bytes, used_tags, used_repositories FROM quotas
         ORDER BY prefix",
    )?;
    query.query_map([], quota_use)?.collect()
}

fn list_for(c: &Connection, repo: &RepoName) -> rusqlite::Result<Vec<QuotaUse>> {
    let mut query = c.prepare_cached(
        "SELECT prefix, bytes, tags, repositories, used_bytes, used_tags, used_repositories FROM quotas
         WHERE prefix IN ('', ?1) OR (substr(prefix, -1) = '/' AND substr(?1, 1, length(prefix)) = prefix)",
    )?;
    query.query_map([repo.as_str()], quota_use)?.collect()
}

fn quota_use(row: &Row<'_>) -> rusqlite::Result<QuotaUse> {
    let scope: Scope = parse_name(row.get_ref(0)?.as_str()?, 0)?;
    let limit = |column| row.get::<_, Option<i64>>(column).map(|limit| limit.map(i64::cast_unsigned));
    let used = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(QuotaUse {
        quota: Quota { scope, bytes: limit(1)?, tags: limit(2)?, repositories: limit(3)? },
        bytes: used(4)?,
        tags: used(5)?,
        repositories: used(6)?,
    })
}
