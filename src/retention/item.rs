//! What rules judge: a tag, or a manifest that nothing holds.

use super::graph::{Graph, TagRole};
use super::snapshot::{ManifestFacts, RepoSnapshot};
use crate::clock::Timestamp;

/// Something that rules judge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    /// The tag; for a manifest the digest.
    pub(super) name: &'a str,
    /// Whether `name` is a tag.
    pub(super) is_tag: bool,
    /// The manifest, as its place in the snapshot.
    pub(super) manifest: usize,
    pub(super) facts: &'a ManifestFacts,
    /// When it was last pushed; for a manifest not before nothing held it any more.
    pub(super) pushed_at: Timestamp,
    /// When it or what belongs to it was last pulled.
    pub(super) pulled_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tagged,
    Untagged,
    /// Attached to something that is not in the repository.
    Orphaned,
}

impl Item<'_> {
    /// When somebody last cared: the last pull or push.
    pub(super) fn used_at(&self) -> Timestamp {
        self.pulled_at.map_or(self.pushed_at, |pulled| pulled.max(self.pushed_at))
    }

    /// The tag, if it has one.
    pub(super) fn tag(&self) -> Option<&str> {
        self.is_tag.then_some(self.name)
    }
}

/// What is judged, and by which tag or manifest to find it.
pub(super) struct Items<'a> {
    pub(super) judged: Vec<Item<'a>>,
    /// For each tag the place in `judged`. `None`: it is attached to something, or points at nothing known.
    pub(super) of_tags: Vec<Option<usize>>,
    /// For each manifest the place in `judged`. `None`: something holds it.
    pub(super) of_manifests: Vec<Option<usize>>,
}

impl<'a> Items<'a> {
    pub(super) fn of(snapshot: &'a RepoSnapshot, graph: &Graph<'_>, pulls: &[Option<Timestamp>]) -> Self {
        let mut judged = Vec::with_capacity(snapshot.tags.len());
        let mut add = |item| {
            judged.push(item);
            judged.len() - 1
        };
        let tag = |place| tag_item(snapshot, graph, pulls, place);
        let of_tags = (0..snapshot.tags.len()).map(|place| tag(place).map(&mut add)).collect();
        let manifest = |place| manifest_item(snapshot, graph, pulls, place);
        let of_manifests = (0..snapshot.manifests.len()).map(|place| manifest(place).map(&mut add)).collect();
        Self { judged, of_tags, of_manifests }
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
    let (tag, manifest) = (&snapshot.tags[place], graph.targets[place]?);
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
    let held = !graph.tags[manifest].is_empty() || !graph.parents[manifest].is_empty();
    if held || graph.subjects[manifest].is_some() {
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
