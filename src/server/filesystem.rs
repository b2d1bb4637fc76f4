//! Checks of directories: filesystem type, free space, and whether they lie within each other.

use std::io;
use std::path::{Path, PathBuf};

/// Filesystems shared between machines, by their magic number in `statfs`.
const NETWORK: [(i64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x564c, "NCP"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// Returns the name of the network filesystem that holds `path` or its nearest existing ancestor; `None` for a local
/// one.
///
/// # Errors
/// Fails if `statfs` fails.
pub(super) fn network_filesystem(path: &Path) -> io::Result<Option<&'static str>> {
    let stat = rustix::fs::statfs(existing(path))?;
    #[allow(clippy::useless_conversion, reason = "the field's type differs between architectures")]
    let kind = i64::try_from(stat.f_type).unwrap_or_default();
    let known = NETWORK.iter().find(|(number, _)| *number == kind);
    Ok(known.map(|(_, name)| *name))
}

/// Returns the free bytes of the filesystem that holds `path`.
///
/// # Errors
/// Fails if `statvfs` fails.
pub(super) fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn existing(path: &Path) -> &Path {
    let found = path.ancestors().find(|ancestor| ancestor.exists());
    found.filter(|found| !found.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

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

/// Returns whether `path` lies below `directory`. They need not exist.
pub(super) fn lies_below(path: &Path, directory: &Path) -> bool {
    let path = real(path);
    let directory = real(directory);
    path != directory && path.starts_with(&directory)
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
    fn missing_path_uses_nearest_existing_ancestor() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(existing(Path::new("nothing-here/at-all")), Path::new("."));
        network_filesystem(&dir.path().join("a/b")).expect("readable");
    }

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
