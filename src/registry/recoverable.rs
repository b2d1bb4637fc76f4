//! What can be brought back: removed manifests and removed tags in one list, newest first.

use std::cmp::Reverse;

use super::{Registry, ServiceError};
use crate::clock::Timestamp;
use crate::metadata::{RemovedManifest, RemovedTag, TrashCursor, TrashPage};
use crate::oci::RepoName;

/// Something that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recoverable {
    /// A manifest in the trash.
    Manifest(RemovedManifest),
    /// A tag whose manifest lives on.
    Tag(RemovedTag),
}

/// The two kinds, in the order that those of one moment are listed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecoverableKind {
    /// A manifest.
    Manifest,
    /// A tag.
    Tag,
}

/// A place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoverablePlace {
    /// When what is there was removed.
    pub removed_at: Timestamp,
    /// What kind it is of.
    pub kind: RecoverableKind,
    /// Which of its kind and moment it is.
    pub id: i64,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverablePage {
    /// What is on it. It may be short, or empty, though more follow.
    pub items: Vec<Recoverable>,
    /// Where it ends, if more may follow.
    pub next: Option<RecoverablePlace>,
}

impl Recoverable {
    /// Where it is in the list.
    pub fn place(&self) -> RecoverablePlace {
        let (removed_at, kind, id) = match self {
            Self::Manifest(manifest) => (manifest.removed_at, RecoverableKind::Manifest, manifest.id),
            Self::Tag(tag) => (tag.removed_at, RecoverableKind::Tag, tag.id),
        };
        RecoverablePlace { removed_at, kind, id }
    }
}

impl RecoverablePlace {
    /// What the list is sorted by.
    fn rank(&self) -> (Reverse<Timestamp>, RecoverableKind, Reverse<i64>) {
        (Reverse(self.removed_at), self.kind, Reverse(self.id))
    }

    /// Behind which of the one `kind` the list goes on from here.
    fn of(self, kind: RecoverableKind) -> TrashCursor {
        let id = match (self.kind, kind) {
            (own, wanted) if own == wanted => self.id,
            // All tags of a moment are behind its manifests.
            (RecoverableKind::Manifest, _) => i64::MAX,
            (RecoverableKind::Tag, _) => i64::MIN,
        };
        TrashCursor { removed_at: self.removed_at, id }
    }
}

impl Registry {
    /// Up to `limit` of what can be brought back, of `repo` or of all, behind `after`.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn recoverable(
        &self,
        repo: Option<&RepoName>,
        after: Option<RecoverablePlace>,
        limit: usize,
    ) -> Result<RecoverablePage, ServiceError> {
        let behind = |kind| after.map(|place| place.of(kind));
        let manifests = self.removed_manifests(repo, behind(RecoverableKind::Manifest), limit).await?;
        let tags = self.removed_tags(repo, behind(RecoverableKind::Tag), limit).await?;
        Ok(merged(manifests, tags, limit))
    }
}

/// One page of two, as far as both reach.
fn merged(
    manifests: TrashPage<RemovedManifest>,
    tags: TrashPage<RemovedTag>,
    limit: usize,
) -> RecoverablePage {
    let end = |cursor: Option<TrashCursor>, kind| {
        cursor.map(|TrashCursor { removed_at, id }| RecoverablePlace { removed_at, kind, id })
    };
    let ends = [end(manifests.next, RecoverableKind::Manifest), end(tags.next, RecoverableKind::Tag)];
    let reach = ends.into_iter().flatten().min_by_key(RecoverablePlace::rank);
    let manifests = manifests.items.into_iter().map(Recoverable::Manifest);
    let mut items: Vec<_> = manifests.chain(tags.items.into_iter().map(Recoverable::Tag)).collect();
    items.sort_by_key(|item| item.place().rank());
    items.retain(|item| reach.is_none_or(|reach| item.place().rank() <= reach.rank()));
    let cut = items.len() > limit;
    items.truncate(limit);
    let next = if cut { items.last().map(Recoverable::place) } else { reach };
    RecoverablePage { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{ChangeKind, LostTag};
    use crate::oci::{Algorithm, Hasher};

    fn manifest((at, id): (i64, i64)) -> RemovedManifest {
        RemovedManifest {
            repo: "app".parse().expect("a name"),
            digest: Hasher::digest(Algorithm::Sha256, b"manifest"),
            media_type: String::new(),
            size: 0,
            removed_at: Timestamp(at),
            id,
            tags: Vec::new(),
        }
    }

    fn tag((at, id): (i64, i64)) -> RemovedTag {
        let tag = "v1".parse().expect("a tag");
        let RemovedManifest { repo, digest, removed_at, .. } = manifest((at, id));
        let lost = LostTag { tag, kind: ChangeKind::Delete, by: None, reason: None };
        RemovedTag { repo, digest, removed_at, id, lost }
    }

    /// What the store would give of `all`, which are newest first.
    fn part(all: &[(i64, i64)], after: Option<TrashCursor>, limit: usize) -> (Vec<(i64, i64)>, bool) {
        let behind = |place: &&(i64, i64)| after.is_none_or(|it| **place < (it.removed_at.0, it.id));
        let found: Vec<_> = all.iter().filter(behind).take(limit).copied().collect();
        let full = found.len() == limit;
        (found, full)
    }

    fn page<T>(found: (Vec<(i64, i64)>, bool), item: impl Fn((i64, i64)) -> T) -> TrashPage<T> {
        let last = found.0.last().filter(|_| found.1);
        let next = last.map(|(at, id)| TrashCursor { removed_at: Timestamp(*at), id: *id });
        TrashPage { items: found.0.into_iter().map(item).collect(), next }
    }

    #[test]
    fn every_page_size_lists_all_of_both_once_and_in_order() {
        let manifests = [(9, 4), (5, 3), (5, 2), (5, 1), (1, 9)];
        let tags = [(8, 7), (8, 6), (5, 9), (5, 1), (2, 3), (2, 1)];
        let mut expected: Vec<_> = manifests.map(|place| Recoverable::Manifest(manifest(place))).into();
        expected.extend(tags.map(|place| Recoverable::Tag(tag(place))));
        expected.sort_by_key(|item| item.place().rank());
        for limit in 1..12 {
            let (mut found, mut after) = (Vec::new(), None::<RecoverablePlace>);
            loop {
                let behind = |kind| after.map(|place| place.of(kind));
                let some = page(part(&manifests, behind(RecoverableKind::Manifest), limit), manifest);
                let others = page(part(&tags, behind(RecoverableKind::Tag), limit), tag);
                let merged = merged(some, others, limit);
                assert!(merged.items.len() <= limit);
                found.extend(merged.items);
                after = merged.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{limit} a page");
        }
    }

    #[test]
    fn a_short_page_holds_the_other_back() {
        let short =
            TrashPage { items: Vec::new(), next: Some(TrashCursor { removed_at: Timestamp(7), id: 1 }) };
        let page = merged(page((vec![(9, 1), (3, 1)], false), manifest), short, 10);
        assert_eq!(page.items, [Recoverable::Manifest(manifest((9, 1)))]);
        assert_eq!(
            page.next.map(|next| (next.removed_at, next.kind)),
            Some((Timestamp(7), RecoverableKind::Tag))
        );
    }
}
