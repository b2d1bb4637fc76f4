//! The trash listing: removed manifests and removed tags in one list, newest first.

use std::cmp::Reverse;
use std::time::Duration;

use super::Reports;
use crate::clock::Timestamp;
use crate::metadata::{RemovedManifest, RemovedTag, TrashCursor, TrashPage};
use crate::oci::RepoName;
use crate::registry::ServiceError;

/// A removed manifest or tag that can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrashEntry {
    /// A manifest in the trash.
    Manifest(RemovedManifest),
    /// A removed tag whose manifest still exists.
    Tag(RemovedTag),
}

/// The two kinds of entries, in the order in which entries of the same moment are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrashEntryKind {
    /// A manifest.
    Manifest,
    /// A tag.
    Tag,
}

/// A position in the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrashListingPosition {
    /// When the entry was removed.
    pub removed_at: Timestamp,
    /// The kind of the entry.
    pub kind: TrashEntryKind,
    /// The id of the entry among those of its kind and moment.
    pub id: i64,
}

/// An entry of the listing, and how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashItem {
    /// The entry.
    pub entry: TrashEntry,
    /// The time until which it can be restored; a tag only while its manifest exists.
    pub kept_until: Timestamp,
}

/// A page of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashListingPage<T = TrashItem> {
    /// The items. The page may be short or empty although more follow.
    pub items: Vec<T>,
    /// The position of its end, if more items may follow.
    pub next: Option<TrashListingPosition>,
}

impl TrashEntry {
    /// Returns its position in the listing.
    pub fn position(&self) -> TrashListingPosition {
        let (removed_at, kind, id) = match self {
            Self::Manifest(manifest) => (manifest.removed_at, TrashEntryKind::Manifest, manifest.id),
            Self::Tag(tag) => (tag.removed_at, TrashEntryKind::Tag, tag.id),
        };
        TrashListingPosition { removed_at, kind, id }
    }
}

impl TrashListingPosition {
    /// Returns the sort key of the listing.
    fn rank(&self) -> (Reverse<Timestamp>, TrashEntryKind, Reverse<i64>) {
        (Reverse(self.removed_at), self.kind, Reverse(self.id))
    }

    /// Returns the cursor after which entries of one `kind` follow this position.
    fn cursor_for(self, kind: TrashEntryKind) -> TrashCursor {
        let id = match (self.kind, kind) {
            (own, requested) if own == requested => self.id,
            // Tags of a moment come after the manifests of the same moment.
            (TrashEntryKind::Manifest, _) => i64::MAX,
            (TrashEntryKind::Tag, _) => i64::MIN,
        };
        TrashCursor { removed_at: self.removed_at, id }
    }
}

impl Reports {
    /// Returns up to `limit` items of the trash listing after `after`, of `repo` or of all repositories.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn trash(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashListingPosition>,
        limit: usize,
    ) -> Result<TrashListingPage, ServiceError> {
        let cursor = |kind| after.map(|position| position.cursor_for(kind));
        let metadata = self.registry.metadata();
        let manifests = metadata.removed_manifests(repo, cursor(TrashEntryKind::Manifest), limit).await?;
        let tags = metadata.removed_tags(repo, cursor(TrashEntryKind::Tag), limit).await?;
        let TrashListingPage { items, next } = merge_pages(manifests, tags, limit);
        let item = |entry| TrashItem { kept_until: self.kept_until(&entry), entry };
        Ok(TrashListingPage { items: items.into_iter().map(item).collect(), next })
    }

    /// Returns how long removed manifests can be restored.
    pub fn trash_retention(&self) -> Duration {
        self.collector.trash_retention()
    }

    fn kept_until(&self, entry: &TrashEntry) -> Timestamp {
        match entry {
            TrashEntry::Manifest(manifest) => manifest.removed_at.plus(self.trash_retention()),
            TrashEntry::Tag(tag) => {
                tag.removed_at.plus(self.registry.settings().removed_tag_history_retention)
            }
        }
    }
}

