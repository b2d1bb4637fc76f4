//! Restores what clients attached to a manifest with a tag that spells its digest, as cosign does for signatures. A
//! policy removes such a tag after its manifest, and a restore brings it back with the manifest: otherwise the restored
//! manifest could not be verified.

use crate::clock::Timestamp;
use crate::metadata::ops::blobs::read_digest;
use crate::metadata::ops::undo::restore::{self, Plan};
use crate::metadata::ops::{manifests, tags};
use crate::metadata::sql::{Connection, OptionalExtension, params};
use crate::metadata::{Change, ChangeKind, Restored, sql};
use crate::oci::{AttachmentKind, Tag, attached_tag};

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
    .query_map(params![repo, index, restore::MAX_MANIFESTS], |row| row.get(0))?
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
        let found = restore::find(c, repo, &was)?.filter(|_| removal.removal.is_some());
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
            if found.digest != target && !restored.taken.contains(&tag) {
                restored.taken.push(tag);
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
