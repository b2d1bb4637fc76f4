//! Reports what garbage collection may remove and when: the trash, manifests that nothing holds, and blobs that only a
//! lease protects.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::ops::{liveness, repo_id};
use crate::metadata::queries::reclaimable::graph::{ManifestRow, ReclaimableGraph, SetMask, find, set_index};
use crate::metadata::queries::reclaimable::leases::{leased, next_and_last};
use crate::metadata::queries::usage;
use crate::metadata::sql::{self, Connection, digest, params};
use crate::metadata::{
    CollectionRules, Metadata, Operation, Reclaimable, ReclaimableSummary, RemovalEffect, Result, Scope,
};
use crate::oci::{Digest, RepoName};

impl Metadata {
    /// Returns what can be reclaimed in the repositories of `scope`, and when. Blobs that other repositories
    /// link, too, free nothing. Reads the trash and the review queue of these repositories; if many entries
    /// wait there, all edges of these repositories and all blobs.
    pub async fn reclaimable_summary(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
    ) -> Result<ReclaimableSummary> {
        let scope = scope.clone();
        let rules = *rules;
        self.query_report(Operation::ReclaimableSummary, move |c| {
            Ok(reclaimable_space(c, &scope, &rules)?.summary)
        })
        .await
    }

    /// Returns the bytes on disk that deleting these manifests for good would free, together with the children
    /// and referrers that nothing else keeps alive. Manifests that do not exist are ignored. Reads what they
    /// refer to; if there are many, all edges of their repositories.
    pub async fn would_free(&self, manifests: Vec<(RepoName, Digest)>) -> Result<u64> {
        self.query_report(Operation::WouldFree, move |c| Ok(graph_of(c, &manifests)?.freed_space()?.bytes[0]))
            .await
    }

    /// Does the same, and also returns the bytes that stay on the disk because another registry's tree has the files too.
    pub async fn removal_effect(&self, manifests: Vec<(RepoName, Digest)>) -> Result<RemovalEffect> {
        self.query_report(Operation::RemovalEffect, move |c| graph_of(c, &manifests)?.removal_effect()).await
    }
}

/// Returns the graph of what is removed with these manifests.
fn graph_of<'c>(
    c: &'c dyn Connection,
    manifests: &[(RepoName, Digest)],
) -> sql::Result<ReclaimableGraph<'c>> {
    let mut wanted: BTreeMap<&RepoName, Vec<Vec<u8>>> = BTreeMap::new();
    for (repo, manifest) in manifests {
        wanted.entry(repo).or_default().push(digest(manifest));
    }
    let mut graph = ReclaimableGraph::new(c);
    for (repo, wanted) in wanted {
        if let Some(repo) = repo_id(c, repo)? {
            find(c, repo, wanted)?.into_iter().for_each(|row| graph.add(row, 1));
        }
    }
    Ok(graph)
}

/// What can be reclaimed, and how it divides into parts that do not overlap. Sizes are allocated bytes.
pub(in crate::metadata) struct ReclaimableSpace {
    pub(in crate::metadata) summary: ReclaimableSummary,
    /// The part in the trash.
    pub(in crate::metadata) trash: u64,
    /// The untagged part, without what the trash also frees.
    pub(in crate::metadata) untagged: u64,
    /// The part that only a lease protects.
    pub(in crate::metadata) leased: u64,
    /// What of these parts only one repository links, by its id.
    pub(in crate::metadata) exclusive: HashMap<i64, u64>,
}

pub(in crate::metadata) fn reclaimable_space(
    c: &dyn Connection,
    scope: &Scope,
    rules: &CollectionRules,
) -> sql::Result<ReclaimableSpace> {
    let filter = ScopeFilter::new(c, scope)?;
    let trash = list_trash(c, &filter, rules)?;
    let untagged = list_untagged(c, &filter, rules)?;
    let mut graph = ReclaimableGraph::new(c).within(filter.repositories.clone());
    let mut reports =
        [(trash, TRASH, TRASH_DUE), (untagged, UNTAGGED, UNTAGGED_DUE)].map(|(waiting, all, due)| {
            let (next, last) = next_and_last(waiting.iter().filter_map(|(_, at)| *at), rules.now);
            let report = Reclaimable { count: waiting.len() as u64, next, last, ..Reclaimable::default() };
            for (row, at) in waiting {
                let is_due = at.is_some_and(|at| at <= rules.now);
                graph.add(row, if is_due { all | due } else { all });
            }
            report
        });
    let freed = graph.freed_space()?;
    for (report, sets) in reports.iter_mut().zip([[TRASH, TRASH_DUE], [UNTAGGED, UNTAGGED_DUE]]) {
        [report.allocated, report.due] = sets.map(|set| freed.bytes[set_index(set)]);
    }
    let [trash, untagged] = reports;
    let leased = leased(c, filter.repositories, rules)?;
    let mut exclusive = freed.exclusive;
    for (repo, bytes) in leased.exclusive {
        // No manifest refers to these blobs, so that none of them is counted yet.
        *exclusive.entry(repo).or_default() += bytes;
    }
    Ok(ReclaimableSpace {
        summary: ReclaimableSummary { trash, untagged, leased: leased.report },
        trash: freed.disjoint_bytes[set_index(TRASH)],
        untagged: freed.disjoint_bytes[set_index(UNTAGGED)],
        leased: leased.report.allocated,
        exclusive,
    })
}

