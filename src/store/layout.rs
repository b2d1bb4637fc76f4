//! The directory layout of the filesystem store:
//!
//! ```text
//! <root>/orlop.json                              the identity of the store: its id and layout version
//! <root>/state.json                              what the server records about the metadata beside the blobs
//! <root>/blobs/sha256/ab/<hex>.<generation>      a blob; ab are the first digits of the hex
//! <root>/blobs/sha512/ab/<hex>.<generation>
//! <root>/uploads/<uuid>                          the staged bytes of an upload
//! <root>/uploads/.probe                          exists for a moment during a health check
//! ```
//!
//! The store ignores everything else in the root, such as a database or a socket. Everything else below `blobs` and
//! `uploads` is listed as unknown and kept.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::oci::{Algorithm, BlobKey, Digest, UploadId};

/// The version of this layout. A root with a higher version is rejected.
pub(super) const VERSION: u64 = 1;

/// The file in which the server records, beside the blobs, what it knows about the metadata.
pub const STATE_FILE: &str = "state.json";

/// The number of directories for the blobs of one algorithm.
pub(super) const SHARDS: usize = 256;

const PROBE: &str = ".probe";

/// The paths of one store.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.root.join("orlop.json")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn algorithm(&self, algorithm: Algorithm) -> PathBuf {
        self.below(&["blobs", algorithm.name()], 4)
    }

    /// Returns the directory of `key`.
    pub(super) fn shard(&self, key: &BlobKey) -> PathBuf {
        self.below(&["blobs", key.digest.algorithm().name(), shard_of(&key.digest)], 0)
    }

    pub(super) fn blob(&self, key: &BlobKey) -> PathBuf {
        let hex = key.digest.hex();
        let mut path =
            self.below(&["blobs", key.digest.algorithm().name(), shard_of(&key.digest)], hex.len() + 40);
        path.push(hex);
        let path = path.as_mut_os_string();
        path.push(".");
        // Writing to an OsString never fails, like writing to a String.
        let _ = write!(path, "{}", key.generation);
        std::mem::take(path).into()
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.below(&["uploads"], 40)
    }

    pub(super) fn upload(&self, upload: UploadId) -> PathBuf {
        let mut path = self.uploads();
        path.push(upload.to_string());
        path
    }

    pub(super) fn probe(&self) -> PathBuf {
        self.uploads().join(PROBE)
    }

    /// Returns the path of `parts` below the root, with capacity for `spare` more bytes: one allocation per path,
    /// because reading a small blob takes only microseconds.
    fn below(&self, parts: &[&str], spare: usize) -> PathBuf {
        let len: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + len + spare);
        path.push(&self.root);
        path.extend(parts);
        path
    }
}

/// Returns the name of the directory for a digest, one of 256.
fn shard_of(digest: &Digest) -> &str {
    &digest.hex()[..2]
}

/// Returns the number of this directory.
pub(super) fn shard_index(digest: &Digest) -> usize {
    usize::from_str_radix(shard_of(digest), 16).unwrap_or_default()
}

/// Parses the name of a directory to its number.
pub(super) fn parse_shard(name: &str) -> Option<usize> {
    let index = usize::from_str_radix(name, 16).ok()?;
    (shard_name(index) == name).then_some(index)
}

/// Returns the name of the directory with a number.
pub(super) fn shard_name(index: usize) -> String {
    format!("{index:02x}")
}

/// Parses the name of a file in a shard to the key of its blob.
pub(super) fn parse_blob(algorithm: Algorithm, shard: usize, name: &str) -> Option<BlobKey> {
    let (hex, generation) = name.split_once('.')?;
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    let key = BlobKey { digest, generation: generation.parse().ok()? };
    // A UUID has several spellings; only the one the store writes is accepted.
    (shard_index(&key.digest) == shard && key.generation.to_string() == generation).then_some(key)
}

/// Parses the name of a file to the upload whose staged bytes it holds.
pub(super) fn parse_upload(name: &str) -> Option<UploadId> {
    let upload: UploadId = name.parse().ok()?;
    (upload.to_string() == name).then_some(upload)
}

/// Returns whether `name` is the file of a health check.
pub(super) fn is_probe(name: &str) -> bool {
    name == PROBE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Generation;
    use crate::oci::Hasher;

    #[test]
    fn paths_can_be_parsed() {
        let layout = Layout::new(Path::new("/data"));
        for algorithm in Algorithm::ALL {
            let digest = Hasher::digest(algorithm, b"hello");
            let key = BlobKey { digest, generation: Generation::random() };
            let path = layout.blob(&key);
            let expected = format!(
                "/data/blobs/{algorithm}/{}/{}.{}",
                &key.digest.hex()[..2],
                key.digest.hex(),
                key.generation
            );
            assert_eq!(path, Path::new(&expected));
            assert_eq!(path.parent(), Some(layout.shard(&key).as_path()));
            let shard = parse_shard(&key.digest.hex()[..2]).expect("a shard");
            let name = path.file_name().and_then(|name| name.to_str()).expect("text");
            assert_eq!(parse_blob(algorithm, shard, name), Some(key));
        }
        let upload = UploadId::random();
        let path = layout.upload(upload);
        assert_eq!(path.file_name().and_then(|name| name.to_str()).and_then(parse_upload), Some(upload));
    }

    #[test]
    fn unknown_names_are_rejected() {
        let hex = "ab".repeat(32);
        let generation = Generation::random();
        let parse = |name: String| parse_blob(Algorithm::Sha256, 0xab, &name);
        assert!(parse(format!("{hex}.{generation}")).is_some());
        assert!(parse(hex.clone()).is_none());
        assert!(parse(format!("{hex}.{generation}.tmp")).is_none());
        assert!(parse(format!("{hex}.{}", generation.to_string().to_uppercase())).is_none());
        assert!(parse_blob(Algorithm::Sha256, 0xaa, &format!("{hex}.{generation}")).is_none());
        assert_eq!(parse_shard("AB"), None);
        assert_eq!(parse_shard("+a"), None);
        assert_eq!(parse_upload("lost+found"), None);
    }
}
