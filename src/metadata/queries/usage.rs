//! Reports of the space used, from the sums that `ops/accounting.rs` keeps. They run on the blocking pool and read more
//! rows than a request may; each method documents the cost.

use std::collections::HashSet;

use crate::metadata::sql::{self, Connection, Row, SqlDigest, digest, params};
use crate::metadata::{
    BigBlob, ColdTag, Metadata, Operation, PrefixUsage, RepoUsage, Result, Scope, Usage, UsageDay,
};
use crate::oci::{Digest, RepoName};

impl Metadata {
    /// Returns what the repositories of `scope` use together. For a prefix it reads every blob of the store.
    pub async fn usage(&self, scope: &Scope) -> Result<Usage> {
        let scope = scope.clone();
        self.query_blocking(Operation::Usage, move |c| usage(c, &scope)).await
    }

    /// Returns the `limit` repositories of `scope` that use the most space, largest first. Reads every
    /// repository of the scope.
    pub async fn biggest_repositories(&self, scope: &Scope, limit: usize) -> Result<Vec<RepoUsage>> {
        let scope = scope.clone();
        self.query_blocking(Operation::BiggestRepositories, move |c| biggest_repositories(c, &scope, limit))
            .await
    }

    /// Returns the `limit` first name segments whose repositories use the most space, largest first, then the
    /// sum of all others, if any. Reads every repository, and nothing else.
    pub async fn biggest_prefixes(&self, limit: usize) -> Result<Vec<PrefixUsage>> {
        self.query_blocking(Operation::BiggestPrefixes, move |c| biggest_prefixes(c, limit)).await
    }

    /// Returns the `limit` largest blobs linked by repositories of `scope`, largest first. Reads every link of
    /// the scope, or every blob.
    pub async fn biggest_blobs(&self, scope: &Scope, limit: usize) -> Result<Vec<BigBlob>> {
        let scope = scope.clone();
        self.query_blocking(Operation::BiggestBlobs, move |c| biggest_blobs(c, &scope, limit)).await
    }

    /// Returns the `limit` tags of `scope` that have not been pulled for the longest time. Tags that were never
    /// pulled come first. Reads every tag of the scope.
    pub async fn coldest_tags(&self, scope: &Scope, limit: usize) -> Result<Vec<ColdTag>> {
        let scope = scope.clone();
        self.query_blocking(Operation::ColdestTags, move |c| coldest_tags(c, &scope, limit)).await
    }

    /// Returns the first `limit` repositories that have a manifest, in any state. Reads every repository.
    pub async fn manifest_repositories(&self, wanted: &Digest, limit: usize) -> Result<Vec<RepoName>> {
        let wanted = digest(wanted);
        self.query_blocking(Operation::ManifestRepositories, move |c| {
            manifest_repositories(c, &wanted, limit)
        })
        .await
    }

    /// Returns the last `limit` recorded days, oldest first.
    pub async fn days(&self, limit: usize) -> Result<Vec<UsageDay>> {
        self.query_blocking(Operation::Days, move |c| days(c, limit)).await
    }
}

/// Returns the bounds of the names in a scope: the first inclusive, the second exclusive. `0` follows the slash.
pub(in crate::metadata) fn bounds(scope: &Scope) -> (String, String) {
    match scope {
        Scope::All => (String::new(), "~".into()),
        Scope::Below(prefix) => (prefix.clone(), format!("{}0", prefix.trim_end_matches('/'))),
        Scope::One(name) => (name.to_string(), format!("{name}\0")),
    }
}

fn usage(c: &dyn Connection, scope: &Scope) -> sql::Result<Usage> {
    let (from, to) = bounds(scope);
    let mut query = c.prepare_cached(
        "SELECT count(*), coalesce(sum(tags), 0), coalesce(sum(manifests), 0), coalesce(sum(blobs), 0),
                coalesce(sum(bytes), 0), coalesce(sum(own_bytes), 0), coalesce(sum(own_allocated), 0)
         FROM repositories WHERE name >= ?1 AND name < ?2",
    )?;
    let mut usage = query.query_row([from, to], |row| {
        Ok(Usage {
            repositories: row.get(0)?,
            tags: row.get(1)?,
            manifests: row.get(2)?,
            links: row.get(3)?,
            logical: row.get(4)?,
            bytes: row.get(5)?,
            allocated: row.get(6)?,
            exclusive: row.get(6)?,
        })
    })?;
    match scope {
        Scope::All => add_everything(c, &mut usage)?,
        Scope::Below(_) | Scope::One(_) => add_shared(c, scope, &mut usage)?,
    }
    Ok(usage)
}

