//! What the medium would get back if some manifests went: the blobs that nothing else holds, anywhere.
//!
//! The manifests' children and referrers go with them where nothing else holds those. A blob comes free if in
//! each repository that links it every manifest that refers to it goes. Several sets of manifests are judged
//! at once, each by itself. Where few manifests of a repository go, what they refer to is looked up; where
//! many do, its edges are read in one sweep: a look-up costs as much as many rows read in their order.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Params, Statement, params};

use super::unreferenced::{Freed, Unheld};
use super::usage::number;

/// A look-up costs about as much as so many rows that are read in their order.
pub(super) const LOOK_UP: u64 = 16;

/// Some of the sets that are judged, a bit each.
pub(super) type Sets = u8;

/// Manifests that are to go, with all that follows them.
pub(super) struct Going<'c> {
    c: &'c Connection,
    all: HashMap<i64, Sets>,
    by_repo: BTreeMap<i64, Vec<i64>>,
    /// Those whose followers have not been looked for.
    waiting: Vec<(Row, Sets)>,
    within: Option<HashSet<i64>>,
}

/// A manifest's row, repository and digest.
pub(super) type Row = (i64, i64, Vec<u8>);

impl<'c> Going<'c> {
    pub(super) fn new(c: &'c Connection) -> Self {
        Self { c, all: HashMap::new(), by_repo: BTreeMap::new(), waiting: Vec::new(), within: None }
    }

    /// The same, where blobs do not come free that others than these repositories link.
    pub(super) fn within(self, repositories: Option<HashSet<i64>>) -> Self {
        Self { within: repositories, ..self }
    }

    /// Lets a manifest go, in these sets.
    pub(super) fn add(&mut self, row: Row, sets: Sets) {
        let known = self.all.entry(row.0).or_default();
        let new = sets & !*known;
        if new == 0 {
            return;
        }
        if *known == 0 {
            self.by_repo.entry(row.1).or_default().push(row.0);
        }
        *known |= new;
        self.waiting.push((row, new));
    }

    /// What that would free, of each set.
    pub(super) fn frees(mut self) -> rusqlite::Result<Freed> {
        self.follow()?;
        let mut unreferenced = Unheld::within(self.within.take());
        for (repo, manifests) in &self.by_repo {
            let elsewhere = self.elsewhere(*repo)?;
            if is_many(self.c, *repo, manifests.len())? {
                self.sweep(*repo, &elsewhere, &mut unreferenced)?;
            } else {
                self.look_up(*repo, manifests, &elsewhere, &mut unreferenced)?;
            }
        }
        unreferenced.weigh(self.c, &self.all)
    }

    /// Lets go what those alone hold that go.
    fn follow(&mut self) -> rusqlite::Result<()> {
        let mut children = self.c.prepare_cached(
            "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.repo = e.repo AND m.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 1",
        )?;
        let mut referrers = self.c.prepare_cached(
            "SELECT m.id, m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 2",
        )?;
        let mut leaders = HashMap::new();
        for (repo, manifests) in &self.by_repo {
            if is_many(self.c, *repo, manifests.len())? {
                leaders.insert(*repo, Leaders::of(self.c, *repo)?);
            }
        }
        while let Some(((id, repo, digest), sets)) = self.waiting.pop() {
            let leads = leaders.get(&repo);
            let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
            if leads.is_none_or(|leads| leads.indexes.contains(&id)) {
                found.extend(rows(&mut children, [id])?);
            }
            if leads.is_none_or(|leads| leads.subjects.contains(&digest)) {
                found.extend(rows(&mut referrers, params![repo, digest])?);
            }
            for (id, digest) in found {
                let new = sets & !self.all.get(&id).copied().unwrap_or(0);
                let goes = if new == 0 { 0 } else { self.let_go_of(id, repo, &digest, new)? };
                self.add((id, repo, digest), goes);
            }
        }
        Ok(())
    }

    /// In which of the `sets` neither a tag holds a manifest, nor an index or subject that stays.
    fn let_go_of(&self, id: i64, repo: i64, digest: &[u8], sets: Sets) -> rusqlite::Result<Sets> {
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
        let sets = all_go(&mut indexes, params![repo, digest, id], &self.all, sets)?;
        all_go(&mut subjects, [id], &self.all, sets)
    }

    /// Finds the blobs that these manifests alone hold in a repository.
    fn look_up(
        &self,
        repo: i64,
        manifests: &[i64],
        elsewhere: &HashSet<Vec<u8>>,
        unreferenced: &mut Unheld,
    ) -> rusqlite::Result<()> {
        let mut edges = self.c.prepare_cached("SELECT target FROM edges WHERE manifest = ?1 AND kind = 0")?;
        let mut holders = self.c.prepare_cached(HOLDERS)?;
        let mut seen = HashSet::new();
        for manifest in manifests {
            for target in edges.query_map([manifest], |row| row.get::<_, Vec<u8>>(0))? {
                let target = target?;
                if seen.contains(&target) {
                    continue;
                }
                let sets = all_go(&mut holders, params![repo, target], &self.all, Sets::MAX)?;
                self.note(repo, &target, sets, elsewhere, unreferenced)?;
                seen.insert(target);
            }
        }
        Ok(())
    }

