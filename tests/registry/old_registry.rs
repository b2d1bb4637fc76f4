//! The storage of a Distribution registry, for tests that adopt it.

use std::path::PathBuf;
use std::sync::Arc;

use orlop::clock::Timestamp;
use orlop::distribution::{DistributionTree, DistributionWriter, TaggedRevision};
use orlop::oci::{Digest, RepoName};
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

    fn blob(&self, content: &[u8]) -> Digest {
        let digest = digest(content);
        self.writer.put_blob_bytes(&digest, content).expect("written");
        digest
    }
}

fn name(repo: &str) -> RepoName {
    repo.parse().expect("name")
}