fn add_everything(c: &dyn Connection, usage: &mut Usage) -> sql::Result<()> {
    let mut query = c.prepare_cached("SELECT bytes, allocated FROM totals")?;
    (usage.bytes, usage.allocated) = query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    usage.exclusive = usage.allocated;
    Ok(())
}

/// Adds the blobs that several repositories link, at least one of them in the scope.
fn add_shared(c: &dyn Connection, scope: &Scope, usage: &mut Usage) -> sql::Result<()> {
    if let Scope::One(name) = scope {
        let mut query = c.prepare_cached("SELECT bytes, allocated FROM repositories WHERE name = ?1")?;
        let mut rows = query.query([name.as_str()])?;
        if let Some(row) = rows.next()? {
            usage.bytes = row.get(0)?;
            usage.allocated = row.get(1)?;
        }
        return Ok(());
    }
    let within = repositories(c, scope)?;
    let mut shared = c.prepare_cached("SELECT digest, size, allocated, links FROM blobs WHERE links > 1")?;
    let mut linking = c.prepare_cached("SELECT repo FROM links WHERE digest = ?1")?;
    let mut rows = shared.query([])?;
    while let Some(row) = rows.next()? {
        let size: u64 = row.get(1)?;
        let allocated: u64 = row.get(2)?;
        let links: u64 = row.get(3)?;
        let mut links_within = 0;
        let mut found = linking.query([row.blob(0)?])?;
        while let Some(link) = found.next()? {
            links_within += u64::from(within.contains(&link.get(0)?));
        }
        if links_within > 0 {
            usage.bytes += size;
            usage.allocated += allocated;
        }
        if links_within == links {
            usage.exclusive += allocated;
        }
    }
    Ok(())
}

pub(in crate::metadata) fn repositories(c: &dyn Connection, scope: &Scope) -> sql::Result<HashSet<i64>> {
    let (from, to) = bounds(scope);
    let mut query = c.prepare_cached("SELECT id FROM repositories WHERE name >= ?1 AND name < ?2")?;
    query.query_map([from, to], |row| row.get(0))?.collect()
}

fn biggest_repositories(c: &dyn Connection, scope: &Scope, limit: usize) -> sql::Result<Vec<RepoUsage>> {
    let (from, to) = bounds(scope);
    let mut query = c.prepare_cached(
        "SELECT name, tags, manifests, blobs, bytes, allocated, own_allocated FROM repositories
         WHERE name >= ?1 AND name < ?2 ORDER BY allocated DESC, name LIMIT ?3",
    )?;
    let rows = query.query_map(params![from, to, limit], |row| {
        let usage = Usage {
            repositories: 1,
            tags: row.get(1)?,
            manifests: row.get(2)?,
            links: row.get(3)?,
            logical: row.get(4)?,
            bytes: row.get(4)?,
            allocated: row.get(5)?,
            exclusive: row.get(6)?,
        };
        Ok(RepoUsage { repo: row.get(0)?, usage })
    })?;
    rows.collect()
}

fn biggest_prefixes(c: &dyn Connection, limit: usize) -> sql::Result<Vec<PrefixUsage>> {
    // The order of names does not help: there `team-a` lies between `team` and `team/app`. No function that both
    // engines have finds a slash, so that the characters before it are trimmed.
    let mut query = c.prepare_cached(
        "SELECT substr(name, 1, length(name) - length(ltrim(name, '0123456789abcdefghijklmnopqrstuvwxyz._-'))) AS prefix,
                count(*), sum(tags), sum(bytes), sum(own_allocated), sum(allocated) - sum(own_allocated)
         FROM repositories GROUP BY prefix ORDER BY sum(allocated) DESC, prefix",
    )?;
    let mut rows = query.query([])?;
    let mut named = Vec::new();
    let mut others = PrefixUsage::default();
    while let Some(row) = rows.next()? {
        let found = PrefixUsage {
            prefix: Some(row.get(0)?),
            repositories: row.get(1)?,
            tags: row.get(2)?,
            logical: row.get(3)?,
            exclusive: row.get(4)?,
            shared: row.get(5)?,
        };
        if named.len() < limit {
            named.push(found);
        } else {
            add_prefix(&mut others, &found);
        }
    }
    named.extend((others.repositories > 0).then_some(others));
    Ok(named)
}