    /// Finds all of them in a repository.
    fn sweep(
        &self,
        repo: i64,
        elsewhere: &HashSet<Vec<u8>>,
        unreferenced: &mut Unheld,
    ) -> rusqlite::Result<()> {
        let mut edges = self.c.prepare_cached(
            "SELECT target, manifest FROM edges INDEXED BY edges_by_target
             WHERE repo = ?1 AND kind = 0 ORDER BY target",
        )?;
        let mut rows = edges.query([repo])?;
        let (mut target, mut sets): (Vec<u8>, Sets) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let next = row.get_ref(0)?.as_blob()?;
            if next != target {
                self.note(repo, &target, sets, elsewhere, unreferenced)?;
                target.clear();
                target.extend_from_slice(next);
                sets = Sets::MAX;
            }
            if sets != 0 {
                sets &= self.all.get(&row.get(1)?).copied().unwrap_or(0);
            }
        }
        self.note(repo, &target, sets, elsewhere, unreferenced)
    }

    /// Notes a blob that nothing holds in a repository, if that has it.
    fn note(
        &self,
        repo: i64,
        target: &[u8],
        sets: Sets,
        elsewhere: &HashSet<Vec<u8>>,
        unreferenced: &mut Unheld,
    ) -> rusqlite::Result<()> {
        if sets == 0 || (elsewhere.contains(target) && !is_linked(self.c, repo, target)?) {
            return Ok(());
        }
        unreferenced.add(repo, target, sets);
        Ok(())
    }

    /// The blobs that some manifest of a repository refers to without need of them: they may not be there.
    fn elsewhere(&self, repo: i64) -> rusqlite::Result<HashSet<Vec<u8>>> {
        let mut query = self.c.prepare_cached(
            "SELECT target FROM edges INDEXED BY edges_elsewhere WHERE repo = ?1 AND kind = 0 AND required = 0",
        )?;
        query.query_map([repo], |row| row.get(0))?.collect()
    }
}

/// The manifests of a repository that others may follow: indexes by their rows, subjects by their digests.
struct Leaders {
    indexes: HashSet<i64>,
    subjects: HashSet<Vec<u8>>,
}

impl Leaders {
    fn of(c: &Connection, repo: i64) -> rusqlite::Result<Self> {
        let mut indexes = c.prepare_cached(
            "SELECT manifest FROM edges INDEXED BY edges_of_indexes WHERE repo = ?1 AND kind = 1",
        )?;
        let mut subjects = c.prepare_cached(
            "SELECT target FROM edges INDEXED BY edges_of_referrers WHERE repo = ?1 AND kind = 2",
        )?;
        Ok(Self {
            indexes: indexes.query_map([repo], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?,
            subjects: subjects.query_map([repo], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?,
        })
    }
}

/// The manifests that hold the blob `?2` in the repository `?1`.
pub(super) const HOLDERS: &str = "SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 0";

/// In which of the `sets` all of the manifests go that a query finds.
pub(super) fn all_go(
    query: &mut Statement<'_>,
    values: impl Params,
    going: &HashMap<i64, Sets>,
    mut sets: Sets,
) -> rusqlite::Result<Sets> {
    let mut rows = query.query(values)?;
    while sets != 0
        && let Some(row) = rows.next()?
    {
        sets &= going.get(&row.get(0)?).copied().unwrap_or(0);
    }
    Ok(sets)
}

fn rows(query: &mut Statement<'_>, values: impl Params) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn is_linked(c: &Connection, repo: i64, target: &[u8]) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM links WHERE repo = ?1 AND digest = ?2")?.exists(params![repo, target])
}

/// Whether so many manifests of a repository are enough to look at all of them.
fn is_many(c: &Connection, repo: i64, manifests: usize) -> rusqlite::Result<bool> {
    let mut query = c.prepare_cached("SELECT manifests FROM repositories WHERE id = ?1")?;
    let all = query.query_row([repo], |row| number(row, 0)).optional()?.unwrap_or(0);
    Ok((manifests as u64).saturating_mul(LOOK_UP) > all)
}

/// The manifests of a repository with these digests, of those that are there.
pub(super) fn find(c: &Connection, repo: i64, mut wanted: Vec<Vec<u8>>) -> rusqlite::Result<Vec<Row>> {
    if !is_many(c, repo, wanted.len())? {
        let mut query = c.prepare_cached("SELECT id FROM manifests WHERE repo = ?1 AND digest = ?2")?;
        let mut find = |digest: Vec<u8>| {
            let found = query.query_row(params![repo, digest], |row| row.get(0)).optional();
            found.map(|id| id.map(|id| (id, repo, digest))).transpose()
        };
        return wanted.into_iter().filter_map(&mut find).collect();
    }
    wanted.sort();
    let (mut wanted, mut found) = (wanted.into_iter().peekable(), Vec::new());
    let mut query = c.prepare_cached("SELECT digest, id FROM manifests WHERE repo = ?1 ORDER BY digest")?;
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        let digest = row.get_ref(0)?.as_blob()?;
        while wanted.next_if(|wanted| wanted.as_slice() < digest).is_some() {}
        if let Some(wanted) = wanted.next_if(|wanted| wanted == digest) {
            found.push((row.get(1)?, repo, wanted));
        }
    }
    Ok(found)
}
