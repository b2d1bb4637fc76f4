//! What a check found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many problems are told one by one; the rest is counted.
const MOST_TOLD: usize = 10_000;

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A record names bytes that are not there.
    MissingBlob,
    /// Bytes have another length, or hash to something else.
    DamagedBlob,
    /// Bytes could not be read.
    UnreadableBlob,
    /// A blob is marked as damaged although it is sound.
    MarkedBlob,
    /// A manifest's bytes do not hash to its digest.
    DamagedManifest,
    /// A manifest refers to something that is not there.
    MissingTarget,
    /// The database contradicts itself.
    InconsistentFacts,
    /// Bytes that nothing names.
    OrphanBlob,
    /// Staged bytes of an upload that is no more.
    OrphanUpload,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// What has it: a digest, a manifest with its repository, an upload.
    pub subject: String,
    /// What is wrong with it.
    pub message: String,
    /// Whether it is mended. A damaged blob that is marked is not: a push must bring its bytes again.
    pub repaired: bool,
}

/// What a check looked at, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsckReport {
    /// Blobs read.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Manifests read.
    pub manifests: u64,
    /// Blobs that are set aside: absent to everyone until a push brings their bytes again.
    #[serde(default)]
    pub set_aside: u64,
    /// How many problems of each kind there are, mended ones included.
    pub counts: BTreeMap<ProblemKind, u64>,
    /// How many of them are not mended: with none the store is sound.
    pub unrepaired: u64,
    /// The problems, the first ten thousand.
    pub problems: Vec<Problem>,
    /// Blobs that take more or less of the disk than is recorded, which is no problem: another filesystem than
    /// they were first stored on, or one that has compressed them since.
    #[serde(default)]
    pub misjudged: u64,
    /// Files in the store that it did not put there; they are kept, and are no problem.
    pub unknown: Vec<String>,
    /// What is as it was accepted, but may surprise a client, the first ten thousand.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl FsckReport {
    /// Whether nothing is wrong, or nothing any more.
    pub fn is_sound(&self) -> bool {
        self.unrepaired == 0
    }
}

/// A report that is being made.
#[derive(Debug, Clone, Default)]
pub(in crate::jobs) struct Findings {
    report: FsckReport,
}

impl Findings {
    pub(in crate::jobs) fn add(
        &mut self,
        kind: ProblemKind,
        subject: impl ToString,
        message: impl ToString,
        repaired: bool,
    ) {
        *self.report.counts.entry(kind).or_default() += 1;
        self.report.unrepaired += u64::from(!repaired);
        if self.report.problems.len() < MOST_TOLD {
            let (subject, message) = (subject.to_string(), message.to_string());
            self.report.problems.push(Problem { kind, subject, message, repaired });
        }
    }

    pub(in crate::jobs) fn count_blob(&mut self, size: u64) {
        self.report.blobs += 1;
        self.report.blob_bytes += size;
    }

    pub(super) fn count_set_aside(&mut self, aside: bool) {
        self.report.set_aside += u64::from(aside);
    }

    pub(super) fn count_misjudged(&mut self) {
        self.report.misjudged += 1;
    }

    pub(in crate::jobs) fn count_manifest(&mut self) {
        self.report.manifests += 1;
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.report.warnings.len() < MOST_TOLD {
            self.report.warnings.push(warning);
        }
    }

    pub(super) fn add_unknown(&mut self, names: Vec<String>) {
        let room = MOST_TOLD.saturating_sub(self.report.unknown.len());
        self.report.unknown.extend(names.into_iter().take(room));
    }

    pub(in crate::jobs) fn into_report(self) -> FsckReport {
        self.report
    }
}
