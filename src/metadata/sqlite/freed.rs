//! What the medium would get back if some manifests went: the blobs that nothing else holds, anywhere.
//!
//! The manifests' children and referrers go with them where nothing else holds those. A blob comes free if in
//! each repository that links it every manifest that refers to it goes. Where many manifests of a repository
//! go, its edges are read in one sweep; where few do, those of each blob are looked up.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::usage::number;

/// A repository's edges are read in one sweep where more than one in so many of its manifests goes.
const MANY: u64 = 8;

/// Manifests that are to go, with all that follows them.
pub(super) struct Going<'c> {
    c: &'c Connection,
    all: HashSet<i64>,
    by_repo: BTreeMap<i64, Vec<i64>>,
    /// Those whose followers have not been looked for: row, repository, digest.
    waiting: Vec<(i64, i64, Vec<u8>)>,
}

/// A manifest's row, repository and digest.
pub(super) type Row = (i64, i64, Vec<u8>);

impl<'c> Going<'c> {
    pub(super) fn new(c: &'c Connection) -> Self {
        Self { c, all: HashSet::new(), by_repo: BTreeMap::new(), waiting: Vec::new() }
    }

    /// Lets a manifest go.
    pub(super) fn add(&mut self, (id, repo, digest): Row) {
        if self.all.insert(id) {
            self.by_repo.entry(repo).or_default().push(id);
            self.waiting.push((id, repo, digest));
        }
    }

    /// How many bytes that would free.
    pub(super) fn frees(mut self) -> rusqlite::Result<u64> {
        self.follow()?;
        let mut freed = Freed::new(self.c, &self.all)?;
        for (repo, manifests) in &self.by_repo {
            if manifests.len() as u64 * MANY > self.manifests_of(*repo)? {
                freed.sweep(*repo)?;
            } else {
                freed.look_up(*repo, manifests)?;
            }
        }
        Ok(freed.bytes)
    }

    fn manifests_of(&self, repo: i64) -> rusqlite::Result<u64> {
        let mut query = self.c.prepare_cached("SELECT manifests FROM repositories WHERE id = ?1")?;
        query.query_row([repo], |row| number(row, 0))
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
        while let Some((id, repo, digest)) = self.waiting.pop() {
            let mut found: Vec<(i64, Vec<u8>)> = Vec::new();
            for row in children.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))? {
                found.push(row?);
            }
            for row in referrers.query_map(params![repo, digest], |row| Ok((row.get(0)?, row.get(1)?)))? {
                found.push(row?);
            }
            for (id, digest) in found {
                if !self.all.contains(&id) && !self.is_held(id, repo, &digest)? {
                    self.add((id, repo, digest));
                }
            }
        }
        Ok(())
    }

    /// Whether a tag holds a manifest, or an index or subject that stays.
    fn is_held(&self, id: i64, repo: i64, digest: &[u8]) -> rusqlite::Result<bool> {
        let tagged = self.c.prepare_cached("SELECT 1 FROM tags WHERE manifest = ?1 LIMIT 1")?.exists([id])?;
        let mut indexes = self.c.prepare_cached(
            "SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 1 AND manifest <> ?3",
        )?;
        let mut subjects = self.c.prepare_cached(
            "SELECT s.id FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 2 AND s.id <> ?1",
        )?;
        Ok(tagged
            || stays(&mut indexes, params![repo, digest, id], &self.all)?
            || stays(&mut subjects, [id], &self.all)?)
    }
}

