//! The report of a check.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The maximum number of entries in each list of a report. Further problems are only counted.
const MAX_LISTED: usize = 10_000;

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The content of a recorded blob is missing.
    MissingBlob,
    /// A blob has the wrong length or hashes to another digest.
    DamagedBlob,
    /// A blob could not be read.
    UnreadableBlob,
    /// A blob is quarantined although it is sound.
    MarkedBlob,
    /// A manifest's content does not hash to its digest.
    DamagedManifest,
    /// A manifest refers to a blob or manifest that is missing.
    MissingTarget,
    /// The database contradicts itself.
    InconsistentFacts,
    /// A stored blob that no record refers to.
    OrphanBlob,
    /// Staged bytes of an upload that has ended.
    OrphanUpload,
}

/// A problem that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of the problem.
    pub kind: ProblemKind,
    /// The affected item: a digest, a manifest with its repository, or an upload.
    pub subject: String,
    /// A description of the problem.
    pub message: String,
    /// Whether the problem was repaired. Quarantining a damaged blob does not count: it has to be pushed again.
    pub repaired: bool,
}

/// What a check read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsckReport {
    /// The number of blobs read.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// The number of manifests read.
    pub manifests: u64,
    /// The number of quarantined blobs: clients can't pull them until they are pushed again.
    #[serde(default)]
    pub set_aside: u64,
    /// The number of problems of each kind, including repaired ones.
    pub counts: BTreeMap<ProblemKind, u64>,
    /// The number of unrepaired problems. With none, the store is sound.
    pub unrepaired: u64,
    /// The problems, at most the first ten thousand.
    pub problems: Vec<Problem>,
    /// Blobs whose disk usage differs from the recorded one. This is not a problem: the store may have moved to another
    /// filesystem, or the filesystem has compressed them since.
    #[serde(default)]
    pub misjudged: u64,
    /// Foreign files in the store. They are kept, and are not a problem.
    pub unknown: Vec<String>,
    /// Content that is stored as it was accepted but may confuse clients; at most the first ten thousand.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl FsckReport {
    /// Whether nothing is wrong, or everything was repaired.
    pub fn is_sound(&self) -> bool {
        self.unrepaired == 0
    }
}

/// A report in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    report: FsckReport,
}

impl Findings {
    pub(crate) fn add(
        &mut self,
        kind: ProblemKind,
        subject: impl ToString,
        message: impl ToString,
        repaired: bool,
    ) {
        *self.report.counts.entry(kind).or_default() += 1;
        self.report.unrepaired += u64::from(!repaired);
        if self.report.problems.len() < MAX_LISTED {
            let subject = subject.to_string();
            let message = message.to_string();
            self.report.problems.push(Problem { kind, subject, message, repaired });
        }
    }

    pub(crate) fn count_blob(&mut self, size: u64) {
        self.report.blobs += 1;
        self.report.blob_bytes += size;
    }

    pub(super) fn count_quarantined(&mut self, quarantined: bool) {
        self.report.set_aside += u64::from(quarantined);
    }

    pub(super) fn count_misjudged(&mut self) {
        self.report.misjudged += 1;
    }

    pub(crate) fn count_manifest(&mut self) {
        self.report.manifests += 1;
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.report.warnings.len() < MAX_LISTED {
            self.report.warnings.push(warning);
        }
    }

    pub(super) fn add_unknown(&mut self, names: Vec<String>) {
        let room = MAX_LISTED.saturating_sub(self.report.unknown.len());
        self.report.unknown.extend(names.into_iter().take(room));
    }

    pub(crate) fn into_report(self) -> FsckReport {
        self.report
    }
}
