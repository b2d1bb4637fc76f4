//! Restores manifests from the trash: first plans what must be restored together, without changing anything, then
//! applies the plan.
//!
//! Clients attach things to a manifest with a tag that spells its digest, as cosign does for signatures. A policy
//! removes such a tag after its manifest, and a restore brings it back with the manifest: otherwise the restored
//! manifest could not be verified.

use std::collections::HashSet;

use crate::clock::Timestamp;
use crate::metadata::ops::blobs::{read_digest, unhide_required};
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::{accounting, manifests, tags};
use crate::metadata::sql::{self, Connection, OptionalExtension, Row, params};
use crate::metadata::{Change, ChangeKind, EdgeKind, Restored};
use crate::oci::{AttachmentKind, Digest, Tag, attached_tag};

/// Maximum number of manifests that are restored together.
pub(in crate::metadata) const MAX_MANIFESTS: usize = 1000;

/// Maximum number of edges that a plan follows. What lies beyond is reported as missing: it can be restored first.
const MAX_EDGES: usize = 50_000;

/// Maximum depth of nested indexes that are restored together.
const MAX_DEPTH: usize = 16;

/// Missing targets of a manifest.
pub(in crate::metadata) type Missing = Vec<(Digest, EdgeKind)>;

/// A manifest in the trash.
pub(in crate::metadata) struct Removed {
    pub(in crate::metadata) id: i64,
    pub(in crate::metadata) digest: Vec<u8>,
    pub(in crate::metadata) removed_at: Timestamp,
    pub(in crate::metadata) removal: Option<i64>,
}

impl Removed {
    fn read(row: Row<'_>) -> sql::Result<Self> {
        Ok(Self { id: row.get(0)?, digest: row.get(1)?, removed_at: row.get(2)?, removal: row.get(3)? })
    }
}

/// Finds a manifest in the trash.
pub(in crate::metadata) fn find(
    c: &dyn Connection,
    repo: i64,
    digest: &[u8],
) -> sql::Result<Option<Removed>> {
    c.prepare_cached(
        "SELECT id, digest, removed_at, removal FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 1",
    )?
    .query_row(params![repo, digest], Removed::read)
    .optional()
}

