//! Computes the disk space that would be freed if some manifests were removed: that of the blobs that no other manifest
//! in any repository references.
//!
//! Children and referrers of the manifests are removed with them unless something else holds them. A blob is freed if,
//! in each repository that links it, every manifest that refers to it is removed. Several sets of manifests are
//! evaluated at once, independently of each other. If few manifests of a repository are removed, their targets are
//! looked up one by one; if many are, all edges of the repository are scanned: a lookup costs as much as reading many
//! rows in order. Edges of kind 0 lead to a blob, of kind 1 to a child of an index, of kind 2 to the subject of a
//! referrer.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::metadata::RemovalEffect;
use crate::metadata::sql::{self, Connection, OptionalExtension, Params, Row, Statement, params};

/// A lookup costs about as much as reading this many rows in order.
pub(in crate::metadata) const LOOKUP_COST: u64 = 16;

/// Some of the sets that are evaluated, one bit for each.
pub(in crate::metadata) type SetMask = u8;

/// Returns the position of a set in a [`FreedSpace`]; of several sets, that of the first.
pub(in crate::metadata) fn set_index(set: SetMask) -> usize {
    set.trailing_zeros() as usize
}

/// Manifests to be removed, together with everything that is removed with them.
pub(in crate::metadata) struct ReclaimableGraph<'c> {
    c: &'c dyn Connection,
    removed: HashMap<i64, SetMask>,
    by_repo: BTreeMap<i64, Vec<i64>>,
    /// Manifests whose children and referrers have not been added yet.
    waiting: Vec<(ManifestRow, SetMask)>,
    within: Option<HashSet<i64>>,
}

/// The row of a manifest.
pub(in crate::metadata) struct ManifestRow {
    pub(in crate::metadata) id: i64,
    pub(in crate::metadata) repo: i64,
    pub(in crate::metadata) digest: Vec<u8>,
}

impl ManifestRow {
    /// Reads the row from the first three columns: `id`, `repo`, `digest`.
    pub(in crate::metadata) fn read(row: Row<'_>) -> sql::Result<Self> {
        Ok(Self { id: row.get(0)?, repo: row.get(1)?, digest: row.get(2)? })
    }
}

impl<'c> ReclaimableGraph<'c> {
    pub(in crate::metadata) fn new(c: &'c dyn Connection) -> Self {
        Self { c, removed: HashMap::new(), by_repo: BTreeMap::new(), waiting: Vec::new(), within: None }
    }

    /// Restricts the result: a blob that a repository outside of `repositories` links is not freed.
    pub(in crate::metadata) fn within(self, repositories: Option<HashSet<i64>>) -> Self {
        Self { within: repositories, ..self }
    }

    /// Adds a manifest to these sets.
    pub(in crate::metadata) fn add(&mut self, row: ManifestRow, sets: SetMask) {
        let known = self.removed.entry(row.id).or_default();
        let new = sets & !*known;
        if new == 0 {
            return;
        }
        if *known == 0 {
            self.by_repo.entry(row.repo).or_default().push(row.id);
        }
        *known |= new;
        self.waiting.push((row, new));
    }

    /// Returns the space that would be freed, for each set.
    pub(in crate::metadata) fn freed_space(mut self) -> sql::Result<FreedSpace> {
        self.add_followers()?;
        let mut unreferenced = UnreferencedBlobs::within(self.within.take());
        for (repo, manifests) in &self.by_repo {
            let optional = self.optional_targets(*repo)?;
            if should_scan(self.c, *repo, manifests.len())? {
                self.find_by_scan(*repo, &optional, &mut unreferenced)?;
            } else {
                self.find_by_lookup(*repo, manifests, &optional, &mut unreferenced)?;
            }
        }
        unreferenced.sum_freed(self.c, &self.removed)
    }

    /// Returns what the removal of the first set does to the disk.
    pub(in crate::metadata) fn removal_effect(mut self) -> sql::Result<RemovalEffect> {
        let c = self.c;
        self.add_followers()?;
        let removed: Vec<i64> = self.removed.keys().copied().collect();
        let FreedSpace { bytes, hardlinked, .. } = self.freed_space()?;
        let frees_nothing = bytes[0] == 0 && refers_to_hardlinked(c, &removed)?;
        Ok(RemovalEffect { freed: bytes[0], hardlinked: hardlinked[0], frees_nothing })
    }