fn add_prefix(all: &mut PrefixUsage, one: &PrefixUsage) {
    all.repositories += one.repositories;
    all.tags += one.tags;
    all.logical += one.logical;
    all.exclusive += one.exclusive;
    all.shared += one.shared;
}

/// Finds the repositories that have a manifest by looking into each repository: an index by digest alone would cost
/// every push more than this query costs.
fn manifest_repositories(c: &dyn Connection, wanted: &[u8], limit: usize) -> sql::Result<Vec<RepoName>> {
    let mut query = c.prepare_cached(
        "SELECT r.name FROM repositories r CROSS JOIN manifests m WHERE m.repo = r.id AND m.digest = ?1
         ORDER BY r.name LIMIT ?2",
    )?;
    let rows = query.query_map(params![wanted, limit], |row| row.get(0))?;
    rows.collect()
}

fn biggest_blobs(c: &dyn Connection, scope: &Scope, limit: usize) -> sql::Result<Vec<BigBlob>> {
    let blob = |row: Row<'_>| {
        Ok(BigBlob {
            digest: row.get::<SqlDigest>(0)?.0,
            bytes: row.get(1)?,
            allocated: row.get(2)?,
            links: row.get(3)?,
        })
    };
    if *scope == Scope::All {
        let mut query = c.prepare_cached(
            "SELECT digest, size, allocated, links FROM blobs ORDER BY allocated DESC, digest LIMIT ?1",
        )?;
        return query.query_map([limit], blob)?.collect();
    }
    let (from, to) = bounds(scope);
    let mut query = c.prepare_cached(
        "SELECT b.digest, b.size, b.allocated, count(*)
         FROM repositories r JOIN links l ON l.repo = r.id JOIN blobs b ON b.digest = l.digest
         WHERE r.name >= ?1 AND r.name < ?2
         GROUP BY b.digest, b.size, b.allocated ORDER BY b.allocated DESC, b.digest LIMIT ?3",
    )?;
    query.query_map(params![from, to, limit], blob)?.collect()
}

fn coldest_tags(c: &dyn Connection, scope: &Scope, limit: usize) -> sql::Result<Vec<ColdTag>> {
    let (from, to) = bounds(scope);
    let mut query = c.prepare_cached(
        "SELECT r.name, t.name, nullif(m.pulled_at, 0), t.updated_at
         FROM repositories r JOIN tags t ON t.repo = r.id JOIN manifests m ON m.id = t.manifest
         WHERE r.name >= ?1 AND r.name < ?2 ORDER BY m.pulled_at, t.updated_at, r.name, t.name LIMIT ?3",
    )?;
    let rows = query.query_map(params![from, to, limit], |row| {
        Ok(ColdTag { repo: row.get(0)?, tag: row.get(1)?, pulled_at: row.get(2)?, pushed_at: row.get(3)? })
    })?;
    rows.collect()
}

fn days(c: &dyn Connection, limit: usize) -> sql::Result<Vec<UsageDay>> {
    let mut query = c.prepare_cached(
        "SELECT day, blobs, bytes, allocated, manifests FROM usage_days ORDER BY day DESC LIMIT ?1",
    )?;
    let rows = query.query_map([limit], |row| {
        Ok(UsageDay {
            day: row.get(0)?,
            blobs: row.get(1)?,
            bytes: row.get(2)?,
            allocated: row.get(3)?,
            manifests: row.get(4)?,
        })
    })?;
    let mut days = rows.collect::<sql::Result<Vec<_>>>()?;
    days.reverse();
    Ok(days)
}