/// Lists the manifests that the deletion `removal` of their repository removed, in the order of their rows.
pub(in crate::metadata) fn list_removed(
    c: &dyn Connection,
    removal: i64,
    after: i64,
    limit: usize,
) -> sql::Result<Vec<Removed>> {
    let mut query = c.prepare_cached(
        "SELECT id, digest, removed_at, removal FROM manifests
         WHERE removal = ?1 AND state = 1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    query.query_map(params![removal, after, limit], Removed::read)?.collect()
}

/// The manifests to restore together.
pub(in crate::metadata) struct Plan {
    pub(in crate::metadata) repo: i64,
    pub(in crate::metadata) manifests: Vec<Removed>,
    seen: HashSet<i64>,
    edges: usize,
}

/// Restores a manifest together with its children in the trash and what was attached to them; with `with_tags` also the
/// tags that were removed with it. If something is missing, returns that and changes nothing.
pub(in crate::metadata) fn restore(
    c: &dyn Connection,
    repo: i64,
    root: Removed,
    with_tags: bool,
    change: &Change,
) -> sql::Result<Result<Restored, Missing>> {
    let removal = root.removal;
    let mut plan = Plan { repo, manifests: Vec::new(), seen: HashSet::new(), edges: 0 };
    let missing = plan.add(c, root, 0)?;
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let attached = add_attached(c, &mut plan)?;
    for manifest in &plan.manifests {
        revive(c, repo, manifest, change.now)?;
    }
    let mut restored = Restored::default();
    for (index, manifest) in plan.manifests.iter().enumerate() {
        // If the whole repository is restored, the children get their tags too, in any order.
        if with_tags && (index == 0 || (removal.is_some() && manifest.removal == removal)) {
            restore_tags(c, repo, manifest, change, &mut restored)?;
        }
        liveness::queue_manifest(c, manifest.id, repo, &manifest.digest, change.now)?;
        restored.manifests.push(read_digest(&manifest.digest)?);
    }
    for attached in attached {
        attached.restore(c, repo, change, &mut restored)?;
    }
    Ok(Ok(restored))
}

impl Plan {
    /// Adds a manifest and what it needs to the plan. Returns what is missing.
    fn add(&mut self, c: &dyn Connection, manifest: Removed, depth: usize) -> sql::Result<Missing> {
        if !self.seen.insert(manifest.id) {
            return Ok(Missing::new());
        }
        let targets = targets_of(c, manifest.id)?;
        self.edges += targets.len();
        self.manifests.push(manifest);
        let mut missing = Missing::new();
        for Target { digest, kind, required, linked } in targets {
            let unavailable = match kind {
                EdgeKind::Blob if required && !linked => vec![(read_digest(&digest)?, kind)],
                EdgeKind::Child => self.add_child(c, &digest, required, depth)?,
                EdgeKind::Blob | EdgeKind::Subject => Missing::new(),
            };
            missing.extend(unavailable);
        }
        Ok(missing)
    }

    /// Adds a child to the plan if it is in the trash. An optional child that can't be restored is left out.
    fn add_child(
        &mut self,
        c: &dyn Connection,
        target: &[u8],
        required: bool,
        depth: usize,
    ) -> sql::Result<Missing> {
        if manifests::live_id(c, self.repo, target)?.is_some() {
            return Ok(Missing::new());
        }
        let found = if depth == MAX_DEPTH { None } else { self.find(c, target)? };
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
        self.truncate(before);
        Ok(Missing::new())
    }

    /// Adds a manifest from the trash to the plan if nothing that it needs is missing. Returns whether it was added.
    pub(in crate::metadata) fn add_if_complete(
        &mut self,
        c: &dyn Connection,
        target: &[u8],
    ) -> sql::Result<bool> {
        let Some(manifest) = self.find(c, target)? else {
            return Ok(false);
        };
        let before = self.manifests.len();
        let is_complete = self.add(c, manifest, 0)?.is_empty();
        if !is_complete {
            self.truncate(before);
        }
        Ok(is_complete)
    }

    /// Finds a manifest in the trash, unless the plan is full.
    fn find(&self, c: &dyn Connection, target: &[u8]) -> sql::Result<Option<Removed>> {
        let is_full = self.manifests.len() >= MAX_MANIFESTS || self.edges >= MAX_EDGES;
        if is_full { Ok(None) } else { find(c, self.repo, target) }
    }

    /// Removes all manifests from the plan but the first `len`.
    fn truncate(&mut self, len: usize) {
        for removed in self.manifests.drain(len..) {
            self.seen.remove(&removed.id);
        }
    }
}

/// What a manifest refers to.
struct Target {
    digest: Vec<u8>,
    kind: EdgeKind,
    required: bool,
    /// Whether it is a blob that the repository links, hidden or not, and that is not quarantined.
    linked: bool,
}

fn targets_of(c: &dyn Connection, manifest: i64) -> sql::Result<Vec<Target>> {
    c.prepare_cached(
        "SELECT e.target, e.kind, e.required,
                EXISTS (SELECT 1 FROM links l JOIN blobs b ON b.digest = l.digest
                        WHERE l.repo = e.repo AND l.digest = e.target AND b.damaged = 0)
         FROM edges e WHERE e.manifest = ?1",
    )?
    .query_map([manifest], |row| {
        Ok(Target { digest: row.get(0)?, kind: row.get(1)?, required: row.get(2)?, linked: row.get(3)? })
    })?
    .collect()
}

/// Makes a manifest live again and its blobs visible, as if it were pushed again.
fn revive(c: &dyn Connection, repo: i64, manifest: &Removed, now: Timestamp) -> sql::Result<()> {
    c.prepare_cached(
        "UPDATE manifests SET state = 0, removed_at = NULL, removal = NULL, purged_to = 0,
                              leased_at = CASE WHEN leased_at < ?2 THEN ?2 ELSE leased_at END
         WHERE id = ?1",
    )?
    .execute(params![manifest.id, now])?;
    accounting::change_live(c, repo, 1)?;
    unhide_required(c, repo, manifest.id)?;
    liveness::dequeue(c, Review::Orphan, repo, &manifest.digest)
}

/// Restores the tags that a manifest lost when it was removed, except those that have been reused.
fn restore_tags(
    c: &dyn Connection,
    repo: i64,
    manifest: &Removed,
    change: &Change,
    restored: &mut Restored,
) -> sql::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT id, name FROM tag_history WHERE repo = ?1 AND was = ?2 AND at = ?3 AND digest IS NULL",
    )?;
    let rows = query.query_map(params![repo, manifest.digest, manifest.removed_at], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    for (row, tag) in rows.collect::<sql::Result<Vec<(i64, Tag)>>>()? {
        if newest_history_row(c, repo, tag.as_str())? == Some(row) {
            let kind = Some(ChangeKind::Restore);
            tags::point_tag(c, repo, tag.as_str(), manifest.id, &manifest.digest, kind, change)?;
            restored.tags.push(tag);
        } else if !restored.tags_in_use.contains(&tag) {
            restored.tags_in_use.push(tag);
        }
    }
    Ok(())
}

/// Finds the newest row of a tag's history.
pub(in crate::metadata) fn newest_history_row(
    c: &dyn Connection,
    repo: i64,
    tag: &str,
) -> sql::Result<Option<i64>> {
    c.prepare_cached("SELECT id FROM tag_history WHERE repo = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1")?
        .query_row(params![repo, tag], |row| row.get(0))
        .optional()
}