    /// Adds the children and referrers that only removed manifests hold.
    fn add_followers(&mut self) -> sql::Result<()> {
        let mut children = self.c.prepare_cached(
            "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.repo = e.repo AND m.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 1",
        )?;
        let mut referrers = self.c.prepare_cached(
            "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 2",
        )?;
        let mut holders = HashMap::new();
        for (repo, manifests) in &self.by_repo {
            if should_scan(self.c, *repo, manifests.len())? {
                holders.insert(*repo, ManifestHolders::read(self.c, *repo)?);
            }
        }
        while let Some((ManifestRow { id, repo, digest }, sets)) = self.waiting.pop() {
            let known = holders.get(&repo);
            let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
            if known.is_none_or(|known| known.indexes.contains(&id)) {
                found.extend(rows(&mut children, [id])?);
            }
            if known.is_none_or(|known| known.subjects.contains(&digest)) {
                found.extend(rows(&mut referrers, params![repo, digest])?);
            }
            for (id, digest) in found {
                let new = sets & !self.removed.get(&id).copied().unwrap_or(0);
                let removed = if new == 0 { 0 } else { self.sets_without_holder(id, repo, &digest, new)? };
                self.add(ManifestRow { id, repo, digest }, removed);
            }
        }
        Ok(())
    }

    /// Returns the `sets` in which neither a tag nor a remaining index or subject holds a manifest.
    fn sets_without_holder(&self, id: i64, repo: i64, digest: &[u8], sets: SetMask) -> sql::Result<SetMask> {
        if self.c.prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 LIMIT 1")?.exists([id])? {
            return Ok(0);
        }
        let mut indexes = self.c.prepare_cached(
            "SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 1 AND manifest <> ?3",
        )?;
        let mut subjects = self.c.prepare_cached(
            "SELECT s.id FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 2 AND s.id <> ?1",
        )?;
        let sets = sets_removing_all(&mut indexes, params![repo, digest, id], &self.removed, sets)?;
        sets_removing_all(&mut subjects, [id], &self.removed, sets)
    }

    /// Looks up the blobs that only these manifests reference in a repository.
    fn find_by_lookup(
        &self,
        repo: i64,
        manifests: &[i64],
        optional: &HashSet<Vec<u8>>,
        unreferenced: &mut UnreferencedBlobs,
    ) -> sql::Result<()> {
        let mut edges = self.c.prepare_cached("SELECT target FROM edges WHERE manifest = ?1 AND kind = 0")?;
        let mut holders = self.c.prepare_cached(HOLDERS)?;
        let mut seen = HashSet::new();
        for manifest in manifests {
            for target in edges.query_map([manifest], |row| row.get::<Vec<u8>>(0))? {
                let target = target?;
                if seen.contains(&target) {
                    continue;
                }
                let sets =
                    sets_removing_all(&mut holders, params![repo, target], &self.removed, SetMask::MAX)?;
                self.add_unreferenced(repo, &target, sets, optional, unreferenced)?;
                seen.insert(target);
            }
        }
        Ok(())
    }

    /// Scans all edges of a repository for the blobs that only removed manifests reference.
    fn find_by_scan(
        &self,
        repo: i64,
        optional: &HashSet<Vec<u8>>,
        unreferenced: &mut UnreferencedBlobs,
    ) -> sql::Result<()> {
        let mut edges = self.c.prepare_cached(
            "SELECT target, manifest FROM edges /* INDEXED BY edges_by_target */
             WHERE repo = ?1 AND kind = 0 ORDER BY target",
        )?;
        let mut rows = edges.query([repo])?;
        let mut target: Vec<u8> = Vec::new();
        let mut sets: SetMask = 0;
        while let Some(row) = rows.next()? {
            let next = row.blob(0)?;
            if next != target {
                self.add_unreferenced(repo, &target, sets, optional, unreferenced)?;
                target.clear();
                target.extend_from_slice(next);
                sets = SetMask::MAX;
            }
            if sets != 0 {
                sets &= self.removed.get(&row.get(1)?).copied().unwrap_or(0);
            }
        }
        self.add_unreferenced(repo, &target, sets, optional, unreferenced)
    }

    /// Adds a blob that is unreferenced in a repository, if the repository has it.
    fn add_unreferenced(
        &self,
        repo: i64,
        target: &[u8],
        sets: SetMask,
        optional: &HashSet<Vec<u8>>,
        unreferenced: &mut UnreferencedBlobs,
    ) -> sql::Result<()> {
        if sets == 0 || (optional.contains(target) && !is_linked(self.c, repo, target)?) {
            return Ok(());
        }
        unreferenced.add(repo, target, sets);
        Ok(())
    }

    /// Lists the blobs that some manifest of a repository refers to without requiring them: they may be missing.
    fn optional_targets(&self, repo: i64) -> sql::Result<HashSet<Vec<u8>>> {
        let mut query = self.c.prepare_cached(
            "SELECT target FROM edges /* INDEXED BY edges_elsewhere */ WHERE repo = ?1 AND kind = 0 AND required = 0",
        )?;
        query.query_map([repo], |row| row.get(0))?.collect()
    }
}

