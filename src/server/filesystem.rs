//! Filesystem type and free space of a directory.

use std::io;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_path_uses_nearest_existing_ancestor() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(existing(Path::new("nothing-here/at-all")), Path::new("."));
        network_filesystem(&dir.path().join("a/b")).expect("readable");
    }
}
