//! Quotas: what is used of each is kept current by triggers, so that checking one is reading its row.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{Durability, SqliteMetadata, name_from};
use crate::metadata::{OverQuota, Quota, QuotaUse, Quotas, Result, Scope};
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
            Some(repo) => of(c, repo),
            None => {
                let mut query =
                    c.prepare_cached("SELECT prefix, bytes, tags, used_bytes, used_tags FROM quotas")?;
                query.query_map([], quota_use)?.collect()
            }
        })
    }
}

/// Records a quota, and adds up what is used of it.
fn insert(c: &Connection, quota: &Quota) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO quotas (prefix, bytes, tags, used_bytes, used_tags)
         SELECT ?1, ?2, ?3, coalesce(sum(bytes), 0), coalesce(sum(tags), 0) FROM repositories
         WHERE ?1 IN ('', name) OR (substr(?1, -1) = '/' AND substr(name, 1, length(?1)) = ?1)",
    )?
    .execute(params![
        quota.scope.as_str(),
        quota.bytes.map(u64::cast_signed),
        quota.tags.map(u64::cast_signed)
    ])
    .map(drop)
}

/// Whether there is any quota at all: mostly there is none.
pub(super) fn any(c: &Connection) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM quotas LIMIT 1")?.exists([])
}

/// What stands in the way of so much more in `repo`.
pub(super) fn refusal(
    c: &Connection,
    repo: &RepoName,
    bytes: u64,
    tags: u64,
) -> rusqlite::Result<Option<OverQuota>> {
    Ok(of(c, repo)?.iter().find_map(|quota| quota.refuses(bytes, tags)))
}

/// What stands in the way of a link to a blob of this size. One that is there adds nothing.
pub(super) fn link_refusal(
    c: &Connection,
    repo: &RepoName,
    target: &[u8],
    size: u64,
) -> rusqlite::Result<Option<OverQuota>> {
    let linked = c
        .prepare_cached(
            "SELECT 1 FROM repositories r JOIN links l ON l.repo = r.id AND l.digest = ?2 WHERE r.name = ?1",
        )?
        .exists(params![repo.as_str(), target])?;
    if linked { Ok(None) } else { refusal(c, repo, size, 0) }
}

fn of(c: &Connection, repo: &RepoName) -> rusqlite::Result<Vec<QuotaUse>> {
    let mut query = c.prepare_cached(
        "SELECT prefix, bytes, tags, used_bytes, used_tags FROM quotas
         WHERE prefix IN ('', ?1) OR (substr(prefix, -1) = '/' AND substr(?1, 1, length(prefix)) = prefix)",
    )?;
    query.query_map([repo.as_str()], quota_use)?.collect()
}

fn quota_use(row: &Row<'_>) -> rusqlite::Result<QuotaUse> {
    let scope: Scope = name_from(row.get_ref(0)?.as_str()?, 0)?;
    let limit = |column| row.get::<_, Option<i64>>(column).map(|limit| limit.map(i64::cast_unsigned));
    Ok(QuotaUse {
        quota: Quota { scope, bytes: limit(1)?, tags: limit(2)? },
        bytes: row.get::<_, i64>(3)?.cast_unsigned(),
        tags: row.get::<_, i64>(4)?.cast_unsigned(),
    })
}
