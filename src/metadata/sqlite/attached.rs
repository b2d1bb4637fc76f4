//! What clients attach to a manifest by a tag that spells its digest, as cosign does with signatures. A policy takes
//! such a tag behind the manifest, and it comes back with that: else nobody could verify what came back.

use rusqlite::{Connection, OptionalExtension, params};

use super::blobs::read_digest;
use super::restore::{self, Plan};
use super::{manifests, tags};
use crate::clock::Timestamp;
use crate::metadata::{Change, ChangeKind, Restored};
use crate::oci::{AttachmentKind, Tag, attached_tag};

/// A tag that went along with a manifest that comes back.
pub(super) struct Attached {
    tag: Tag,
    target: Vec<u8>,
}

/// How a manifest went that comes back, or the index of a child that does.
#[derive(Clone, Copy)]
struct Departure {
    at: Timestamp,
    /// The deletion of the repository that took it.
    removal: Option<i64>,
}

/// Takes into the plan what was attached to its manifests and their children, as far as it can come back whole. The
/// tags that are to point there.
pub(super) fn add(c: &Connection, plan: &mut Plan) -> rusqlite::Result<Vec<Attached>> {
    let mut found = Vec::new();
    let mut next = 0;
    // What it adds is looked at too: signatures are signed.
    while let Some(manifest) = plan.manifests.get(next) {
        let departure = Departure { at: manifest.removed_at, removal: manifest.removal };
        let mut subjects = live_children(c, plan.repo, manifest.id)?;
        subjects.push(manifest.digest.clone());
        for subject in subjects {
            add_those_of(c, plan, &subject, departure, &mut found)?;
        }
        next += 1;
    }
    Ok(found)
}

/// Children that stayed when their index went: what was attached to them went all the same.
fn live_children(c: &Connection, repo: i64, index: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
    c.prepare_cached(
        "SELECT m.digest FROM edges e JOIN manifests m ON m.repo = ?1 AND m.digest = e.target
         WHERE e.manifest = ?2 AND e.kind = 1 AND m.state = 0 LIMIT ?3",
    )?
    .query_map(params![repo, index, restore::MOST.cast_signed()], |row| row.get(0))?
    .collect()
}

fn add_those_of(
    c: &Connection,
    plan: &mut Plan,
    subject: &[u8],
    departure: Departure,
    found: &mut Vec<Attached>,
) -> rusqlite::Result<()> {
    let subject = read_digest(subject)?;
    for kind in AttachmentKind::ALL {
        let tag = attached_tag(&subject, kind);
        let Some(target) = lost(c, plan.repo, &tag, departure)? else {
            continue;
        };
        let in_use = tags::find(c, plan.repo, tag.as_str())?.is_some();
        if in_use || manifests::live_id(c, plan.repo, &target)?.is_some() || plan.add_if_whole(c, &target)? {
            found.push(Attached { tag, target });
        }
    }
    Ok(())
}

/// What a tag pointed at when it was taken away with its subject: by a policy, not before that, or by the same
/// deletion of the repository. What somebody deleted stays deleted.
fn lost(c: &Connection, repo: i64, tag: &Tag, departure: Departure) -> rusqlite::Result<Option<Vec<u8>>> {
    let newest = c
        .prepare_cached(
            "SELECT was, at, kind FROM tag_history
             WHERE repo = ?1 AND name = ?2 AND digest IS NULL ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![repo, tag.as_str()], |row| {
            Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get::<_, Timestamp>(1)?, row.get::<_, ChangeKind>(2)?))
        })
        .optional()?;
    let Some((Some(was), at, kind)) = newest else {
        return Ok(None);
    };
    let by_policy = kind == ChangeKind::Expiry && at >= departure.at;
    let with_repository = || -> rusqlite::Result<bool> {
        let found = restore::find(c, repo, &was)?.filter(|_| departure.removal.is_some());
        Ok(found.is_some_and(|found| (found.removal, found.removed_at) == (departure.removal, at)))
    };
    Ok((by_policy || with_repository()?).then_some(was))
}

impl Attached {
    /// Points the tag back, unless it was used again since.
    pub(super) fn restore(
        self,
        c: &Connection,
        repo: i64,
        change: &Change,
        restored: &mut Restored,
    ) -> rusqlite::Result<()> {
        let Self { tag, target } = self;
        if let Some(found) = tags::find(c, repo, tag.as_str())? {
            if found.digest != target && !restored.taken.contains(&tag) {
                restored.taken.push(tag);
            }
            return Ok(());
        }
        let Some(id) = manifests::live_id(c, repo, &target)? else {
            return Ok(());
        };
        tags::point_tag(c, repo, tag.as_str(), (id, &target), Some(ChangeKind::Restore), change)?;
        restored.tags.push(tag);
        Ok(())
    }
}
