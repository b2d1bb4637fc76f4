//! What may go, and when: what the trash holds, and what nothing holds; what a lease protects is told beside it.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, params, params_from_iter};

use super::freed::{Going, Row, Sets};
use super::holds;
use super::leased::leased;
use super::usage;
use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, Holdings, Reclaimable, Scope};

pub(super) fn holdings(c: &Connection, scope: &Scope, rules: &CollectionRules) -> rusqlite::Result<Holdings> {
    let within = Within::new(c, scope)?;
    let (trash, untagged) = (trash(c, &within, rules)?, untagged(c, &within, rules)?);
    let mut going = Going::new(c).within(within.repositories.clone());
    let mut told =
        [(trash, TRASH, TRASH_DUE), (untagged, UNTAGGED, UNTAGGED_DUE)].map(|(waiting, all, due)| {
            let (next, last) = ends(waiting.iter().filter_map(|(_, at)| *at), rules.now);
            let told = Reclaimable { count: waiting.len() as u64, next, last, ..Reclaimable::default() };
            for (row, at) in waiting {
                let is_due = at.is_some_and(|at| at <= rules.now);
                going.add(row, if is_due { all | due } else { all });
            }
            told
        });
    let freed = going.frees()?;
    for (told, sets) in told.iter_mut().zip([[TRASH, TRASH_DUE], [UNTAGGED, UNTAGGED_DUE]]) {
        [told.allocated, told.due] = sets.map(|set| freed.bytes[place(set)]);
    }
    let [trash, untagged] = told;
    Ok(Holdings { trash, untagged, leased: leased(c, within.repositories, rules)? })
}

/// The sets that are judged.
const TRASH: Sets = 1;
const TRASH_DUE: Sets = 1 << 1;
const UNTAGGED: Sets = 1 << 2;
const UNTAGGED_DUE: Sets = 1 << 3;

pub(super) fn place(set: Sets) -> usize {
    set.trailing_zeros() as usize
}

/// Something that may go, and when it falls due; `None` for never.
type Waiting = (Row, Option<Timestamp>);

/// The repositories that are looked at.
struct Within {
    /// How a query goes from them to the rows of each, if not all are meant.
    among: &'static str,
    bounds: Vec<String>,
    /// `None`: all there are.
    repositories: Option<HashSet<i64>>,
}

impl Within {
    fn new(c: &Connection, scope: &Scope) -> rusqlite::Result<Self> {
        if *scope == Scope::All {
            return Ok(Self { among: "", bounds: Vec::new(), repositories: None });
        }
        let ((from, to), repositories) = (usage::bounds(scope), usage::repositories(c, scope)?);
        let among = "repositories r CROSS JOIN";
        Ok(Self { among, bounds: vec![from, to], repositories: Some(repositories) })
    }

    /// What is asked of the rows of `table`, to end a query.
    fn is(&self, table: &str) -> String {
        if self.bounds.is_empty() {
            return String::new();
        }
        format!("AND {table}.repo = r.id AND r.name >= ?1 AND r.name < ?2")
    }

    fn holds(&self, repo: i64) -> bool {
        self.repositories.as_ref().is_none_or(|repositories| repositories.contains(&repo))
    }
}

fn trash(c: &Connection, within: &Within, rules: &CollectionRules) -> rusqlite::Result<Vec<Waiting>> {
    let (among, is) = (within.among, within.is("m"));
    let in_trash = format!(
        "SELECT m.id, m.repo, m.digest, m.removed_at FROM {among} manifests m WHERE m.state = 1 {is}"
    );
    let mut query = c.prepare_cached(&in_trash)?;
    let rows = query.query_map(params_from_iter(&within.bounds), |row| {
        let removed_at: Timestamp = row.get(3)?;
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?), Some(removed_at.plus(rules.trash))))
    })?;
    let mut waiting = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    // Those that are being purged are listed by nothing but that, and are few.
    let mut query = c.prepare_cached("SELECT id, repo, digest FROM manifests WHERE state = 2")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let manifest: Row = (row.get(0)?, row.get(1)?, row.get(2)?);
        if within.holds(manifest.1) {
            waiting.push((manifest, Some(Timestamp::default())));
        }
    }
    Ok(waiting)
}

/// Manifests that wait for their review, and of which nothing has taken hold meanwhile.
fn untagged(c: &Connection, within: &Within, rules: &CollectionRules) -> rusqlite::Result<Vec<Waiting>> {
    let (among, is) = (within.among, within.is("v"));
    let waiting = format!(
        "SELECT m.id, m.repo, m.digest, v.kind, max(v.since, m.pulled_at), v.since
         FROM {among} review v CROSS JOIN manifests m ON m.repo = v.repo AND m.digest = v.digest
         WHERE v.kind IN (1, 3) AND m.state = 0 {is}"
    );
    let mut query = c.prepare_cached(&waiting)?;
    let rows = query.query_map(params_from_iter(&within.bounds), |row| {
        let manifest: Row = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (kind, since, orphaned): (i64, Timestamp, Timestamp) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let untagged = rules.untagged.map(|untagged| since.plus(untagged.max(rules.lease)));
        Ok((manifest, if kind == 3 { Some(orphaned.plus(rules.lease)) } else { untagged }))
    })?;
    let mut unreferenced = Vec::new();
    for row in rows {
        let ((id, repo, digest), due) = row?;
        if !holds::manifest_is_held(c, id, repo, &digest)? {
            unreferenced.push(((id, repo, digest), due));
        }
    }
    Ok(unreferenced)
}

/// The first and the last of the times to come.
pub(super) fn ends(
    times: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> (Option<Timestamp>, Option<Timestamp>) {
    times.filter(|at| *at > now).fold((None, None), |(first, last), at| {
        (Some(first.map_or(at, |first: Timestamp| first.min(at))), last.max(Some(at)))
    })
}

/// When something that was queued is looked at, at the earliest.
pub(super) fn next_review(
    c: &Connection,
    repo: i64,
    digest: &[u8],
    waits: &[(holds::Review, Option<Duration>)],
) -> rusqlite::Result<Option<Timestamp>> {
    let mut query =
        c.prepare_cached("SELECT since FROM review WHERE kind = ?1 AND repo = ?2 AND digest = ?3")?;
    let mut first: Option<Timestamp> = None;
    for (kind, wait) in waits {
        let mut rows = query.query(params![*kind as i64, repo, digest])?;
        if let (Some(row), Some(wait)) = (rows.next()?, wait) {
            let at = row.get::<_, Timestamp>(0)?.plus(*wait);
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    Ok(first)
}