/// The sets that are evaluated.
const TRASH: SetMask = 1;
const TRASH_DUE: SetMask = 1 << 1;
const UNTAGGED: SetMask = 1 << 2;
const UNTAGGED_DUE: SetMask = 1 << 3;

/// A manifest that may be removed, and when it becomes due; `None` for never.
type Waiting = (ManifestRow, Option<Timestamp>);

/// Restricts queries to the repositories of a scope.
struct ScopeFilter {
    /// Join that leads from the repositories to their rows; empty for all repositories.
    among: &'static str,
    /// Bounds of the names, which are the parameters of the query.
    bounds: Vec<String>,
    /// Ids of the repositories; `None` stands for all of them.
    repositories: Option<HashSet<i64>>,
}

impl ScopeFilter {
    fn new(c: &dyn Connection, scope: &Scope) -> sql::Result<Self> {
        if *scope == Scope::All {
            return Ok(Self { among: "", bounds: Vec::new(), repositories: None });
        }
        let (from, to) = usage::bounds(scope);
        let repositories = usage::repositories(c, scope)?;
        let among = "repositories r CROSS JOIN";
        Ok(Self { among, bounds: vec![from, to], repositories: Some(repositories) })
    }

    /// Condition on the rows of `table` for the end of a query.
    fn condition(&self, table: &str) -> String {
        if self.bounds.is_empty() {
            return String::new();
        }
        format!("AND {table}.repo = r.id AND r.name >= ?1 AND r.name < ?2")
    }

    fn contains(&self, repo: i64) -> bool {
        self.repositories.as_ref().is_none_or(|repositories| repositories.contains(&repo))
    }
}

fn list_trash(
    c: &dyn Connection,
    filter: &ScopeFilter,
    rules: &CollectionRules,
) -> sql::Result<Vec<Waiting>> {
    let among = filter.among;
    let is = filter.condition("m");
    let in_trash = format!(
        "SELECT m.id, m.repo, m.digest, m.removed_at FROM {among} manifests m WHERE m.state = 1 {is}"
    );
    let mut query = c.prepare_cached(&in_trash)?;
    let rows = query.query_map(&filter.bounds, |row| {
        let removed_at: Timestamp = row.get(3)?;
        Ok((ManifestRow::read(row)?, Some(removed_at.plus(rules.trash))))
    })?;
    let mut waiting = rows.collect::<sql::Result<Vec<_>>>()?;
    // Manifests that are being purged are few, and only their state leads to them.
    let mut query = c.prepare_cached("SELECT id, repo, digest FROM manifests WHERE state = 2")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let manifest = ManifestRow::read(row)?;
        if filter.contains(manifest.repo) {
            waiting.push((manifest, Some(Timestamp::default())));
        }
    }
    Ok(waiting)
}

/// Lists manifests that wait for their review and that nothing holds at present.
fn list_untagged(
    c: &dyn Connection,
    filter: &ScopeFilter,
    rules: &CollectionRules,
) -> sql::Result<Vec<Waiting>> {
    let among = filter.among;
    let is = filter.condition("v");
    let waiting = format!(
        "SELECT m.id, m.repo, m.digest, v.kind, v.since, m.pulled_at
         FROM {among} review v CROSS JOIN manifests m
         WHERE m.repo = v.repo AND m.digest = v.digest AND v.kind IN (1, 3) AND m.state = 0 {is}"
    );
    let mut query = c.prepare_cached(&waiting)?;
    let rows = query.query_map(&filter.bounds, |row| {
        let manifest = ManifestRow::read(row)?;
        let kind: i64 = row.get(3)?;
        let since: Timestamp = row.get(4)?;
        let used_at = since.max(row.get(5)?);
        let untagged = rules.untagged.map(|untagged| used_at.plus(untagged.max(rules.lease)));
        Ok((manifest, if kind == 3 { Some(since.plus(rules.lease)) } else { untagged }))
    })?;
    let mut unreferenced = Vec::new();
    for row in rows {
        let (manifest, due) = row?;
        if !liveness::is_manifest_held(c, manifest.id, manifest.repo, &manifest.digest)? {
            unreferenced.push((manifest, due));
        }
    }
    Ok(unreferenced)
}

/// Finds the earliest time when a queued item is reviewed.
pub(in crate::metadata) fn next_review(
    c: &dyn Connection,
    repo: i64,
    digest: &[u8],
    waits: &[(liveness::Review, Option<Duration>)],
) -> sql::Result<Option<Timestamp>> {
    let mut query =
        c.prepare_cached("SELECT since FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?;
    let mut first: Option<Timestamp> = None;
    for (kind, wait) in waits {
        let mut rows = query.query(params![*kind as i64, repo, digest])?;
        if let (Some(row), Some(wait)) = (rows.next()?, wait) {
            let at = row.get::<Timestamp>(0)?.plus(*wait);
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    Ok(first)
}
