//! The way back out of the trash: first a plan of all that must come back together, which changes nothing, then
//! the change.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::blobs::{link_is_there, read_digest};
use super::holds::{self, Review};
use super::{attached, name_from, tags};
use crate::clock::Timestamp;
use crate::metadata::{Change, ChangeKind, EdgeKind, Restored};
use crate::oci::{Digest, Tag};

/// The most manifests that come back together.
pub(super) const MOST: usize = 1000;

/// The most edges that are looked at for them. What is behind is named as missing: it can be restored first.
const MOST_EDGES: usize = 50_000;

/// How deep indexes may list indexes that come back together.
const DEPTH: usize = 16;

/// What a manifest lacks.
pub(super) type Missing = Vec<(Digest, EdgeKind)>;

/// A manifest in the trash.
pub(super) struct Removed {
    pub(super) id: i64,
    pub(super) digest: Vec<u8>,
    pub(super) removed_at: Timestamp,
    pub(super) removal: Option<i64>,
}

impl Removed {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, digest: row.get(1)?, removed_at: row.get(2)?, removal: row.get(3)? })
    }
}

/// A manifest in the trash, by its digest.
pub(super) fn find(c: &Connection, repo: i64, digest: &[u8]) -> rusqlite::Result<Option<Removed>> {
    c.prepare_cached(
        "SELECT id, digest, removed_at, removal FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 1",
    )?
    .query_row(params![repo, digest], Removed::read)
    .optional()
}

