//! Frees quota in a scope ahead of schedule: removes its oldest trash, manifests that are being purged, and links and
//! orphans whose leases have ended. A read on the blocking pool finds the candidates, and the transaction that removes
//! them checks them again.

use crate::clock::Timestamp;
use crate::metadata::ops::gc::purge;
use crate::metadata::ops::gc::review::{self, Entry};
use crate::metadata::ops::liveness::Review;
use crate::metadata::sql::{self, Connection, params};
use crate::metadata::{CollectionRules, Durability, Metadata, Operation, Reclaimed, Result, Scope};

impl Metadata {
    /// Removes collectable content of the repositories of `scope` ahead of the regular collection: up to
    /// `trash` manifests of the trash, oldest first, manifests that are being purged, and unreferenced links
    /// and manifests whose leases have ended by `rules`. With `trash` above 0 also deleted blobs. Removes about
    /// `rows` rows.
    pub async fn reclaim_now(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
        trash: usize,
        rows: usize,
    ) -> Result<Reclaimed> {
        self.perform(Operation::ReclaimNow, async {
            let scope = scope.clone();
            let rules = *rules;
            let limits = Limits { trash, rows };
            let found = self.read_blocking(move |c| Candidates::find(c, &scope, &rules, limits)).await?;
            if found.is_empty() {
                return Ok(Reclaimed::default());
            }
            self.write(Durability::Full, move |c| found.remove(c, &rules, rows)).await
        })
        .await
    }
}

/// What may be removed.
pub(in crate::metadata) struct Candidates {
    /// The oldest manifests in the trash.
    trash: Vec<i64>,
    /// Manifests that are being purged.
    purging: Vec<i64>,
    orphans: Vec<Entry>,
    links: Vec<Entry>,
    hidden: Vec<Entry>,
}

/// How many candidates of each kind to find.
#[derive(Debug, Clone, Copy)]
pub(in crate::metadata) struct Limits {
    pub(in crate::metadata) trash: usize,
    pub(in crate::metadata) rows: usize,
}

impl Candidates {
    /// Finds candidates in the trash and the review queue of the whole store.
    pub(in crate::metadata) fn find(
        c: &dyn Connection,
        scope: &Scope,
        rules: &CollectionRules,
        limits: Limits,
    ) -> sql::Result<Self> {
        let leased = rules.lease_cutoff();
        // Deleted blobs count as trash too.
        let hidden = if limits.trash > 0 { limits.rows } else { 0 };
        Ok(Self {
            trash: oldest_trash(c, scope, limits.trash)?,
            purging: purging(c, scope, limits.rows)?,
            orphans: due(c, Review::Orphan, scope, leased, limits.rows)?,
            links: due(c, Review::Link, scope, leased, limits.rows)?,
            hidden: due(c, Review::HiddenLink, scope, rules.now, hidden)?,
        })
    }

    pub(in crate::metadata) fn is_empty(&self) -> bool {
        let Self { trash, purging, orphans, links, hidden } = self;
        trash.is_empty() && purging.is_empty() && [orphans, links, hidden].into_iter().all(Vec::is_empty)
    }

    /// Removes the candidates that may still be removed, and about `limit` edges of manifests that are being purged.
    pub(in crate::metadata) fn remove(
        &self,
        c: &dyn Connection,
        rules: &CollectionRules,
        limit: usize,
    ) -> sql::Result<Reclaimed> {
        let mut reclaimed = Reclaimed::default();
        for manifest in &self.trash {
            reclaimed.manifests += c
                .prepare_cached("UPDATE manifests SET state = 2 WHERE id = ?1 AND state = 1")?
                .execute([manifest])? as u64;
        }
        let orphans = |c: &dyn Connection, entry: &Entry| purge::purge_orphan(c, entry, rules);
        reclaimed.manifests +=
            review::review_entries(c, Review::Orphan, &self.orphans, rules.lease_cutoff(), orphans)?;
        let mut left = limit;
        for manifest in self.trash.iter().chain(&self.purging) {
            if left == 0 {
                break;
            }
            let taken = purge::purge_one(c, *manifest, rules, left)?;
            reclaimed.manifests += u64::from(taken > 0);
            left = left.saturating_sub(taken);
        }
        let link = |c: &dyn Connection, entry: &Entry| review::review_link(c, entry, rules);
        reclaimed.links += review::review_entries(c, Review::Link, &self.links, rules.lease_cutoff(), link)?;
        let hidden = |c: &dyn Connection, entry: &Entry| review::review_hidden_link(c, entry, rules);
        reclaimed.links += review::review_entries(c, Review::HiddenLink, &self.hidden, rules.now, hidden)?;
        Ok(reclaimed)
    }
}

fn oldest_trash(c: &dyn Connection, scope: &Scope, limit: usize) -> sql::Result<Vec<i64>> {
    let mut query = c.prepare_cached(
        "SELECT m.id FROM manifests m JOIN repositories r ON r.id = m.repo
         WHERE m.state = 1 AND m.removed_at <= ?3
           AND (?1 IN ('', r.name) OR (?1 LIKE '%/' AND substr(r.name, 1, length(?1)) = ?1))
         ORDER BY m.removed_at LIMIT ?2",
    )?;
    query.query_map(params![scope.as_str(), limit, i64::MAX], |row| row.get(0))?.collect()
}

fn purging(c: &dyn Connection, scope: &Scope, limit: usize) -> sql::Result<Vec<i64>> {
    let mut query = c.prepare_cached(
        "SELECT m.id FROM manifests m JOIN repositories r ON r.id = m.repo
         WHERE m.state = 2
           AND (?1 IN ('', r.name) OR (?1 LIKE '%/' AND substr(r.name, 1, length(?1)) = ?1))
         ORDER BY m.id LIMIT ?2",
    )?;
    query.query_map(params![scope.as_str(), limit], |row| row.get(0))?.collect()
}

fn due(
    c: &dyn Connection,
    kind: Review,
    scope: &Scope,
    cutoff: Timestamp,
    limit: usize,
) -> sql::Result<Vec<Entry>> {
    let mut query = c.prepare_cached(
        "SELECT v.repo, v.digest FROM review v JOIN repositories r ON r.id = v.repo
         WHERE v.kind = ?2 AND v.since <= ?3
           AND (?1 IN ('', r.name) OR (?1 LIKE '%/' AND substr(r.name, 1, length(?1)) = ?1))
         ORDER BY v.since LIMIT ?4",
    )?;
    let values = params![scope.as_str(), kind as i64, cutoff, limit];
    query.query_map(values, |row| Ok(Entry { repo: row.get(0)?, digest: row.get(1)? }))?.collect()
}
