//! Collects blobs that would be unreferenced in some repository, and sums the space that they would free.

use std::collections::{HashMap, HashSet};

use crate::metadata::queries::reclaimable::graph::{HOLDERS, LOOKUP_COST, Sets, sets_removing_all};
use crate::metadata::sql::{self, Connection, OptionalExtension, Statement, params};

/// Number of sets that are evaluated at once.
const SETS: usize = Sets::BITS as usize;

/// Space that is freed, for each set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::metadata) struct FreedSpace {
    /// Number of blobs.
    pub(in crate::metadata) blobs: [u64; SETS],
    /// Allocated bytes on disk.
    pub(in crate::metadata) bytes: [u64; SETS],
}

/// Blobs that are unreferenced in the repositories in which they were found. There may be a million of them, so their
/// digests are stored in one buffer.
#[derive(Default)]
pub(in crate::metadata) struct UnreferencedBlobs {
    digests: Vec<u8>,
    found: Vec<Found>,
    within: Option<HashSet<i64>>,
}

#[derive(Clone, Copy)]
struct Found {
    /// First bytes of the digest: usually enough to compare two digests.
    start: u64,
    at: usize,
    len: usize,
    repo: i64,
    sets: Sets,
}

impl UnreferencedBlobs {
    /// Creates an empty collection. With `repositories`, a blob that another repository links is never freed.
    pub(in crate::metadata) fn within(repositories: Option<HashSet<i64>>) -> Self {
        Self { within: repositories, ..Self::default() }
    }

    /// Adds a blob of a repository. Each blob may be added once per repository.
    pub(in crate::metadata) fn add(&mut self, repo: i64, digest: &[u8], sets: Sets) {
        let start = digest.first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
        self.found.push(Found { start, at: self.digests.len(), len: digest.len(), repo, sets });
        self.digests.extend_from_slice(digest);
    }

    fn digest(&self, found: &Found) -> &[u8] {
        &self.digests[found.at..found.at + found.len]
    }

    /// Sums the space of the blobs that no repository references if the manifests in `removed` are removed.
    pub(in crate::metadata) fn sum_freed(
        mut self,
        c: &dyn Connection,
        removed: &HashMap<i64, Sets>,
    ) -> sql::Result<FreedSpace> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| self.digest(a).cmp(self.digest(b))));
        let all = c.prepare_cached("SELECT blobs FROM totals")?.query_row([], |row| row.get(0))?;
        let mut sum = FreedSum::new(c, removed, self.within.as_ref())?;
        if (found.len() as u64).saturating_mul(LOOKUP_COST) > all {
            self.sum_by_scan(c, &found, &mut sum)?;
        } else {
            self.sum_by_lookup(c, &found, &mut sum)?;
        }
        Ok(sum.freed)
    }

    /// Groups the found blobs by digest, in the order of digests.
    fn groups<'f>(&'f self, found: &'f [Found]) -> impl Iterator<Item = (&'f [u8], &'f [Found])> {
        let groups = found.chunk_by(|a, b| a.start == b.start && self.digest(a) == self.digest(b));
        groups.filter_map(|group| group.first().map(|first| (self.digest(first), group)))
    }

    /// Looks up each blob.
    fn sum_by_lookup(&self, c: &dyn Connection, found: &[Found], sum: &mut FreedSum<'_>) -> sql::Result<()> {
        let mut query = c.prepare_cached("SELECT allocated, links FROM blobs WHERE digest = ?1")?;
        for (digest, group) in self.groups(found) {
            let blob = query.query_row([digest], |row| Ok((row.get(0)?, row.get(1)?)));
            if let Some((allocated, links)) = blob.optional()? {
                sum.add(digest, group, allocated, links)?;
            }
        }
        Ok(())
    }

    /// Reads all blobs in the order of digests.
    fn sum_by_scan(&self, c: &dyn Connection, found: &[Found], sum: &mut FreedSum<'_>) -> sql::Result<()> {
        let mut groups = self.groups(found).peekable();
        let first = groups.peek().map_or(&[][..], |(digest, _)| *digest);
        let mut query = c.prepare_cached(
            "SELECT digest, allocated, links FROM blobs WHERE digest >= ?1 ORDER BY digest",
        )?;
        let mut rows = query.query([first])?;
        while groups.peek().is_some()
            && let Some(row) = rows.next()?
        {
            let current = row.blob(0)?;
            while groups.next_if(|(digest, _)| *digest < current).is_some() {}
            if let Some((digest, group)) = groups.next_if(|(digest, _)| *digest == current) {
                sum.add(digest, group, row.get(1)?, row.get(2)?)?;
            }
        }
        Ok(())
    }
}

/// Running sum of the freed space.
struct FreedSum<'c> {
    removed: &'c HashMap<i64, Sets>,
    within: Option<&'c HashSet<i64>>,
    links: Statement<'c>,
    holders: Statement<'c>,
    freed: FreedSpace,
}

impl<'c> FreedSum<'c> {
    fn new(
        c: &'c dyn Connection,
        removed: &'c HashMap<i64, Sets>,
        within: Option<&'c HashSet<i64>>,
    ) -> sql::Result<Self> {
        let links = c.prepare_cached("SELECT repo FROM links WHERE digest = ?1")?;
        Ok(Self { removed, within, links, holders: c.prepare_cached(HOLDERS)?, freed: FreedSpace::default() })
    }

    /// Adds a blob with its allocated bytes and the number of repositories that link it.
    fn add(&mut self, digest: &[u8], group: &[Found], allocated: u64, links: u64) -> sql::Result<()> {
        let mut sets = group.iter().fold(Sets::MAX, |sets, found| sets & found.sets);
        if links > group.len() as u64 {
            sets = self.unreferenced_elsewhere(digest, group, sets)?;
        }
        for set in (0..SETS).filter(|set| sets & (1 << set) != 0) {
            self.freed.blobs[set] += 1;
            self.freed.bytes[set] += allocated;
        }
        Ok(())
    }

    /// Returns the `sets` in which the blob is also unreferenced in the other repositories that link it.
    fn unreferenced_elsewhere(
        &mut self,
        digest: &[u8],
        group: &[Found],
        mut sets: Sets,
    ) -> sql::Result<Sets> {
        let mut rows = self.links.query([digest])?;
        while sets != 0
            && let Some(row) = rows.next()?
        {
            let other: i64 = row.get(0)?;
            if self.within.is_some_and(|within| !within.contains(&other)) {
                return Ok(0);
            }
            if group.iter().all(|found| found.repo != other) {
                sets = sets_removing_all(&mut self.holders, params![other, digest], self.removed, sets)?;
            }
        }
        Ok(sets)
    }
}