/// Manifests of a repository that hold other manifests.
struct ManifestHolders {
    /// Row ids of indexes.
    indexes: HashSet<i64>,
    /// Digests of subjects.
    subjects: HashSet<Vec<u8>>,
}

impl ManifestHolders {
    fn read(c: &dyn Connection, repo: i64) -> sql::Result<Self> {
        let mut indexes = c.prepare_cached(
            "SELECT manifest FROM edges /* INDEXED BY edges_of_indexes */ WHERE repo = ?1 AND kind = 1",
        )?;
        let mut subjects = c.prepare_cached(
            "SELECT target FROM edges /* INDEXED BY edges_of_referrers */ WHERE repo = ?1 AND kind = 2",
        )?;
        Ok(Self {
            indexes: indexes.query_map([repo], |row| row.get(0))?.collect::<sql::Result<_>>()?,
            subjects: subjects.query_map([repo], |row| row.get(0))?.collect::<sql::Result<_>>()?,
        })
    }
}

/// Finds the manifests that hold the blob `?2` in the repository `?1`.
pub(in crate::metadata) const HOLDERS: &str =
    "SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 0";

/// Returns the `sets` in which all manifests found by a query are removed.
pub(in crate::metadata) fn sets_removing_all(
    query: &mut Statement<'_>,
    values: impl Params,
    removed: &HashMap<i64, SetMask>,
    mut sets: SetMask,
) -> sql::Result<SetMask> {
    let mut rows = query.query(values)?;
    while sets != 0
        && let Some(row) = rows.next()?
    {
        sets &= removed.get(&row.get(0)?).copied().unwrap_or(0);
    }
    Ok(sets)
}

fn rows(query: &mut Statement<'_>, values: impl Params) -> sql::Result<Vec<(i64, Vec<u8>)>> {
    query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn is_linked(c: &dyn Connection, repo: i64, target: &[u8]) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM links WHERE repo = ?1 AND digest = ?2")?.exists(params![repo, target])
}

/// Whether any of these manifests refers to a blob whose file another registry's tree has too.
fn refers_to_hardlinked(c: &dyn Connection, manifests: &[i64]) -> sql::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT 1 FROM edges e JOIN blobs b ON b.digest = e.target
         WHERE e.manifest = ?1 AND e.kind = 0 AND b.hardlinked <> 0 LIMIT 1",
    )?;
    for manifest in manifests {
        if query.exists([*manifest])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether scanning a whole repository costs less than this many lookups.
fn should_scan(c: &dyn Connection, repo: i64, manifests: usize) -> sql::Result<bool> {
    let mut query = c.prepare_cached("SELECT manifests FROM repositories WHERE id = ?1")?;
    let all = query.query_row([repo], |row| row.get(0)).optional()?.unwrap_or(0);
    Ok((manifests as u64).saturating_mul(LOOKUP_COST) > all)
}

/// Finds the existing manifests of a repository with these digests.
pub(in crate::metadata) fn find(
    c: &dyn Connection,
    repo: i64,
    mut wanted: Vec<Vec<u8>>,
) -> sql::Result<Vec<ManifestRow>> {
    if !should_scan(c, repo, wanted.len())? {
        let mut query = c.prepare_cached("SELECT id FROM manifests WHERE repo = ?1 AND digest = ?2")?;
        let mut find = |digest: Vec<u8>| {
            let found = query.query_row(params![repo, digest], |row| row.get(0)).optional();
            found.map(|id| id.map(|id| ManifestRow { id, repo, digest })).transpose()
        };
        return wanted.into_iter().filter_map(&mut find).collect();
    }
    wanted.sort();
    let mut wanted = wanted.into_iter().peekable();
    let mut found = Vec::new();
    let mut query = c.prepare_cached("SELECT digest, id FROM manifests WHERE repo = ?1 ORDER BY digest")?;
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        let digest = row.blob(0)?;
        while wanted.next_if(|wanted| wanted.as_slice() < digest).is_some() {}
        if let Some(wanted) = wanted.next_if(|wanted| wanted == digest) {
            found.push(ManifestRow { id: row.get(1)?, repo, digest: wanted });
        }
    }
    Ok(found)
}

/// Number of sets that are evaluated at once.
const SETS: usize = SetMask::BITS as usize;

