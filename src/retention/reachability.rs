//! Traverses the graph from manifests to their children, referrers and attached tags.

use super::graph::Graph;

/// How the traversal reached a manifest or a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The number of the start.
    pub(super) start: usize,
    pub(super) via: Via,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// The traversal started here.
    Start,
    /// From this index.
    Index(usize),
    /// From this subject.
    Subject(usize),
    /// From an attached tag.
    Tag,
}

/// The manifests and tags that a traversal has reached.
#[derive(Debug)]
pub(super) struct Reachability {
    pub(super) manifests: Vec<Option<Arrival>>,
    /// The attached tags.
    pub(super) tags: Vec<Option<Arrival>>,
}

impl Reachability {
    pub(super) fn new(graph: &Graph<'_>) -> Self {
        Self { manifests: vec![None; graph.children.len()], tags: vec![None; graph.roles.len()] }
    }

    /// Traverses everything from `manifest` on that is not yet reached, and not reached by `blocked`.
    pub(super) fn mark_from(
        &mut self,
        graph: &Graph<'_>,
        start: usize,
        manifest: usize,
        blocked: Option<&Self>,
    ) {
        let mut waiting = vec![(manifest, Via::Start)];
        while let Some((place, via)) = waiting.pop() {
            let is_blocked = blocked.is_some_and(|blocked| blocked.manifests[place].is_some());
            if self.manifests[place].is_some() || is_blocked {
                continue;
            }
            self.manifests[place] = Some(Arrival { start, via });
            waiting.extend(graph.children[place].iter().map(|child| (*child, Via::Index(place))));
            waiting.extend(graph.referrers[place].iter().map(|referrer| (*referrer, Via::Subject(place))));
            for tag in &graph.attached[place] {
                let is_blocked = blocked.is_some_and(|blocked| blocked.tags[*tag].is_some());
                if self.tags[*tag].is_some() || is_blocked {
                    continue;
                }
                self.tags[*tag] = Some(Arrival { start, via: Via::Subject(place) });
                waiting.extend(graph.targets[*tag].map(|target| (target, Via::Tag)));
            }
        }
    }
}
