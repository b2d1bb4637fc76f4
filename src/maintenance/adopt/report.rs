//! The report of an adoption.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::distribution::Finding;
use crate::metadata::AdoptionCounts;

/// The maximum number of problems in a report. Further ones are only counted.
const MAX_LISTED: usize = 10_000;

/// What is wrong in the tree of the old registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlawKind {
    /// A manifest whose content is missing, is not its digest's, or is no manifest that Orlop serves (schema 1).
    BrokenManifest,
    /// A manifest refers to a blob or manifest that is missing.
    MissingTarget,
    /// A tag names a manifest that is missing or broken.
    DanglingTag,
    /// A repository links a blob that is missing. This is normal after a garbage collection of the old registry.
    DanglingLink,
    /// A file or name that the old registry would not have written.
    Malformed,
}

/// Something in the tree of the old registry that could not be adopted. It is left where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// The kind.
    pub kind: FlawKind,
    /// What has it: a manifest or tag with its repository, or a path.
    pub subject: String,
    /// A description.
    pub message: String,
    /// Whether removing the old tree would lose something that only it holds.
    pub is_only_there: bool,
}

/// What an adoption took over or, as a plan, would take over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptReport {
    /// Whether this is a plan, so that nothing was changed.
    pub plan: bool,
    /// The directory of the old registry.
    pub path: PathBuf,
    /// The data directory. Empty in a plan.
    pub data: PathBuf,
    /// The repositories in the tree.
    pub repositories: u64,
    /// Manifests that are new here.
    pub manifests: u64,
    /// Manifests that were known.
    pub known_manifests: u64,
    /// Tags that are new here.
    pub tags: u64,
    /// Tags that the old registry has moved since the last adoption.
    pub moved_tags: u64,
    /// Tags that were known, or have changed here since.
    pub kept_tags: u64,
    /// Blobs that are new here.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// Whether their files are shared with the old tree: hard links.
    pub shared: bool,
    /// Blobs that have yet to be verified.
    pub unverified: u64,
    /// The bytes that the tree holds on the disk.
    pub tree_bytes: u64,
    /// The number of flaws of each kind.
    pub counts: BTreeMap<FlawKind, u64>,
    /// The flaws, at most the first ten thousand.
    pub flaws: Vec<Flaw>,
    /// If the old registry still writes, what it wrote while the tree was read.
    pub still_writes: Option<PathBuf>,
}

impl AdoptReport {
    /// Adds a flaw.
    pub(super) fn add(
        &mut self,
        kind: FlawKind,
        subject: impl ToString,
        message: impl ToString,
        is_only_there: bool,
    ) {
        *self.counts.entry(kind).or_default() += 1;
        if self.flaws.len() < MAX_LISTED || is_only_there {
            let (subject, message) = (subject.to_string(), message.to_string());
            self.flaws.push(Flaw { kind, subject, message, is_only_there });
        }
    }

    /// Adds an entry of the tree that can't be used.
    pub(super) fn add_finding(&mut self, finding: &Finding) {
        self.add(FlawKind::Malformed, finding.path.display(), &finding.reason, false);
    }

    /// What the registry keeps of this report.
    pub(super) fn summary(&self) -> AdoptionCounts {
        AdoptionCounts {
            repositories: self.repositories,
            manifests: self.manifests + self.known_manifests,
            tags: self.tags + self.moved_tags + self.kept_tags,
            blobs: self.blobs,
            blob_bytes: self.blob_bytes,
            problems: self.counts.values().sum(),
        }
    }

    /// Whether the tree was adopted as it is now.
    pub fn is_complete(&self) -> bool {
        self.still_writes.is_none()
    }

    /// Returns the flaws that are lost with the old tree.
    pub fn only_there(&self) -> impl Iterator<Item = &Flaw> {
        self.flaws.iter().filter(|flaw| flaw.is_only_there)
    }
}