/// Whether a manifest is in the trash.
pub(in crate::metadata) fn is_removed(c: &dyn Connection, id: i64) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM manifests WHERE id = ?1 AND state = 1")?.exists([id])
}

/// A tag that was removed along with a manifest that is being restored.
pub(in crate::metadata) struct Attached {
    tag: Tag,
    target: Vec<u8>,
}

/// How the manifest that is being restored, or the index of its child, was removed.
#[derive(Clone, Copy)]
struct Removal {
    at: Timestamp,
    /// The deletion of the repository that removed it.
    removal: Option<i64>,
}

/// Adds what was attached to the manifests of the plan and to their children, if it can be restored completely. Returns
/// the tags to restore.
pub(in crate::metadata) fn add_attached(c: &dyn Connection, plan: &mut Plan) -> sql::Result<Vec<Attached>> {
    let mut found = Vec::new();
    let mut next = 0;
    // Attachments can have attachments: signatures may be signed.
    while let Some(manifest) = plan.manifests.get(next) {
        let removal = Removal { at: manifest.removed_at, removal: manifest.removal };
        let mut subjects = live_children(c, plan.repo, manifest.id)?;
        subjects.push(manifest.digest.clone());
        for subject in subjects {
            add_attached_to(c, plan, &subject, removal, &mut found)?;
        }
        next += 1;
    }
    Ok(found)
}

/// Lists children that stayed when their index was removed. What was attached to them was removed all the same.
fn live_children(c: &dyn Connection, repo: i64, index: i64) -> sql::Result<Vec<Vec<u8>>> {
    c.prepare_cached(
        "SELECT m.digest FROM edges e JOIN manifests m ON m.repo = ?1 AND m.digest = e.target
         WHERE e.manifest = ?2 AND e.kind = 1 AND m.state = 0 LIMIT ?3",
    )?
    .query_map(params![repo, index, MAX_MANIFESTS], |row| row.get(0))?
    .collect()
}

fn add_attached_to(
    c: &dyn Connection,
    plan: &mut Plan,
    subject: &[u8],
    removal: Removal,
    found: &mut Vec<Attached>,
) -> sql::Result<()> {
    let subject = read_digest(subject)?;
    for kind in AttachmentKind::ALL {
        let tag = attached_tag(&subject, kind);
        let Some(target) = removed_target(c, plan.repo, &tag, removal)? else {
            continue;
        };
        let in_use = tags::find(c, plan.repo, tag.as_str())?.is_some();
        if in_use
            || manifests::live_id(c, plan.repo, &target)?.is_some()
            || plan.add_if_complete(c, &target)?
        {
            found.push(Attached { tag, target });
        }
    }
    Ok(())
}

/// Finds what a tag pointed at when it was removed with its subject: by a policy, not earlier than the subject, or by
/// the same deletion of the repository. A tag that a user deleted stays deleted.
fn removed_target(
    c: &dyn Connection,
    repo: i64,
    tag: &Tag,
    removal: Removal,
) -> sql::Result<Option<Vec<u8>>> {
    let newest = c
        .prepare_cached(
            "SELECT was, at, kind FROM tag_history
             WHERE repo = ?1 AND name = ?2 AND digest IS NULL ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![repo, tag.as_str()], |row| {
            Ok((row.get::<Option<Vec<u8>>>(0)?, row.get::<Timestamp>(1)?, row.get::<ChangeKind>(2)?))
        })
        .optional()?;
    let Some((Some(was), at, kind)) = newest else {
        return Ok(None);
    };
    let by_policy = kind == ChangeKind::Expiry && at >= removal.at;
    let with_repository = || -> sql::Result<bool> {
        let found = find(c, repo, &was)?.filter(|_| removal.removal.is_some());
        Ok(found.is_some_and(|found| (found.removal, found.removed_at) == (removal.removal, at)))
    };
    Ok((by_policy || with_repository()?).then_some(was))
}

impl Attached {
    /// Points the tag at its manifest again, unless the tag has been reused.
    pub(in crate::metadata) fn restore(
        self,
        c: &dyn Connection,
        repo: i64,
        change: &Change,
        restored: &mut Restored,
    ) -> sql::Result<()> {
        let Self { tag, target } = self;
        if let Some(found) = tags::find(c, repo, tag.as_str())? {
            if found.digest != target && !restored.tags_in_use.contains(&tag) {
                restored.tags_in_use.push(tag);
            }
            return Ok(());
        }
        let Some(id) = manifests::live_id(c, repo, &target)? else {
            return Ok(());
        };
        tags::point_tag(c, repo, tag.as_str(), id, &target, Some(ChangeKind::Restore), change)?;
        restored.tags.push(tag);
        Ok(())
    }
}
