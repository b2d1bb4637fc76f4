//! What follows what: from manifests to children, referrers and attached tags.

use super::graph::Graph;

/// How the flood came to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The start's number.
    pub(super) start: usize,
    pub(super) via: Via,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// It began here.
    Start,
    /// From this index.
    Index(usize),
    /// From this subject.
    Subject(usize),
    /// From an attached tag.
    Tag,
}

/// Where a flood has been.
#[derive(Debug)]
pub(super) struct Reachability {
    pub(super) manifests: Vec<Option<Arrival>>,
    /// Attached tags.
    pub(super) tags: Vec<Option<Arrival>>,
}

impl Reachability {
    pub(super) fn new(graph: &Graph<'_>) -> Self {
        Self { manifests: vec![None; graph.children.len()], tags: vec![None; graph.roles.len()] }
    }

    /// Goes on from `manifest` to all that it has not reached yet and that `dry` has not reached.
    pub(super) fn start(&mut self, graph: &Graph<'_>, start: usize, manifest: usize, dry: Option<&Self>) {
        let mut waiting = vec![(manifest, Via::Start)];
        while let Some((place, via)) = waiting.pop() {
            if self.manifests[place].is_some() || dry.is_some_and(|dry| dry.manifests[place].is_some()) {
                continue;
            }
            self.manifests[place] = Some(Arrival { start, via });
            waiting.extend(graph.children[place].iter().map(|child| (*child, Via::Index(place))));
            waiting.extend(graph.referrers[place].iter().map(|referrer| (*referrer, Via::Subject(place))));
            for tag in &graph.attached[place] {
                if self.tags[*tag].is_some() || dry.is_some_and(|dry| dry.tags[*tag].is_some()) {
                    continue;
                }
                self.tags[*tag] = Some(Arrival { start, via: Via::Subject(place) });
                waiting.extend(graph.targets[*tag].map(|target| (target, Via::Tag)));
            }
        }
    }
}
