//! Checks the structure of the source: imports follow the layers, and no files or folders use each other in a circle.

mod circles;
mod source_tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use circles::{children_of, circles, describe};
use source_tree::{Graph, SourceTree, sources};

/// Each module may import itself and the modules before it.
const MODULES: [&str; 28] = [
    "clock",
    "errors",
    "scheduling",
    "fair",
    "file_state",
    "text_file",
    "shared_files",
    "outbound",
    "printable",
    "traces",
    "faults",
    "memory",
    "oci",
    "retention",
    "distribution",
    "store",
    "metadata",
    "registry",
    "maintenance",
    "jobs",
    "reports",
    "auth",
    "http",
    "acme",
    "config",
    "server",
    "cli",
    "main",
];

/// Modules on the same layer: neither may import the other.
const SAME_LAYER: [&str; 2] = ["store", "metadata"];

static TREE: LazyLock<SourceTree> = LazyLock::new(|| SourceTree::read(Path::new("src")));
static GRAPH: LazyLock<Graph> = LazyLock::new(|| TREE.graph());

#[test]
fn modules_import_only_lower_layers() {
    let wrong = wrong_imports(&GRAPH);
    assert!(wrong.is_empty(), "imports of higher layers:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let found: Vec<_> = circles(&GRAPH).iter().map(|circle| describe(&GRAPH, circle)).collect();
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

#[test]
fn no_folders_use_each_other_in_a_circle() {
    let found = folder_circles(&GRAPH);
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let higher = planted(&[
        ("clock.rs", "pub struct Clock;"),
        ("store/mod.rs", "use crate::{clock::Clock, metadata::Metadata};"),
        ("metadata/mod.rs", "pub struct Metadata;"),
    ]);
    assert_eq!(wrong_imports(&higher), ["store/mod.rs uses metadata"]);

    let files = planted(&[
        ("store/mod.rs", "mod a; mod b; pub use a::A; pub use b::{B, wanted};"),
        ("store/a.rs", "use super::B; pub struct A(B);"),
        ("store/b.rs", "pub struct B; pub fn wanted() { super::super::store::A::new() }"),
    ]);
    assert_eq!(circles(&files), [[PathBuf::from("store/a.rs"), PathBuf::from("store/b.rs")]]);

    let folders = planted(&[
        ("http/mod.rs", "mod a; mod b;"),
        ("http/a/mod.rs", "pub(super) struct A;"),
        ("http/a/inner.rs", "struct Inner(crate::http::b::B);"),
        ("http/b/mod.rs", "pub(super) struct B;"),
        ("http/b/inner.rs", "fn inner() { matches!(super::super::a::A, _) }"),
    ]);
    assert!(circles(&folders).is_empty());
    assert_eq!(folder_circles(&folders).len(), 1);
}

/// The types of the wire live beside the API, so that records and reports can change without it.
#[test]
fn only_http_describes_its_types_in_openapi() {
    let files = sources(Path::new("src")).into_iter().filter(|file| !file.starts_with("src/http"));
    let wrong: Vec<_> =
        files.filter(|file| fs::read_to_string(file).expect("readable source").contains("utoipa")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_source_file_belongs_to_a_module() {
    let strays: Vec<_> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| {
            layer_of(file.strip_prefix("src").expect("below src")).is_none() && !file.ends_with("lib.rs")
        })
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
    let undeclared: Vec<_> =
        TREE.undeclared().into_iter().filter(|file| *file != Path::new("main.rs")).collect();
    assert!(undeclared.is_empty(), "no module declares {undeclared:?}");
}

fn planted(files: &[(&str, &str)]) -> Graph {
    SourceTree::parse(files.iter().map(|(file, text)| (PathBuf::from(file), (*text).to_owned()))).graph()
}

fn wrong_imports(graph: &Graph) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for (file, used) in graph {
        let Some(here) = layer_of(file) else { continue };
        for there in used.iter().filter_map(|used| layer_of(used)) {
            let same_layer =
                here != there && [here, there].iter().all(|module| SAME_LAYER.contains(&MODULES[*module]));
            if there > here || same_layer {
                wrong.insert(format!("{} uses {}", file.display(), MODULES[there]));
            }
        }
    }
    wrong.into_iter().collect()
}

fn folder_circles(graph: &Graph) -> Vec<String> {
    let folders: BTreeSet<_> = graph.keys().flat_map(|file| file.ancestors().skip(1)).collect();
    let mut found = Vec::new();
    for folder in folders {
        let children = children_of(graph, folder);
        found.extend(circles(&children).iter().map(|circle| describe(&children, circle)));
    }
    found
}

fn layer_of(file: &Path) -> Option<usize> {
    let first = file.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    MODULES.iter().position(|module| *module == name)
}
