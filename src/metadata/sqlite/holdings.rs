//! What may go, and when: what the trash holds, what nothing holds, and what a lease protects.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rusqlite::{Connection, params};

use super::freed::{Going, Row, Sets};
use super::holds;
use super::unheld::Unheld;
use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, Holdings, Reclaimable};

pub(super) fn holdings(c: &Connection, rules: &CollectionRules) -> rusqlite::Result<Holdings> {
    let (trash, untagged) = (trash(c, rules)?, untagged(c, rules)?);
    let mut going = Going::new(c);
    let mut told =
        [(trash, TRASH, TRASH_DUE), (untagged, UNTAGGED, UNTAGGED_DUE)].map(|(waiting, all, due)| {
            let next = next(waiting.iter().map(|(_, at)| *at), rules.now);
            let told = Reclaimable { count: waiting.len() as u64, next, ..Reclaimable::default() };
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
    Ok(Holdings { trash, untagged, leased: leased(c, rules)? })
}

/// The sets that are judged.
const TRASH: Sets = 1;
const TRASH_DUE: Sets = 1 << 1;
const UNTAGGED: Sets = 1 << 2;
const UNTAGGED_DUE: Sets = 1 << 3;

/// Blobs that nothing holds are judged by themselves.
const LEASED: Sets = 1;
const LEASED_DUE: Sets = 1 << 1;

fn place(set: Sets) -> usize {
    set.trailing_zeros() as usize
}

/// Something that may go, and when it falls due; `None` for never.
type Waiting = (Row, Option<Timestamp>);

fn trash(c: &Connection, rules: &CollectionRules) -> rusqlite::Result<Vec<Waiting>> {
    let mut query = c.prepare_cached(
        "SELECT id, repo, digest, removed_at FROM manifests WHERE state = 1
         UNION ALL SELECT id, repo, digest, 0 FROM manifests WHERE state = 2",
    )?;
    let rows = query.query_map([], |row| {
        let removed_at: Timestamp = row.get(3)?;
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?), Some(removed_at.plus(rules.trash))))
    })?;
    rows.collect()
}

/// Manifests that wait for their review, and of which nothing has taken hold meanwhile.
fn untagged(c: &Connection, rules: &CollectionRules) -> rusqlite::Result<Vec<Waiting>> {
    let mut query = c.prepare_cached(
        "SELECT m.id, m.repo, m.digest, v.kind, max(v.since, m.pulled_at), v.since
         FROM review v JOIN manifests m ON m.repo = v.repo AND m.digest = v.digest
         WHERE v.kind IN (1, 3) AND m.state = 0",
    )?;
    let rows = query.query_map([], |row| {
        let manifest: Row = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (kind, since, orphaned): (i64, Timestamp, Timestamp) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let untagged = rules.untagged.map(|untagged| since.plus(untagged.max(rules.lease)));
        Ok((manifest, if kind == 3 { Some(orphaned.plus(rules.lease)) } else { untagged }))
    })?;
    let mut unheld = Vec::new();
    for row in rows {
        let ((id, repo, digest), due) = row?;
        if !holds::manifest_is_held(c, id, repo, &digest)? {
            unheld.push(((id, repo, digest), due));
        }
    }
    Ok(unheld)
}

/// Links that wait for their review and that no manifest holds. A blob of several repositories comes free
/// when it is held in none, and is due when it is in each.
fn leased(c: &Connection, rules: &CollectionRules) -> rusqlite::Result<Reclaimable> {
    let mut query = c.prepare_cached(
        "SELECT v.repo, v.digest, l.leased_at, l.hidden_at
         FROM review v JOIN links l ON l.repo = v.repo AND l.digest = v.digest WHERE v.kind IN (0, 2)",
    )?;
    let (mut unheld, mut seen, mut times) = (Unheld::default(), HashSet::new(), Vec::new());
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (repo, digest): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let (leased_at, hidden_at): (Timestamp, Option<Timestamp>) = (row.get(2)?, row.get(3)?);
        if holds::blob_is_held(c, repo, &digest)? || seen.contains(&(repo, digest.clone())) {
            continue;
        }
        let at = hidden_at.map_or(leased_at.plus(rules.lease), |hidden| hidden.plus(rules.trash));
        times.push(Some(at));
        let is_due = at <= rules.now && !holds::is_leased(c, repo, leased_at, rules)?;
        unheld.add(repo, &digest, if is_due { LEASED | LEASED_DUE } else { LEASED });
        seen.insert((repo, digest));
    }
    let (freed, next) = (unheld.weigh(c, &HashMap::new())?, next(times.into_iter(), rules.now));
    let [allocated, due] = [LEASED, LEASED_DUE].map(|set| freed.bytes[place(set)]);
    Ok(Reclaimable { count: freed.blobs[place(LEASED)], allocated, due, next })
}

/// The first of the times to come.
fn next(times: impl Iterator<Item = Option<Timestamp>>, now: Timestamp) -> Option<Timestamp> {
    times.flatten().filter(|at| *at > now).min()
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
