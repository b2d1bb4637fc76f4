//! Blobs that nothing holds in some repository any more, and what they come to.

use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::freed::{HOLDERS, LOOK_UP, Sets, all_go};
use super::usage::number;

/// How many sets are judged at once.
const SETS: usize = Sets::BITS as usize;

/// What comes free, of each set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Freed {
    /// How many blobs.
    pub(super) blobs: [u64; SETS],
    /// What they take on the medium, in bytes.
    pub(super) bytes: [u64; SETS],
}

/// Blobs that nothing holds in the repositories that they were found in. A million of them are possible:
/// their digests lie one behind the other.
#[derive(Default)]
pub(super) struct Unheld {
    digests: Vec<u8>,
    found: Vec<Found>,
    within: Option<HashSet<i64>>,
}

#[derive(Clone, Copy)]
struct Found {
    /// How its digest begins, by which most are told apart.
    start: u64,
    at: usize,
    len: usize,
    repo: i64,
    sets: Sets,
}

impl Unheld {
    /// None yet. Blobs that others than these `repositories` link do not come free, for whatever reason they do.
    pub(super) fn within(repositories: Option<HashSet<i64>>) -> Self {
        Self { within: repositories, ..Self::default() }
    }

    /// Adds a blob of a repository, once each.
    pub(super) fn add(&mut self, repo: i64, digest: &[u8], sets: Sets) {
        let start = digest.first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
        self.found.push(Found { start, at: self.digests.len(), len: digest.len(), repo, sets });
        self.digests.extend_from_slice(digest);
    }

    fn digest(&self, found: &Found) -> &[u8] {
        &self.digests[found.at..found.at + found.len]
    }

    /// Adds up what comes free: what no repository holds, if those in `going` go.
    pub(super) fn weigh(mut self, c: &Connection, going: &HashMap<i64, Sets>) -> rusqlite::Result<Freed> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| self.digest(a).cmp(self.digest(b))));
        let all = c.prepare_cached("SELECT blobs FROM totals")?.query_row([], |row| number(row, 0))?;
        let mut scale = Scale::new(c, going, self.within.as_ref())?;
        if (found.len() as u64).saturating_mul(LOOK_UP) > all {
            self.weigh_along(c, &found, &mut scale)?;
        } else {
            self.weigh_each(c, &found, &mut scale)?;
        }
        Ok(scale.freed)
    }

    /// Those of each blob, in the order of digests.
    fn groups<'f>(&'f self, found: &'f [Found]) -> impl Iterator<Item = (&'f [u8], &'f [Found])> {
        let groups = found.chunk_by(|a, b| a.start == b.start && self.digest(a) == self.digest(b));
        groups.filter_map(|group| group.first().map(|first| (self.digest(first), group)))
    }

    fn weigh_each(&self, c: &Connection, found: &[Found], scale: &mut Scale<'_>) -> rusqlite::Result<()> {
        let mut query = c.prepare_cached("SELECT allocated, links FROM blobs WHERE digest = ?1")?;
        for (digest, group) in self.groups(found) {
            let blob = query.query_row([digest], |row| Ok((number(row, 0)?, number(row, 1)?)));
            if let Some(blob) = blob.optional()? {
                scale.put(digest, group, blob)?;
            }
        }
        Ok(())
    }

    /// The same, reading all blobs from the first on.
    fn weigh_along(&self, c: &Connection, found: &[Found], scale: &mut Scale<'_>) -> rusqlite::Result<()> {
        let mut groups = self.groups(found).peekable();
        let first = groups.peek().map_or(&[][..], |(digest, _)| *digest);
        let mut query = c.prepare_cached(
            "SELECT digest, allocated, links FROM blobs WHERE digest >= ?1 ORDER BY digest",
        )?;
        let mut rows = query.query([first])?;
        while groups.peek().is_some()
            && let Some(row) = rows.next()?
        {
            let here = row.get_ref(0)?.as_blob()?;
            while groups.next_if(|(digest, _)| *digest < here).is_some() {}
            if let Some((digest, group)) = groups.next_if(|(digest, _)| *digest == here) {
                scale.put(digest, group, (number(row, 1)?, number(row, 2)?))?;
            }
        }
        Ok(())
    }
}

/// Where blobs are put one after the other.
struct Scale<'c> {
    going: &'c HashMap<i64, Sets>,
    within: Option<&'c HashSet<i64>>,
    links: CachedStatement<'c>,
    holders: CachedStatement<'c>,
    freed: Freed,
}

impl<'c> Scale<'c> {
    fn new(
        c: &'c Connection,
        going: &'c HashMap<i64, Sets>,
        within: Option<&'c HashSet<i64>>,
    ) -> rusqlite::Result<Self> {
        let links = c.prepare_cached("SELECT repo FROM links WHERE digest = ?1")?;
        Ok(Self { going, within, links, holders: c.prepare_cached(HOLDERS)?, freed: Freed::default() })
    }

    /// Adds a blob of which is known what it takes and how many repositories link it.
    fn put(
        &mut self,
        digest: &[u8],
        group: &[Found],
        (allocated, links): (u64, u64),
    ) -> rusqlite::Result<()> {
        let mut sets = group.iter().fold(Sets::MAX, |sets, found| sets & found.sets);
        if links > group.len() as u64 {
            sets = self.unheld_elsewhere(digest, group, sets)?;
        }
        for set in (0..SETS).filter(|set| sets & (1 << set) != 0) {
            self.freed.blobs[set] += 1;
            self.freed.bytes[set] += allocated;
        }
        Ok(())
    }

    /// In which of the `sets` the other repositories that link a blob do not hold it either.
    fn unheld_elsewhere(&mut self, digest: &[u8], group: &[Found], mut sets: Sets) -> rusqlite::Result<Sets> {
        let mut rows = self.links.query([digest])?;
        while sets != 0
            && let Some(row) = rows.next()?
        {
            let other: i64 = row.get(0)?;
            if self.within.is_some_and(|within| !within.contains(&other)) {
                return Ok(0);
            }
            if group.iter().all(|found| found.repo != other) {
                sets = all_go(&mut self.holders, params![other, digest], self.going, sets)?;
            }
        }
        Ok(sets)
    }
}
