//! Imports go against the flow of the rooms nowhere: `src/lib.rs` draws them.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room may use itself and the rooms before it.
const ROOMS: [&str; 22] = [
    "clock",
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
    "jobs",
    "auth",
    "http",
    "acme",
    "config",
    "server",
    "cli",
    "main",
];

/// Rooms side by side: neither may use the other.
const BESIDE: [&str; 2] = ["store", "metadata"];

#[test]
fn imports_go_leftward_only() {
    let mut wrong = Vec::new();
    for file in sources(Path::new("src")) {
        let Some(here) = room_of(&file) else {
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable source");
        for used in text.split("crate::").skip(1).filter_map(first_word) {
            let Some(there) = ROOMS.iter().position(|room| *room == used) else {
                continue;
            };
            let beside = here != there && [here, there].iter().all(|room| BESIDE.contains(&ROOMS[*room]));
            if there > here || beside {
                wrong.push(format!("{} ({}) uses {used}", file.display(), ROOMS[here]));
            }
        }
    }
    assert!(wrong.is_empty(), "against the direction of the rooms:\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_is_in_a_room() {
    let strays: Vec<_> = sources(Path::new("src"))
        .into_iter()
        .filter(|file| room_of(file).is_none() && !file.ends_with("lib.rs"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn no_source_file_is_longer_than_a_head_can_hold() {
    let long: Vec<_> = sources(Path::new("src"))
        .into_iter()
        .map(|file| (fs::read_to_string(&file).expect("readable source").lines().count(), file))
        .filter(|(lines, _)| *lines > 600)
        .collect();
    assert!(long.is_empty(), "find the two subjects in {long:?}");
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

fn room_of(file: &Path) -> Option<usize> {
    let inside = file.strip_prefix("src").ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    ROOMS.iter().position(|room| *room == name)
}

fn first_word(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|word| !word.is_empty())
}
