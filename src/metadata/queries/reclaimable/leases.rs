//! Reports the blobs that only a lease protects: they were pushed, and their manifest may follow. If everything was
//! pushed within the last lease, all blobs are in the review queue and hardly any of them lacks its manifest.

use std::collections::{HashMap, HashSet};

use crate::clock::Timestamp;
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::queries::reclaimable::graph::{LOOKUP_COST, SetMask, UnreferencedBlobs, set_index};
use crate::metadata::sql::{self, Connection, OptionalExtension, Rows, params};
use crate::metadata::{CollectionRules, Reclaimable};

/// The sets that are evaluated: all unreferenced blobs, and those that are due.
const LEASED: SetMask = 1;
const DUE: SetMask = 1 << 1;

/// Blobs that only a lease protects.
pub(in crate::metadata) struct LeasedSpace {
    pub(in crate::metadata) report: Reclaimable,
    /// The part of these bytes that only one repository links, by its id.
    pub(in crate::metadata) exclusive: HashMap<i64, u64>,
}

/// Reports the links of these repositories (`None`: of all) that wait for their review and that no manifest holds. A
/// blob in several repositories is freed if it is unreferenced in all of them, and is due when it is due in each.
pub(in crate::metadata) fn leased(
    c: &dyn Connection,
    repositories: Option<HashSet<i64>>,
    rules: &CollectionRules,
) -> sql::Result<LeasedSpace> {
    let selected: Option<Vec<i64>> = repositories.as_ref().map(|ids| ids.iter().copied().collect());
    let unreferenced = UnreferencedBlobs::within(repositories);
    let mut found = LeasedBlobs { c, rules, unreferenced, times: Vec::new() };
    for kind in [Review::Link, Review::HiddenLink] {
        let queued = selected.clone().map_or_else(|| queued_repositories(c, kind), Ok)?;
        queued.into_iter().try_for_each(|repo| found.add_queued(kind, repo))?;
    }
    found.report()
}

/// Lists the repositories that have entries in the queue, with one query for each.
fn queued_repositories(c: &dyn Connection, kind: Review) -> sql::Result<Vec<i64>> {
    let mut query = c.prepare_cached("SELECT min(repo) FROM review WHERE kind = ?1 AND repo > ?2")?;
    let mut found = Vec::new();
    while let Some(next) = query
        .query_row(params![kind as i64, found.last().copied().unwrap_or(0)], |row| {
            row.get::<Option<i64>>(0)
        })?
    {
        found.push(next);
    }
    Ok(found)
}

struct LeasedBlobs<'c> {
    c: &'c dyn Connection,
    rules: &'c CollectionRules,
    unreferenced: UnreferencedBlobs,
    times: Vec<Timestamp>,
}

impl LeasedBlobs<'_> {
    /// Adds the unreferenced blobs among a repository's entries in the queue.
    fn add_queued(&mut self, kind: Review, repo: i64) -> sql::Result<()> {
        let c = self.c;
        let mut edges = c.prepare_cached(
            "SELECT target FROM edges /* INDEXED BY edges_by_target */ WHERE repo = ?1 AND kind = 0 ORDER BY target",
        )?;
        let mut scan =
            if should_scan(c, kind, repo)? { Some(TargetScan::new(edges.query([repo])?)) } else { None };
        let mut queue =
            c.prepare_cached("SELECT digest FROM review WHERE kind = ?1 AND repo = ?2 ORDER BY digest")?;
        let mut rows = queue.query(params![kind as i64, repo])?;
        while let Some(row) = rows.next()? {
            let digest = row.blob(0)?;
            let is_held = match &mut scan {
                Some(scan) => scan.contains(digest)?,
                None => liveness::is_blob_held(c, repo, digest)?,
            };
            if !is_held {
                self.add(kind, repo, digest)?;
            }
        }
        Ok(())
    }

    /// Adds a blob that no manifest of a repository holds.
    fn add(&mut self, kind: Review, repo: i64, digest: &[u8]) -> sql::Result<()> {
        if kind == Review::HiddenLink && is_queued(self.c, Review::Link, repo, digest)? {
            return Ok(());
        }
        let mut query = self
            .c
            .prepare_cached("SELECT leased_at, hidden_at FROM links WHERE repo = ?1 AND digest = ?2")?;
        let link = query.query_row(params![repo, digest], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((leased_at, hidden_at)): Option<(Timestamp, Option<Timestamp>)> = link.optional()? else {
            return Ok(());
        };
        let rules = self.rules;
        let at = hidden_at.map_or(leased_at.plus(rules.lease), |hidden| hidden.plus(rules.trash));
        let is_due = at <= rules.now && !liveness::is_leased(self.c, repo, leased_at, rules)?;
        self.times.push(at);
        self.unreferenced.add(repo, digest, if is_due { LEASED | DUE } else { LEASED });
        Ok(())
    }

    fn report(self) -> sql::Result<LeasedSpace> {
        let freed = self.unreferenced.sum_freed(self.c, &HashMap::new())?;
        let (next, last) = next_and_last(self.times.into_iter(), self.rules.now);
        let [allocated, due] = [LEASED, DUE].map(|set| freed.bytes[set_index(set)]);
        let report = Reclaimable { count: freed.blobs[set_index(LEASED)], allocated, due, next, last };
        Ok(LeasedSpace { report, exclusive: freed.exclusive })
    }
}

/// Scans the blobs that manifests of a repository refer to, in the order of digests.
struct TargetScan<'s> {
    rows: Rows<'s>,
    target: Vec<u8>,
    has_ended: bool,
}

impl<'s> TargetScan<'s> {
    fn new(rows: Rows<'s>) -> Self {
        Self { rows, target: Vec::new(), has_ended: false }
    }

    /// Whether `digest` is among the targets. Each call must pass a greater digest than the one before.
    fn contains(&mut self, digest: &[u8]) -> sql::Result<bool> {
        while !self.has_ended && self.target.as_slice() < digest {
            match self.rows.next()? {
                Some(row) => {
                    self.target.clear();
                    self.target.extend_from_slice(row.blob(0)?);
                }
                None => self.has_ended = true,
            }
        }
        Ok(!self.has_ended && self.target == digest)
    }
}

/// Whether so much of a repository is queued that a scan costs less than a lookup for each entry.
fn should_scan(c: &dyn Connection, kind: Review, repo: i64) -> sql::Result<bool> {
    let mut query = c.prepare_cached("SELECT count(*) FROM review WHERE kind = ?1 AND repo = ?2")?;
    let queued: u64 = query.query_row(params![kind as i64, repo], |row| row.get(0))?;
    let mut query = c.prepare_cached("SELECT blobs FROM repositories WHERE id = ?1")?;
    let all = query.query_row([repo], |row| row.get(0)).optional()?.unwrap_or(0);
    Ok(queued.saturating_mul(LOOKUP_COST) > all)
}

fn is_queued(c: &dyn Connection, kind: Review, repo: i64, digest: &[u8]) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?.exists(params![
        kind as i64,
        repo,
        digest
    ])
}

/// Returns the first and the last of the future times.
pub(in crate::metadata) fn next_and_last(
    times: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> (Option<Timestamp>, Option<Timestamp>) {
    times.filter(|at| *at > now).fold((None, None), |(first, last), at| {
        (Some(first.map_or(at, |first: Timestamp| first.min(at))), last.max(Some(at)))
    })
}
