//! The status and the reports of the scrub.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::maintenance::fsck::{FsckReport, Problem};
use crate::metadata::QuarantinedBlob;

/// The state of the scrub since the program started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// The bytes of blobs that were read.
    pub checked_bytes: u64,
    /// The number of blobs read to their end.
    pub checked_blobs: u64,
    /// When the last complete pass ended, even if that was before the program started.
    pub finished_at: Option<Timestamp>,
    /// What the last complete pass since the program started read and found.
    pub last_pass: Option<ScrubFigures>,
    /// Why the scrub is paused, if it is.
    pub paused: Option<String>,
    /// Manifests found damaged when last read, each as repository and digest; at most the first thousand.
    pub damaged_manifests: BTreeSet<String>,
}

/// What a pass read and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubFigures {
    /// The number of blobs read.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// The number of manifests read.
    pub manifests: u64,
    /// The number of problems found, up to ten thousand.
    pub problems: u64,
}

impl ScrubFigures {
    pub(super) fn of(report: &FsckReport) -> Self {
        Self {
            blobs: report.blobs,
            blob_bytes: report.blob_bytes,
            manifests: report.manifests,
            problems: report.problems.len() as u64,
        }
    }
}

/// The progress of the background pass and the result of the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubState {
    /// Whether passes follow each other in the background.
    pub scheduled: bool,
    /// Whether a pass at full speed was requested and has not ended.
    pub requested: bool,
    /// When the pass began.
    pub began_at: Timestamp,
    /// What the pass has read and found so far.
    pub progress: ScrubFigures,
    /// The size of all blobs in bytes.
    pub total_bytes: u64,
    /// When the last complete pass ended, even if that was before the program started.
    pub finished_at: Option<Timestamp>,
    /// What the last complete pass since the program started read and found.
    pub last_pass: Option<ScrubFigures>,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
}

/// A quarantined blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// The blob's digest.
    pub digest: String,
    /// The size the blob should have.
    pub size: u64,
    /// The first few repositories that link it.
    pub repositories: Vec<String>,
}

impl From<QuarantinedBlob> for QuarantineEntry {
    fn from(blob: QuarantinedBlob) -> Self {
        let repositories = blob.repos.iter().map(ToString::to_string).collect();
        Self { digest: blob.key.digest.to_string(), size: blob.size, repositories }
    }
}

/// The progress and the findings of a pass, and the quarantined blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Whether the report is about a complete pass on request, not about the background pass so far.
    pub whole: bool,
    /// The number of blobs read.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// The number of manifests read.
    pub manifests: u64,
    /// The problems found, at most the first ten thousand.
    pub problems: Vec<Problem>,
    /// The number of quarantined blobs.
    pub damaged: u64,
    /// The first thousand quarantined blobs.
    pub set_aside: Vec<QuarantineEntry>,
    /// When the last complete pass ended, in milliseconds since 1970.
    pub finished_at: Option<i64>,
    /// Why the background scrub is paused, if it is.
    pub paused: Option<String>,
}

impl ScrubReport {
    /// Whether there are no problems and no quarantined blobs.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.damaged == 0
    }
}
