//! Detects images of another registry in the data directory. Orlop does not serve them; without a warning a new
//! registry on an old volume would look as if everything were lost.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the Distribution registry (`registry:2`) stores everything.
const DISTRIBUTION: &str = "docker/registry/v2";

/// Files that mark a repository directory as an OCI layout, which zot uses.
const OCI_LAYOUT: [&str; 2] = ["oci-layout", "index.json"];

/// Maximum number of directories searched: repository names can be arbitrarily deep.
const MAX_DIRECTORIES: usize = 1000;

/// Maximum depth of the search.
const MAX_DEPTH: usize = 4;

/// Logs a warning if `data` holds images of another registry.
pub(super) fn warn_of_foreign_images(data: &Path) {
    if let Some(found) = foreign_images(data) {
        tracing::warn!(
            "{} holds images of another registry ({found}), which orlop does not serve. To copy them, run \
             that registry on another port and use, for example, `crane copy OLD/REPO:TAG NEW/REPO:TAG` or \
             `skopeo sync --all --src docker --dest docker OLD/REPO NEW`",
            data.display()
        );
    }
}

/// Describes the other registry's images in `data`, if there are any.
fn foreign_images(data: &Path) -> Option<String> {
    if data.join(DISTRIBUTION).is_dir() {
        return Some(format!("registry:2, in {DISTRIBUTION}"));
    }
    let layout = find_layout(data)?;
    let within = layout.strip_prefix(data).unwrap_or(&layout);
    Some(format!("OCI layouts as zot stores them, such as {}", within.display()))
}

/// Finds the first OCI layout below `data`, breadth first.
fn find_layout(data: &Path) -> Option<PathBuf> {
    let mut level = subdirectories(data);
    // Orlop's own directories, which are large.
    level.retain(|path| !["blobs", "uploads", "metadata"].iter().any(|own| path.ends_with(own)));
    let mut seen = 0;
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for directory in level {
            seen += 1;
            if seen > MAX_DIRECTORIES {
                return None;
            }
            if OCI_LAYOUT.iter().all(|name| directory.join(name).is_file()) {
                return Some(directory);
            }
            next.extend(subdirectories(&directory));
        }
        level = next;
    }
    None
}

/// Lists the directories among the first `MAX_DIRECTORIES` entries of `directory`. Does not follow links.
fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(MAX_DIRECTORIES);
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(files: &[&str]) -> Option<String> {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "{}").expect("written");
        }
        foreign_images(dir.path())
    }

    #[test]
    fn recognises_layouts_of_other_registries() {
        let distribution = "docker/registry/v2/repositories/app/_manifests/tags/1/current/link";
        assert_eq!(found_in(&[distribution]).as_deref(), Some("registry:2, in docker/registry/v2"));
        let zot = ["team/app/oci-layout", "team/app/index.json", "_trivy/db"];
        let expected = "OCI layouts as zot stores them, such as team/app";
        assert_eq!(found_in(&zot).as_deref(), Some(expected));
    }

    #[test]
    fn ignores_own_layout() {
        let own = ["orlop.json", "state.json", "blobs/sha256/ab/x", "metadata/orlop.db", "lost+found/x"];
        assert_eq!(found_in(&own), None);
        assert_eq!(found_in(&["team/app/oci-layout"]), None, "half a layout is none");
        assert_eq!(found_in(&[]), None);
    }
}
