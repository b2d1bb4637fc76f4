//! Checks that imports between modules follow the layers in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module may import itself and the modules before it.
const MODULES: [&str; 25] = [
    "clock",
    "errors",
    "fair",
    "file_state",
    "text_file",
    "outbound",
    "printable",
    "traces",
    "faults",
    "memory",
    "oci",
    "retention",
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

#[test]
fn modules_import_only_lower_layers() {
    let mut wrong = Vec::new();
    for file in sources(Path::new("src")) {
        let Some(here) = module_of(&file) else {
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable source");
        for used in text.split("crate::").skip(1).filter_map(first_word) {
            let Some(there) = MODULES.iter().position(|module| *module == used) else {
                continue;
            };
            let same_layer =
                here != there && [here, there].iter().all(|module| SAME_LAYER.contains(&MODULES[*module]));
            if there > here || same_layer {
                wrong.push(format!("{} ({}) uses {used}", file.display(), MODULES[here]));
            }
        }
    }
    assert!(wrong.is_empty(), "imports of higher layers:\n{}", wrong.join("\n"));
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
        .filter(|file| module_of(file).is_none() && !file.ends_with("lib.rs"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn no_source_file_exceeds_600_lines() {
    let long: Vec<_> = sources(Path::new("src"))
        .into_iter()
        .map(|file| (fs::read_to_string(&file).expect("readable source").lines().count(), file))
        .filter(|(lines, _)| *lines > 600)
        .collect();
    assert!(long.is_empty(), "split these files by subject: {long:?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn module_of(file: &Path) -> Option<usize> {
    let inside = file.strip_prefix("src").ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    MODULES.iter().position(|module| *module == name)
}

fn first_word(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|word| !word.is_empty())
}
