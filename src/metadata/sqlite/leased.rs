//! What a lease protects: blobs that wait for the manifest that may follow. After a push of everything within a lease
//! all blobs are queued, and hardly any is without its manifest.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Rows, params};

use super::freed::{LOOK_UP, Sets};
use super::holdings::{ends, place};
use super::holds::{self, Review};
use super::unreferenced::Unheld;
use super::usage::number;
use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, Reclaimable};

/// Blobs that nothing holds are judged by themselves.
const LEASED: Sets = 1;
const DUE: Sets = 1 << 1;

/// Links of these repositories (`None`: of all) that wait for their review and that no manifest holds. A blob of
/// several comes free when it is held in none, and is due when it is in each.
pub(super) fn leased(
    c: &Connection,
    repositories: Option<HashSet<i64>>,
    rules: &CollectionRules,
) -> rusqlite::Result<Reclaimable> {
    let some: Option<Vec<i64>> = repositories.as_ref().map(|some| some.iter().copied().collect());
    let mut found = Leased { c, rules, unreferenced: Unheld::within(repositories), times: Vec::new() };
    for kind in [Review::Link, Review::HiddenLink] {
        let queued = some.clone().map_or_else(|| queued_repositories(c, kind), Ok)?;
        queued.into_iter().try_for_each(|repo| found.look(kind, repo))?;
    }
    found.told()
}

/// The repositories that have something in the queue: as many steps as there are of them.
fn queued_repositories(c: &Connection, kind: Review) -> rusqlite::Result<Vec<i64>> {
    let mut query = c.prepare_cached("SELECT min(repo) FROM review WHERE kind = ?1 AND repo > ?2")?;
    let mut found = Vec::new();
    while let Some(next) = query
        .query_row(params![kind as i64, found.last().copied().unwrap_or(0)], |row| {
            row.get::<_, Option<i64>>(0)
        })?
    {
        found.push(next);
    }
    Ok(found)
}

struct Leased<'c> {
    c: &'c Connection,
    rules: &'c CollectionRules,
    unreferenced: Unheld,
    times: Vec<Timestamp>,
}

impl Leased<'_> {
    /// Looks at what a repository has in the queue.
    fn look(&mut self, kind: Review, repo: i64) -> rusqlite::Result<()> {
        let c = self.c;
        let mut edges = c.prepare_cached(
            "SELECT target FROM edges INDEXED BY edges_by_target WHERE repo = ?1 AND kind = 0 ORDER BY target",
        )?;
        let mut sweep = if is_much(c, kind, repo)? { Some(Sweep::over(edges.query([repo])?)) } else { None };
        let mut queue =
            c.prepare_cached("SELECT digest FROM review WHERE kind = ?1 AND repo = ?2 ORDER BY digest")?;
        let mut rows = queue.query(params![kind as i64, repo])?;
        while let Some(row) = rows.next()? {
            let digest = row.get_ref(0)?.as_blob()?;
            let held = match &mut sweep {
                Some(sweep) => sweep.reaches(digest)?,
                None => holds::blob_is_held(c, repo, digest)?,
            };
            if !held {
                self.add(kind, repo, digest)?;
            }
        }
        Ok(())
    }

    /// Notes a blob that no manifest of a repository holds.
    fn add(&mut self, kind: Review, repo: i64, digest: &[u8]) -> rusqlite::Result<()> {
        if kind == Review::HiddenLink && is_queued(self.c, Review::Link, repo, digest)? {
            return Ok(());
        }
        let mut query = self
            .c
            .prepare_cached("SELECT leased_at, hidden_at FROM links WHERE repo = ?1 AND digest = ?2")?;
        let link = query.query_row(params![repo, digest], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((leased_at, hidden_at)) = link.optional()? else {
            return Ok(());
        };
        let (leased_at, hidden_at): (Timestamp, Option<Timestamp>) = (leased_at, hidden_at);
        let rules = self.rules;
        let at = hidden_at.map_or(leased_at.plus(rules.lease), |hidden| hidden.plus(rules.trash));
        let is_due = at <= rules.now && !holds::is_leased(self.c, repo, leased_at, rules)?;
        self.times.push(at);
        self.unreferenced.add(repo, digest, if is_due { LEASED | DUE } else { LEASED });
        Ok(())
    }

    fn told(self) -> rusqlite::Result<Reclaimable> {
        let freed = self.unreferenced.weigh(self.c, &HashMap::new())?;
        let (next, last) = ends(self.times.into_iter(), self.rules.now);
        let [allocated, due] = [LEASED, DUE].map(|set| freed.bytes[place(set)]);
        Ok(Reclaimable { count: freed.blobs[place(LEASED)], allocated, due, next, last })
    }
}

/// The blobs that manifests of a repository refer to, in the order of their digests.
struct Sweep<'s> {
    rows: Rows<'s>,
    target: Vec<u8>,
    is_over: bool,
}

impl<'s> Sweep<'s> {
    fn over(rows: Rows<'s>) -> Self {
        Self { rows, target: Vec::new(), is_over: false }
    }

    /// Whether `digest` is among them. Each must be behind the one before.
    fn reaches(&mut self, digest: &[u8]) -> rusqlite::Result<bool> {
        while !self.is_over && self.target.as_slice() < digest {
            match self.rows.next()? {
                Some(row) => {
                    self.target.clear();
                    self.target.extend_from_slice(row.get_ref(0)?.as_blob()?);
                }
                None => self.is_over = true,
            }
        }
        Ok(!self.is_over && self.target == digest)
    }
}

/// Whether so much of a repository is queued that a look at all of it costs less than one at each.
fn is_much(c: &Connection, kind: Review, repo: i64) -> rusqlite::Result<bool> {
    let mut query = c.prepare_cached("SELECT count(*) FROM review WHERE kind = ?1 AND repo = ?2")?;
    let queued = query.query_row(params![kind as i64, repo], |row| number(row, 0))?;
    let mut query = c.prepare_cached("SELECT blobs FROM repositories WHERE id = ?1")?;
    let all = query.query_row([repo], |row| number(row, 0)).optional()?.unwrap_or(0);
    Ok(queued.saturating_mul(LOOK_UP) > all)
}

fn is_queued(c: &Connection, kind: Review, repo: i64, digest: &[u8]) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?.exists(params![
        kind as i64,
        repo,
        digest
    ])
}