/// Those that a deletion of their repository took away, in the order of their rows.
pub(super) fn of_removal(
    c: &Connection,
    removal: i64,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Removed>> {
    let mut query = c.prepare_cached(
        "SELECT id, digest, removed_at, removal FROM manifests
         WHERE removal = ?1 AND state = 1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    query.query_map(params![removal, after, limit.cast_signed()], Removed::read)?.collect()
}

/// What comes back together.
pub(super) struct Plan {
    pub(super) repo: i64,
    pub(super) manifests: Vec<Removed>,
    seen: HashSet<i64>,
    edges: usize,
}

/// Brings a manifest back, with children that are in the trash too and what was attached to these; with `tags`
/// also the tags that were taken away with it. Or tells what is missing, and changes nothing.
pub(super) fn restore(
    c: &Connection,
    repo: i64,
    root: Removed,
    with_tags: bool,
    change: &Change,
) -> rusqlite::Result<Result<Restored, Missing>> {
    let removal = root.removal;
    let mut plan = Plan { repo, manifests: Vec::new(), seen: HashSet::new(), edges: 0 };
    let missing = plan.add(c, root, 0)?;
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let attached = attached::add(c, &mut plan)?;
    for manifest in &plan.manifests {
        revive(c, repo, manifest, change.now)?;
    }
    let mut restored = Restored::default();
    for (place, manifest) in plan.manifests.iter().enumerate() {
        // A repository that comes back brings its children's tags too, in whatever order they come.
        if with_tags && (place == 0 || (removal.is_some() && manifest.removal == removal)) {
            restore_tags(c, repo, manifest, change, &mut restored)?;
        }
        holds::queue_manifest(c, manifest.id, repo, &manifest.digest, change.now)?;
        restored.manifests.push(read_digest(&manifest.digest)?);
    }
    for attached in attached {
        attached.restore(c, repo, change, &mut restored)?;
    }
    Ok(Ok(restored))
}

impl Plan {
    /// Takes a manifest into the plan, and what it needs; or tells what is missing.
    fn add(&mut self, c: &Connection, manifest: Removed, depth: usize) -> rusqlite::Result<Missing> {
        if !self.seen.insert(manifest.id) {
            return Ok(Missing::new());
        }
        let edges = edges_of(c, manifest.id)?;
        self.edges += edges.len();
        self.manifests.push(manifest);
        let mut missing = Missing::new();
        for (target, kind, required) in edges {
            let lacks = match kind {
                EdgeKind::Blob if required && !link_is_there(c, self.repo, &target)? => {
                    vec![(read_digest(&target)?, kind)]
                }
                EdgeKind::Child => self.add_child(c, &target, required, depth)?,
                EdgeKind::Blob | EdgeKind::Subject => Missing::new(),
            };
            missing.extend(lacks);
        }
        Ok(missing)
    }

    /// A child comes back if it is in the trash. One that need not be there is left where it cannot.
    fn add_child(
        &mut self,
        c: &Connection,
        target: &[u8],
        required: bool,
        depth: usize,
    ) -> rusqlite::Result<Missing> {
        if super::manifests::live_id(c, self.repo, target)?.is_some() {
            return Ok(Missing::new());
        }
        let found = if depth == DEPTH { None } else { self.find(c, target)? };
        let Some(child) = found else {
            return if required {
                Ok(vec![(read_digest(target)?, EdgeKind::Child)])
            } else {
                Ok(Missing::new())
            };
        };
        let before = self.manifests.len();
        let missing = self.add(c, child, depth + 1)?;
        if required || missing.is_empty() {
            return Ok(missing);
        }
        self.leave(before);
        Ok(Missing::new())
    }

    /// Takes a manifest into the plan that is in the trash and lacks nothing. Whether it did.
    pub(super) fn add_if_whole(&mut self, c: &Connection, target: &[u8]) -> rusqlite::Result<bool> {
        let Some(manifest) = self.find(c, target)? else {
            return Ok(false);
        };
        let before = self.manifests.len();
        let is_whole = self.add(c, manifest, 0)?.is_empty();
        if !is_whole {
            self.leave(before);
        }
        Ok(is_whole)
    }

    /// A manifest in the trash, if there is room for it in the plan.
    fn find(&self, c: &Connection, target: &[u8]) -> rusqlite::Result<Option<Removed>> {
        let full = self.manifests.len() >= MOST || self.edges >= MOST_EDGES;
        if full { Ok(None) } else { find(c, self.repo, target) }
    }

    /// Takes out what came into the plan since it had so many manifests.
    fn leave(&mut self, before: usize) {
        for left in self.manifests.drain(before..) {
            self.seen.remove(&left.id);
        }
    }
}

fn edges_of(c: &Connection, manifest: i64) -> rusqlite::Result<Vec<(Vec<u8>, EdgeKind, bool)>> {
    c.prepare_cached("SELECT target, kind, required FROM edges WHERE manifest = ?1")?
        .query_map([manifest], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Makes a manifest live again, and visible what it needs, as when it is put again.
fn revive(c: &Connection, repo: i64, manifest: &Removed, now: Timestamp) -> rusqlite::Result<()> {
    c.prepare_cached(
        "UPDATE manifests SET state = 0, removed_at = NULL, removal = NULL, purged_to = 0,
                              leased_at = max(leased_at, ?2)
         WHERE id = ?1",
    )?
    .execute(params![manifest.id, now])?;
    c.prepare_cached(
        "UPDATE links SET hidden_at = NULL WHERE repo = ?1 AND hidden_at IS NOT NULL AND digest IN
         (SELECT target FROM edges WHERE manifest = ?2 AND kind = 0 AND required = 1)",
    )?
    .execute(params![repo, manifest.id])?;
    holds::unqueue(c, Review::Orphan, repo, &manifest.digest)
}

/// Brings the tags back that a manifest lost when it was removed, but for those that were used again since.
fn restore_tags(
    c: &Connection,
    repo: i64,
    manifest: &Removed,
    change: &Change,
    restored: &mut Restored,
) -> rusqlite::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT id, name FROM tag_history WHERE repo = ?1 AND was = ?2 AND at = ?3 AND digest IS NULL",
    )?;
    let rows = query.query_map(params![repo, manifest.digest, manifest.removed_at], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    for (row, name) in rows.collect::<rusqlite::Result<Vec<(i64, String)>>>()? {
        let tag: Tag = name_from(&name, 1)?;
        if newest(c, repo, &name)? == Some(row) {
            let target = (manifest.id, manifest.digest.as_slice());
            tags::point_tag(c, repo, &name, target, Some(ChangeKind::Restore), change)?;
            restored.tags.push(tag);
        } else if !restored.taken.contains(&tag) {
            restored.taken.push(tag);
        }
    }
    Ok(())
}

/// The newest row of a tag's history.
pub(super) fn newest(c: &Connection, repo: i64, tag: &str) -> rusqlite::Result<Option<i64>> {
    c.prepare_cached("SELECT id FROM tag_history WHERE repo = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1")?
        .query_row(params![repo, tag], |row| row.get(0))
        .optional()
}

/// Whether a manifest is in the trash.
pub(super) fn is_removed(c: &Connection, id: i64) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE id = ?1 AND state = 1")?.exists([id])
}
