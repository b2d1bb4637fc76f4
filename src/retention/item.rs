//! The items that rules apply to: tags and unreferenced manifests.

use super::graph::{Graph, TagRole};
use super::snapshot::{ManifestFacts, RepoSnapshot};
use crate::clock::Timestamp;

/// An item that rules apply to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    /// The tag, or the digest of a manifest.
    pub(super) name: &'a str,
    /// Whether `name` is a tag.
    pub(super) is_tag: bool,
    /// The manifest, as its index in the snapshot.
    pub(super) manifest: usize,
    pub(super) facts: &'a ManifestFacts,
    /// When it was last pushed. For a manifest, at least the time when it became unreferenced.
    pub(super) pushed_at: Timestamp,
    /// When it or something that belongs to it was last pulled.
    pub(super) pulled_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tagged,
    Untagged,
    /// Its subject is not in the repository.
    Orphaned,
}

impl Item<'_> {
    /// Returns when it was last used: the last pull or push.
    pub(super) fn used_at(&self) -> Timestamp {
        self.pulled_at.map_or(self.pushed_at, |pulled| pulled.max(self.pushed_at))
    }

    /// Returns the tag, if it has one.
    pub(super) fn tag(&self) -> Option<&str> {
        self.is_tag.then_some(self.name)
    }
}

/// All items, and how to find them by tag or manifest.
pub(super) struct Items<'a> {
    pub(super) all: Vec<Item<'a>>,
    /// For each tag its index in `all`. `None` if it is attached to something, or points at no known manifest.
    pub(super) of_tags: Vec<Option<usize>>,
    /// For each manifest its index in `all`. `None` if something references it.
    pub(super) of_manifests: Vec<Option<usize>>,
}

impl<'a> Items<'a> {
    pub(super) fn of(snapshot: &'a RepoSnapshot, graph: &Graph<'_>, pulls: &[Option<Timestamp>]) -> Self {
        let mut all = Vec::with_capacity(snapshot.tags.len());
        let mut add = |item| {
            all.push(item);
            all.len() - 1
        };
        let tag = |place| tag_item(snapshot, graph, pulls, place);
        let of_tags = (0..snapshot.tags.len()).map(|place| tag(place).map(&mut add)).collect();
        let manifest = |place| manifest_item(snapshot, graph, pulls, place);
        let of_manifests = (0..snapshot.manifests.len()).map(|place| manifest(place).map(&mut add)).collect();
        Self { all, of_tags, of_manifests }
    }
}

fn tag_item<'a>(
    snapshot: &'a RepoSnapshot,
    graph: &Graph<'_>,
    pulls: &[Option<Timestamp>],
    place: usize,
) -> Option<Item<'a>> {
    let kind = match graph.roles[place] {
        TagRole::Plain => Kind::Tagged,
        TagRole::Orphaned => Kind::Orphaned,
        TagRole::Attached(_) => return None,
    };
    let tag = &snapshot.tags[place];
    let manifest = graph.targets[place]?;
    Some(Item {
        kind,
        name: tag.name.as_str(),
        is_tag: true,
        manifest,
        facts: &snapshot.manifests[manifest],
        pushed_at: tag.pushed_at,
        pulled_at: pulls[manifest],
    })
}

fn manifest_item<'a>(
    snapshot: &'a RepoSnapshot,
    graph: &Graph<'_>,
    pulls: &[Option<Timestamp>],
    manifest: usize,
) -> Option<Item<'a>> {
    let is_referenced = !graph.tags[manifest].is_empty() || !graph.parents[manifest].is_empty();
    if is_referenced || graph.subjects[manifest].is_some() {
        return None;
    }
    let facts = &snapshot.manifests[manifest];
    Some(Item {
        kind: if facts.subject.is_some() { Kind::Orphaned } else { Kind::Untagged },
        name: facts.digest.as_str(),
        is_tag: false,
        manifest,
        facts,
        pushed_at: facts.alone_at.map_or(facts.pushed_at, |alone| alone.max(facts.pushed_at)),
        pulled_at: pulls[manifest],
    })
}