/// Whether any of the manifests that a query finds stays.
fn stays(
    query: &mut Statement<'_>,
    values: impl rusqlite::Params,
    going: &HashSet<i64>,
) -> rusqlite::Result<bool> {
    let mut rows = query.query(values)?;
    while let Some(row) = rows.next()? {
        if !going.contains(&row.get(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Blobs that come free, as they are found.
pub(super) struct Freed<'c> {
    c: &'c Connection,
    going: &'c HashSet<i64>,
    holders: rusqlite::CachedStatement<'c>,
    linked: rusqlite::CachedStatement<'c>,
    links: rusqlite::CachedStatement<'c>,
    /// Blobs of several repositories that were judged.
    judged: HashSet<Vec<u8>>,
    /// What the blobs take that come free, in bytes.
    pub(super) bytes: u64,
    /// How many they are.
    pub(super) blobs: u64,
}

impl<'c> Freed<'c> {
    pub(super) fn new(c: &'c Connection, going: &'c HashSet<i64>) -> rusqlite::Result<Self> {
        let holders =
            c.prepare_cached("SELECT manifest FROM edges WHERE repo = ?1 AND target = ?2 AND kind = 0")?;
        let linked = c.prepare_cached(
            "SELECT b.allocated, b.links FROM links l JOIN blobs b ON b.digest = l.digest
             WHERE l.repo = ?1 AND l.digest = ?2",
        )?;
        let links = c.prepare_cached("SELECT repo FROM links WHERE digest = ?1")?;
        Ok(Self { c, going, holders, linked, links, judged: HashSet::new(), bytes: 0, blobs: 0 })
    }

    fn look_up(&mut self, repo: i64, manifests: &[i64]) -> rusqlite::Result<()> {
        let mut edges = self.c.prepare_cached("SELECT target FROM edges WHERE manifest = ?1 AND kind = 0")?;
        let mut seen = HashSet::new();
        for manifest in manifests {
            for target in edges.query_map([manifest], |row| row.get::<_, Vec<u8>>(0))? {
                let target = target?;
                if !seen.contains(&target) {
                    self.judge(repo, &target)?;
                    seen.insert(target);
                }
            }
        }
        Ok(())
    }

    /// Judges a blob that a repository may have.
    pub(super) fn judge(&mut self, repo: i64, target: &[u8]) -> rusqlite::Result<()> {
        if stays(&mut self.holders, params![repo, target], self.going)? {
            return Ok(());
        }
        self.unheld(repo, target)
    }

    /// Judges all blobs of a repository to which a manifest refers.
    fn sweep(&mut self, repo: i64) -> rusqlite::Result<()> {
        let mut edges = self.c.prepare_cached(
            "SELECT target, kind, manifest FROM edges INDEXED BY edges_by_target WHERE repo = ?1 ORDER BY target",
        )?;
        let mut rows = edges.query([repo])?;
        let (mut target, mut unheld): (Vec<u8>, bool) = (Vec::new(), false);
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? != 0 {
                continue;
            }
            let next = row.get_ref(0)?.as_blob()?;
            if next != target {
                if unheld {
                    self.unheld(repo, &target)?;
                }
                target.clear();
                target.extend_from_slice(next);
                unheld = true;
            }
            unheld &= self.going.contains(&row.get(2)?);
        }
        if unheld {
            self.unheld(repo, &target)?;
        }
        Ok(())
    }

    /// A blob that nothing holds in one repository: others may have it too.
    fn unheld(&mut self, repo: i64, target: &[u8]) -> rusqlite::Result<()> {
        let found =
            self.linked.query_row(params![repo, target], |row| Ok((number(row, 0)?, number(row, 1)?)));
        let Some((allocated, links)) = found.optional()? else {
            return Ok(());
        };
        if links > 1 && (!self.judged.insert(target.to_vec()) || self.is_held_elsewhere(repo, target)?) {
            return Ok(());
        }
        self.bytes += allocated;
        self.blobs += 1;
        Ok(())
    }

    fn is_held_elsewhere(&mut self, repo: i64, target: &[u8]) -> rusqlite::Result<bool> {
        let mut rows = self.links.query([target])?;
        while let Some(row) = rows.next()? {
            let other: i64 = row.get(0)?;
            if other != repo && stays(&mut self.holders, params![other, target], self.going)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The manifest of a repository, if it is there.
pub(super) fn find(c: &Connection, repo: i64, digest: &[u8]) -> rusqlite::Result<Option<Row>> {
    c.prepare_cached("SELECT id FROM manifests WHERE repo = ?1 AND digest = ?2")?
        .query_row(params![repo, digest], |row| Ok((row.get(0)?, repo, digest.to_vec())))
        .optional()
}