/// Merges a page of manifests and a page of tags, up to the position that both pages cover.
fn merge_pages(
    manifests: TrashPage<RemovedManifest>,
    tags: TrashPage<RemovedTag>,
    limit: usize,
) -> TrashListingPage<TrashEntry> {
    let end = |cursor: Option<TrashCursor>, kind| {
        cursor.map(|TrashCursor { removed_at, id }| TrashListingPosition { removed_at, kind, id })
    };
    let ends = [end(manifests.next, TrashEntryKind::Manifest), end(tags.next, TrashEntryKind::Tag)];
    let reach = ends.into_iter().flatten().min_by_key(TrashListingPosition::rank);
    let manifests = manifests.items.into_iter().map(TrashEntry::Manifest);
    let mut items: Vec<_> = manifests.chain(tags.items.into_iter().map(TrashEntry::Tag)).collect();
    items.sort_by_key(|item| item.position().rank());
    items.retain(|item| reach.is_none_or(|reach| item.position().rank() <= reach.rank()));
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let next = if is_cut { items.last().map(TrashEntry::position) } else { reach };
    TrashListingPage { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{ChangeKind, LostTag};
    use crate::oci::{Algorithm, Hasher};

    fn manifest(at: i64, id: i64) -> RemovedManifest {
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

    fn tag(at: i64, id: i64) -> RemovedTag {
        let tag = "v1".parse().expect("a tag");
        let RemovedManifest { repo, digest, removed_at, .. } = manifest(at, id);
        let lost = LostTag { tag, kind: ChangeKind::Delete, by: None, reason: None };
        RemovedTag { repo, digest, removed_at, id, lost }
    }

    /// Returns what the store would return of `all`, which are sorted newest first.
    fn part(all: &[(i64, i64)], after: Option<TrashCursor>, limit: usize) -> (Vec<(i64, i64)>, bool) {
        let is_after = |place: &&(i64, i64)| after.is_none_or(|it| **place < (it.removed_at.0, it.id));
        let found: Vec<_> = all.iter().filter(is_after).take(limit).copied().collect();
        let full = found.len() == limit;
        (found, full)
    }

    fn page<T>(found: (Vec<(i64, i64)>, bool), item: impl Fn(i64, i64) -> T) -> TrashPage<T> {
        let last = found.0.last().filter(|_| found.1);
        let next = last.map(|(at, id)| TrashCursor { removed_at: Timestamp(*at), id: *id });
        TrashPage { items: found.0.into_iter().map(|(at, id)| item(at, id)).collect(), next }
    }

    #[test]
    fn every_page_size_lists_all_entries_once_and_in_order() {
        let manifests = [(9, 4), (5, 3), (5, 2), (5, 1), (1, 9)];
        let tags = [(8, 7), (8, 6), (5, 9), (5, 1), (2, 3), (2, 1)];
        let mut expected: Vec<_> = manifests.map(|(at, id)| TrashEntry::Manifest(manifest(at, id))).into();
        expected.extend(tags.map(|(at, id)| TrashEntry::Tag(tag(at, id))));
        expected.sort_by_key(|item| item.position().rank());
        for limit in 1..12 {
            let mut found = Vec::new();
            let mut after = None::<TrashListingPosition>;
            loop {
                let cursor = |kind| after.map(|position| position.cursor_for(kind));
                let some = page(part(&manifests, cursor(TrashEntryKind::Manifest), limit), manifest);
                let others = page(part(&tags, cursor(TrashEntryKind::Tag), limit), tag);
                let merged = merge_pages(some, others, limit);
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
    fn a_short_page_limits_the_other_page() {
        let short =
            TrashPage { items: Vec::new(), next: Some(TrashCursor { removed_at: Timestamp(7), id: 1 }) };
        let page = merge_pages(page((vec![(9, 1), (3, 1)], false), manifest), short, 10);
        assert_eq!(page.items, [TrashEntry::Manifest(manifest(9, 1))]);
        assert_eq!(
            page.next.map(|next| (next.removed_at, next.kind)),
            Some((Timestamp(7), TrashEntryKind::Tag))
        );
    }
}
