//! What tells a file from what it was.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells a file from what it was: Kubernetes swaps links to it, editors replace it, people write to it or let
/// somebody read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It is there.
    There {
        /// Where, as the system counts.
        place: (u64, u64),
        /// How long it is.
        size: u64,
        /// When it was written to, and when anything else of it changed.
        changed: [(i64, i64); 2],
    },
    /// It is not there, or hidden.
    Away,
}

impl FileState {
    /// The state of the file that `path` leads to, links followed.
    ///
    /// # Errors
    /// It is not there, or hidden.
    pub fn there(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        let changed = [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())];
        Ok(Self::There { place: (file.dev(), file.ino()), size: file.size(), changed })
    }

    /// The same for a file that may be away.
    pub fn of(path: &Path) -> Self {
        Self::there(path).unwrap_or(Self::Away)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn whatever_happens_to_a_file_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, other) = (dir.path().join("file"), dir.path().join("other"));
        let mut last = FileState::of(&path);
        assert_eq!(last, FileState::Away);
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
