//! Chooses the data directory: the one that is set or, if that is empty, the one of an adopted registry. Detects images
//! of another registry in its place, because a new registry on an old volume would look as if everything were lost.

use std::fs;
use std::path::{Path, PathBuf};

use super::errors::StartError;
use crate::config::Config;
use crate::distribution::DistributionTree;
use crate::store::FilesystemStore;

/// The data directory of an adopted registry, below the directory of the old one.
pub const ADOPTED: &str = "orlop";

/// Files that mark a repository directory as an OCI layout, which zot uses.
const OCI_LAYOUT: [&str; 2] = ["oci-layout", "index.json"];

/// Maximum number of directories searched: repository names can be arbitrarily deep.
const MAX_DIRECTORIES: usize = 1000;

/// Maximum depth of the search.
const MAX_DEPTH: usize = 4;

/// Names that a new volume or a lock may have put into a directory that is otherwise empty.
const IGNORED: [&str; 2] = ["lock", "lost+found"];

/// Returns `config` with the data directory to use: that of an adopted registry, if the one that is set holds no store.
pub fn with_adopted_data(mut config: Config) -> Config {
    if !is_store(&config.storage.data)
        && let Some(adopted) = adopted_data(&config)
    {
        tracing::debug!(data = %adopted.display(), "using the data directory of the adopted registry");
        config.storage.data = adopted;
    }
    config
}

/// Finds the data directory of an adopted registry: in the directory that is set or, if that is empty, in the old
/// registry's.
fn adopted_data(config: &Config) -> Option<PathBuf> {
    let data = &config.storage.data;
    let beside = Some(data).filter(|data| DistributionTree::find(data).is_some());
    let old = is_empty(data).then_some(&config.storage.old_registry);
    [beside, old].into_iter().flatten().map(|path| path.join(ADOPTED)).find(|path| is_store(path))
}

/// Fails if starting would create an empty registry beside or over the images of another one.
///
/// # Errors
/// [`StartError::OtherRegistry`] and [`StartError::NotAdopted`].
pub(super) fn refuse_foreign_images(config: &Config) -> Result<(), StartError> {
    let data = &config.storage.data;
    if is_store(data) {
        return Ok(());
    }
    let old = &config.storage.old_registry;
    if DistributionTree::find(data).is_some() {
        return Err(StartError::NotAdopted { data: data.clone(), old: data.clone() });
    }
    if let Some(found) = find_layout(data) {
        return Err(StartError::OtherRegistry { data: data.clone(), found });
    }
    if is_empty(data) && DistributionTree::find(old).is_some() {
        return Err(StartError::NotAdopted { data: data.clone(), old: old.clone() });
    }
    Ok(())
}

/// Whether a directory holds a store of ours. One that cannot be read does, for its own error to be reported.
pub fn is_store(path: &Path) -> bool {
    !matches!(FilesystemStore::identify(path), Ok(None))
}

/// Whether a directory is missing or empty.
fn is_empty(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else {
        return !path.exists();
    };
    entries.flatten().all(|entry| IGNORED.iter().any(|name| entry.file_name() == *name))
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

    /// A directory with these files.
    fn directory(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "{}").expect("written");
        }
        dir
    }

    fn store_in(path: &Path) {
        fs::create_dir_all(path).expect("made");
        FilesystemStore::open(path, crate::store::Access::ReadWrite).expect("a store");
    }

    fn settings(data: &Path, old: &Path) -> Config {
        let mut config = Config::default();
        config.storage.data = data.into();
        config.storage.old_registry = old.into();
        config
    }

    const TAG: &str = "docker/registry/v2/repositories/app/_manifests/tags/1/current/link";

    #[test]
    fn refuses_to_start_empty_over_images_of_others() {
        let none = Path::new("");
        let refused = |files: &[&str]| {
            let data = directory(files);
            let refused = refuse_foreign_images(&settings(data.path(), none)).err();
            refused.map(|error| error.to_string().replace(&data.path().display().to_string(), "DATA"))
        };
        let message = refused(&[TAG]).expect("refused");
        assert!(message.contains("run `orlop adopt DATA`"), "{message}");
        let message = refused(&["team/app/oci-layout", "team/app/index.json", "_trivy/db"]).expect("refused");
        assert!(message.contains("DATA/team/app") && message.contains("skopeo"), "{message}");
        let own = ["state.json", "blobs/sha256/ab/x", "metadata/orlop.db", "lost+found/x"];
        assert_eq!(refused(&own), None);
        assert_eq!(refused(&["team/app/oci-layout"]), None, "half a layout is none");
        assert_eq!(refused(&[]), None);
    }

    #[test]
    fn an_empty_directory_beside_an_old_volume_is_not_served() {
        let old = directory(&[TAG]);
        let data = directory(&[]);
        let config = settings(data.path(), old.path());
        assert!(matches!(refuse_foreign_images(&config), Err(StartError::NotAdopted { .. })));
        assert_eq!(with_adopted_data(config).storage.data, data.path());
    }

    #[test]
    fn an_adopted_volume_is_served() {
        let old = directory(&[TAG]);
        let adopted = old.path().join(ADOPTED);
        store_in(&adopted);
        let data = directory(&[]);
        for (data, old) in [(data.path(), old.path()), (old.path(), Path::new(""))] {
            let config = with_adopted_data(settings(data, old));
            assert_eq!(config.storage.data, adopted);
            refuse_foreign_images(&config).expect("served");
        }
    }

    #[test]
    fn a_store_is_served_whatever_is_beside_it() {
        let old = directory(&[TAG]);
        store_in(&old.path().join(ADOPTED));
        let data = directory(&[]);
        store_in(data.path());
        let config = with_adopted_data(settings(data.path(), old.path()));
        assert_eq!(config.storage.data, data.path());
        refuse_foreign_images(&config).expect("served");
    }
}
