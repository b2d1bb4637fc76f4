//! The references between the manifests and tags of a repository, by index instead of by digest.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::snapshot::RepoSnapshot;
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Attachment, Digest, fallback_tag};

/// The role of a tag, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagRole {
    Plain,
    /// The tag is made from the digest of this manifest, which it is attached to.
    Attached(usize),
    /// The tag is made from a digest that is not in the repository.
    Orphaned,
}

/// The edges between manifests and tags, as indexes into the snapshot.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    ids: HashMap<&'a Digest, usize>,
    /// The role of each tag.
    pub(super) roles: Vec<TagRole>,
    /// The manifest each tag points at, if it is in the snapshot.
    pub(super) targets: Vec<Option<usize>>,
    /// The tags that point at each manifest.
    pub(super) tags: Vec<Vec<usize>>,
    /// The tags that are attached to each manifest.
    pub(super) attached: Vec<Vec<usize>>,
    /// The children of each manifest that are in the snapshot.
    pub(super) children: Vec<Vec<usize>>,
    /// The indexes that list each manifest.
    pub(super) parents: Vec<Vec<usize>>,
    /// The subject of each manifest, if it is in the snapshot.
    pub(super) subjects: Vec<Option<usize>>,
    /// The manifests that have each manifest as their subject.
    pub(super) referrers: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    pub(super) fn of(snapshot: &'a RepoSnapshot) -> Self {
        let manifests = &snapshot.manifests;
        let count = manifests.len();
        let mut graph = Self {
            ids: manifests.iter().enumerate().map(|(place, m)| (&m.digest, place)).collect(),
            roles: Vec::new(),
            targets: Vec::new(),
            tags: vec![Vec::new(); count],
            attached: vec![Vec::new(); count],
            children: vec![Vec::new(); count],
            parents: vec![Vec::new(); count],
            subjects: vec![None; count],
            referrers: vec![Vec::new(); count],
        };
        graph.add_manifests(snapshot);
        graph.add_tags(snapshot);
        graph
    }

    pub(super) fn index_of(&self, digest: &Digest) -> Option<usize> {
        self.ids.get(digest).copied()
    }

    fn add_manifests(&mut self, snapshot: &RepoSnapshot) {
        for (place, manifest) in snapshot.manifests.iter().enumerate() {
            let children: Vec<_> =
                manifest.children.iter().filter_map(|child| self.index_of(child)).collect();
            children.iter().for_each(|child| self.parents[*child].push(place));
            self.children[place] = children;
            self.subjects[place] = manifest.subject.as_ref().and_then(|subject| self.index_of(subject));
            if let Some(subject) = self.subjects[place] {
                self.referrers[subject].push(place);
            }
        }
    }

    fn add_tags(&mut self, snapshot: &RepoSnapshot) {
        // A tag has room for only half of a sha512 digest.
        let long = snapshot.manifests.iter().filter(|m| m.digest.algorithm() == Algorithm::Sha512);
        let halves: HashMap<_, _> =
            long.map(|m| (fallback_tag(&m.digest), self.index_of(&m.digest))).collect();
        for (place, tag) in snapshot.tags.iter().enumerate() {
            let role = Attachment::of(&tag.name).map_or(TagRole::Plain, |attachment| {
                let stem = || tag.name.as_str().split('.').next().and_then(|stem| stem.parse().ok());
                let subject = match attachment.subject() {
                    Some(digest) => self.index_of(&digest),
                    None => stem().and_then(|stem| halves.get(&stem).copied().flatten()),
                };
                subject.map_or(TagRole::Orphaned, TagRole::Attached)
            });
            let target = self.index_of(&tag.digest);
            if let TagRole::Attached(subject) = role {
                self.attached[subject].push(place);
            }
            if let Some(target) = target {
                self.tags[target].push(place);
            }
            self.roles.push(role);
            self.targets.push(target);
        }
    }

    /// Returns when each manifest, an index above it or a child below it was last pulled.
    pub(super) fn pulls(&self, snapshot: &RepoSnapshot) -> Vec<Option<Timestamp>> {
        let own = |place: &usize| snapshot.manifests[*place].pulled_at;
        let mut order: Vec<usize> = (0..snapshot.manifests.len()).filter(|m| own(m).is_some()).collect();
        order.sort_by_key(|place| Reverse(own(place)));
        let up = spread(&self.parents, &order, own);
        let down = spread(&self.children, &order, own);
        up.into_iter().zip(down).map(|(up, down)| up.max(down)).collect()
    }
}

/// Propagates each time along the edges. Starts with the latest, so that the first time to arrive is the latest one.
fn spread(
    edges: &[Vec<usize>],
    order: &[usize],
    own: impl Fn(&usize) -> Option<Timestamp>,
) -> Vec<Option<Timestamp>> {
    let mut times = vec![None; edges.len()];
    let mut waiting = Vec::new();
    for start in order {
        waiting.push(*start);
        while let Some(place) = waiting.pop() {
            if times[place].is_none() {
                times[place] = own(start);
                waiting.extend(&edges[place]);
            }
        }
    }
    times
}
