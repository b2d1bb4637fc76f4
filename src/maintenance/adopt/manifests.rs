//! Reading the manifests of the old registry: their content, what they refer to, and the order in which to adopt them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::error::AdoptError;
use super::walk::{Walk, blocking};
use crate::distribution::DistributionTree;
use crate::oci::{Digest, Hasher, Manifest, ManifestLimits, Role};

/// The maximum size of a manifest in bytes, whatever pushes are limited to: registry:2 accepts manifests of 4 MiB.
const MAX_BYTES: u64 = 4 << 20;

/// A manifest that can be adopted.
pub(super) struct FoundManifest {
    pub(super) digest: Digest,
    pub(super) content: Bytes,
    pub(super) manifest: Manifest,
}

/// Why a manifest can't be adopted.
pub(super) struct Broken {
    pub(super) reason: String,
    /// Whether there is content.
    pub(super) has_content: bool,
}

/// Reads the manifests with these digests and checks them.
pub(super) async fn read_all(
    walk: &Walk<'_>,
    digests: &[Digest],
) -> Result<Vec<(Digest, Result<FoundManifest, Broken>)>, AdoptError> {
    let (tree, limits, digests) = (Arc::clone(walk.tree), walk.limits, digests.to_vec());
    let read = move |digest: Digest| {
        let found = read(&tree, &digest, limits);
        (digest, found)
    };
    blocking(move || Ok(digests.into_iter().map(read).collect())).await
}

/// Reads the manifest with this digest and checks it.
fn read(tree: &DistributionTree, digest: &Digest, limits: ManifestLimits) -> Result<FoundManifest, Broken> {
    let path = tree.blob_path(digest);
    let content = read_file(&path)?;
    let broken = |reason: String| Broken { reason, has_content: !content.is_empty() };
    let actual = Hasher::digest(digest.algorithm(), &content);
    if actual != *digest {
        return Err(broken(format!("its content has the digest {actual}")));
    }
    let manifest = Manifest::parse(&content, None, &limits).map_err(|error| broken(error.to_string()))?;
    Ok(FoundManifest { digest: digest.clone(), content: content.clone(), manifest })
}

fn read_file(path: &Path) -> Result<Bytes, Broken> {
    let unreadable = |error: io::Error| Broken {
        reason: format!("{}: {error}", path.display()),
        has_content: error.kind() != io::ErrorKind::NotFound,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(Broken { reason: format!("it is larger than {MAX_BYTES} bytes"), has_content: true });
    }
    Ok(content.into())
}

impl FoundManifest {
    /// Whether the manifest refers to one of these, which must be adopted before it.
    pub(super) fn waits_for(&self, digests: &HashSet<Digest>) -> bool {
        self.manifest.references.iter().any(|target| {
            target.role == Role::Child && target.digest != self.digest && digests.contains(&target.digest)
        })
    }
}
