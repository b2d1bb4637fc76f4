//! Checks whether directories lie within each other, with links resolved.

use std::path::{Path, PathBuf};

/// Fails if `dir` lies within one of `others`, or one of them within `dir`. They need not exist.
pub(super) fn refuse_overlap(dir: &Path, others: &[&Path]) -> Result<(), String> {
    let own = real(dir);
    for other in others {
        let real = real(other);
        if own.starts_with(&real) || real.starts_with(&own) {
            let other = other.display();
            return Err(format!("{} and {other} overlap: choose another directory", dir.display()));
        }
    }
    Ok(())
}

/// `path` with every link in its existing part resolved.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let resolved = path.ancestors().find_map(|found| {
        let rest = path.strip_prefix(found).ok()?;
        found.canonicalize().ok().map(|found| found.join(rest))
    });
    resolved.unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn detects_overlap_through_links_and_missing_directories() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("backup/inner")).expect("made");
        fs::create_dir_all(path("elsewhere")).expect("made");
        symlink(path("backup"), path("link")).expect("linked");
        symlink(path("backup/inner"), path("elsewhere/deep")).expect("linked");
        let overlaps = |other: &str| refuse_overlap(&path("backup"), &[&path(other)]).is_err();
        for other in [
            "backup",
            "backup/new",
            "backup/a/b",
            "link",
            "link/new",
            "elsewhere/deep",
            "elsewhere/deep/new",
            "",
        ] {
            assert!(overlaps(other), "{other}");
        }
        for other in ["elsewhere", "backup2", "new/backup"] {
            assert!(!overlaps(other), "{other}");
        }
    }
}
