//! Finds circles in a graph of files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::source_tree::Graph;

/// Returns the groups of nodes that use each other, directly or through others; each sorted.
pub(crate) fn circles(graph: &Graph) -> Vec<Vec<PathBuf>> {
    let mut found: BTreeSet<Vec<PathBuf>> = BTreeSet::new();
    let reached: Vec<_> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    for (from, there) in &reached {
        let back = reached.iter().filter(|(to, back)| there.contains(*to) && back.contains(*from));
        let circle: Vec<_> = back.map(|(to, _)| (*to).clone()).collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// Returns the graph of the folders and files directly below `folder`. Its own `mod.rs` is one of them.
pub(crate) fn children_of(graph: &Graph, folder: &Path) -> Graph {
    let child_of = |file: &PathBuf| {
        let first = file.strip_prefix(folder).ok()?.iter().next()?;
        Some(folder.join(first))
    };
    let mut children = Graph::new();
    for (file, used) in graph {
        if let Some(child) = child_of(file) {
            let used = used.iter().filter_map(child_of).filter(|used| *used != child);
            children.entry(child.clone()).or_default().extend(used);
        }
    }
    children
}

/// Describes a circle by its direct uses.
pub(crate) fn describe(graph: &Graph, circle: &[PathBuf]) -> String {
    let mut text = String::new();
    for file in circle {
        for used in graph[file].iter().filter(|used| circle.contains(used)) {
            text += &format!("  {} uses {}\n", file.display(), used.display());
        }
    }
    text
}

fn reachable(graph: &Graph, from: &Path) -> BTreeSet<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(file) = next.pop() {
        for used in graph.get(&file).into_iter().flatten() {
            if seen.insert(used.clone()) {
                next.push(used.clone());
            }
        }
    }
    seen
}
