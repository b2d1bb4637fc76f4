//! Change detection for files that are reloaded: keys, certificates, user files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The identity of a file's content and permissions. It changes when Kubernetes swaps a symbolic link, when an editor
/// replaces the file, and when its content or permissions change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// The file exists and is accessible.
    Present {
        /// Device and inode.
        place: (u64, u64),
        /// Length in bytes.
        size: u64,
        /// Modification and change time, each in seconds and nanoseconds.
        changed: [(i64, i64); 2],
    },
    /// The file does not exist or is not accessible.
    Missing,
}

impl FileState {
    /// Returns the state of the file at `path`. Follows symbolic links.
    ///
    /// # Errors
    /// Fails if the file does not exist or is not accessible.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        let changed = [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())];
        Ok(Self::Present { place: (file.dev(), file.ino()), size: file.size(), changed })
    }

    /// Returns the state of a file that may be missing.
    pub fn of(path: &Path) -> Self {
        Self::read(path).unwrap_or(Self::Missing)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn detects_every_kind_of_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        let other = dir.path().join("other");
        let mut last = FileState::of(&path);
        assert_eq!(last, FileState::Missing);
        let mut changes = |what: &str, change: &dyn Fn() -> io::Result<()>| {
            // The kernel's clock for files ticks a few hundred times a second.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change().expect(what);
            let now = FileState::of(&path);
            assert_ne!(now, last, "{what}");
            last = now;
        };
        changes("made", &|| fs::write(&path, "one"));
        changes("written to, as long as before", &|| fs::write(&path, "two"));
        changes("hidden", &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
        changes("replaced", &|| fs::write(&other, "two").and_then(|()| fs::rename(&other, &path)));
        changes("swapped for a link", &|| {
            fs::rename(&path, &other)
                .and_then(|()| symlink("other", &path))
                .and_then(|()| fs::write(&other, "three"))
        });
        assert_eq!(FileState::of(&path), last);
    }
}
