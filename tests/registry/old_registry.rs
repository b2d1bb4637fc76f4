//! The storage of a Distribution registry, for tests that adopt it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use orlop::clock::Timestamp;
use orlop::distribution::{DistributionTree, DistributionWriter, TaggedRevision};
use orlop::oci::{Algorithm, Digest, Hasher, RepoName};
use tempfile::TempDir;

use crate::kit::{digest, image};

/// When everything was pushed.
const PUSHED_AT: Timestamp = Timestamp(1000);

/// The tree of another registry, in a temporary folder.
pub struct OldRegistry {
    writer: DistributionWriter,
    folder: TempDir,
}

impl OldRegistry {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("temporary folder");
        Self { writer: DistributionWriter::create(folder.path()).expect("created"), folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn tree(&self) -> Arc<DistributionTree> {
        Arc::new(self.writer.tree().clone())
    }

    /// Pushes an image with one layer. All images have the same config.
    pub fn image(&self, repo: &str, layer: &[u8]) -> Digest {
        let (config, layer) = (self.blob(b"{}"), self.blob(layer));
        for digest in [&config, &layer] {
            self.writer.link_layer(&name(repo), digest).expect("linked");
        }
        self.manifest(repo, &image(&config, &[&layer]))
    }

    pub fn manifest(&self, repo: &str, content: &str) -> Digest {
        self.manifest_at(repo, content, PUSHED_AT)
    }

    pub fn manifest_at(&self, repo: &str, content: &str, at: Timestamp) -> Digest {
        let digest = self.blob(content.as_bytes());
        self.writer.link_revision(&name(repo), &digest, at).expect("linked");
        digest
    }

    /// Points a tag at a manifest, after it has pointed at those of the `past`.
    pub fn tag(&self, repo: &str, tag: &str, digest: &Digest, past: &[&Digest]) {
        let past = past.iter().map(|digest| ((*digest).clone(), PUSHED_AT)).collect();
        let tag = tag.parse().expect("tag");
        let tagged_at = Timestamp(PUSHED_AT.0 + 1000);
        let tagged = TaggedRevision { tag, digest: digest.clone(), tagged_at, past };
        self.writer.set_tag(&name(repo), &tagged).expect("tagged");
    }

    /// Lets a repository serve a blob under its SHA-512 digest, as Distribution 3 does.
    pub fn sha512_alias(&self, repo: &str, content: &[u8]) -> Digest {
        let stored_as = self.blob(content);
        let alias = Hasher::digest(Algorithm::Sha512, content);
        let tree = self.folder.path().join("docker/registry/v2/repositories");
        let directory = tree.join(repo).join("_layers/sha512").join(alias.hex());
        fs::create_dir_all(&directory).expect("made");
        fs::write(directory.join("link"), stored_as.as_str()).expect("written");
        alias
    }

    fn blob(&self, content: &[u8]) -> Digest {
        let digest = digest(content);
        self.writer.put_blob_bytes(&digest, content).expect("written");
        digest
    }
}

fn name(repo: &str) -> RepoName {
    repo.parse().expect("name")
}