/// Space that is freed, for each set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::metadata) struct FreedSpace {
    /// Number of blobs.
    pub(in crate::metadata) blobs: [u64; SETS],
    /// Allocated bytes on disk, without files that another registry's tree has too.
    pub(in crate::metadata) bytes: [u64; SETS],
    /// Allocated bytes of the blobs whose files another registry's tree has too.
    pub(in crate::metadata) hardlinked: [u64; SETS],
    /// Allocated bytes on disk, where a blob that several sets free counts only for the first of them.
    pub(in crate::metadata) disjoint_bytes: [u64; SETS],
    /// The part of all freed bytes that only one repository links, by its id. A blob counts once.
    pub(in crate::metadata) exclusive: HashMap<i64, u64>,
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
    sets: SetMask,
}

impl UnreferencedBlobs {
    /// Creates an empty collection. With `repositories`, a blob that another repository links is never freed.
    pub(in crate::metadata) fn within(repositories: Option<HashSet<i64>>) -> Self {
        Self { within: repositories, ..Self::default() }
    }

    /// Adds a blob of a repository. Each blob may be added once per repository.
    pub(in crate::metadata) fn add(&mut self, repo: i64, digest: &[u8], sets: SetMask) {
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
        removed: &HashMap<i64, SetMask>,
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
        let mut query =
            c.prepare_cached("SELECT digest, allocated, links, hardlinked FROM blobs WHERE digest = ?1")?;
        for (digest, group) in self.groups(found) {
            if let Some(blob) = query.query_row([digest], BlobUsage::read).optional()? {
                sum.add(digest, group, blob)?;
            }
        }
        Ok(())
    }

    /// Reads all blobs in the order of digests.
    fn sum_by_scan(&self, c: &dyn Connection, found: &[Found], sum: &mut FreedSum<'_>) -> sql::Result<()> {
        let mut groups = self.groups(found).peekable();
        let first = groups.peek().map_or(&[][..], |(digest, _)| *digest);
        let mut query = c.prepare_cached(
            "SELECT digest, allocated, links, hardlinked FROM blobs WHERE digest >= ?1 ORDER BY digest",
        )?;
        let mut rows = query.query([first])?;
        while groups.peek().is_some()
            && let Some(row) = rows.next()?
        {
            let current = row.blob(0)?;
            while groups.next_if(|(digest, _)| *digest < current).is_some() {}
            if let Some((digest, group)) = groups.next_if(|(digest, _)| *digest == current) {
                sum.add(digest, group, BlobUsage::read(row)?)?;
            }
        }
        Ok(())
    }
}

/// What a blob takes.
#[derive(Clone, Copy)]
struct BlobUsage {
    /// Allocated bytes on disk.
    allocated: u64,
    /// The number of repositories that link it.
    links: u64,
    /// Whether another registry's tree has its file too.
    hardlinked: bool,
}

impl BlobUsage {
    fn read(row: Row<'_>) -> sql::Result<Self> {
        Ok(Self { allocated: row.get(1)?, links: row.get(2)?, hardlinked: row.get(3)? })
    }
}

/// Running sum of the freed space.
struct FreedSum<'c> {
    removed: &'c HashMap<i64, SetMask>,
    within: Option<&'c HashSet<i64>>,
    links: Statement<'c>,
    holders: Statement<'c>,
    freed: FreedSpace,
}

impl<'c> FreedSum<'c> {
    fn new(
        c: &'c dyn Connection,
        removed: &'c HashMap<i64, SetMask>,
        within: Option<&'c HashSet<i64>>,
    ) -> sql::Result<Self> {
        let links = c.prepare_cached("SELECT repo FROM links WHERE digest = ?1")?;
        Ok(Self { removed, within, links, holders: c.prepare_cached(HOLDERS)?, freed: FreedSpace::default() })
    }

    /// Adds a blob.
    fn add(&mut self, digest: &[u8], group: &[Found], blob: BlobUsage) -> sql::Result<()> {
        let BlobUsage { allocated, links, hardlinked } = blob;
        let mut sets = group.iter().fold(SetMask::MAX, |sets, found| sets & found.sets);
        if links > group.len() as u64 {
            sets = self.unreferenced_elsewhere(digest, group, sets)?;
        }
        for set in (0..SETS).filter(|set| sets & (1 << set) != 0) {
            self.freed.blobs[set] += 1;
            let bytes = if hardlinked { &mut self.freed.hardlinked } else { &mut self.freed.bytes };
            bytes[set] += allocated;
        }
        if sets != 0 && !hardlinked {
            self.freed.disjoint_bytes[set_index(sets)] += allocated;
            if let ([only], 1) = (group, links) {
                *self.freed.exclusive.entry(only.repo).or_default() += allocated;
            }
        }
        Ok(())
    }

    /// Returns the `sets` in which the blob is also unreferenced in the other repositories that link it.
    fn unreferenced_elsewhere(
        &mut self,
        digest: &[u8],
        group: &[Found],
        mut sets: SetMask,
    ) -> sql::Result<SetMask> {
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
