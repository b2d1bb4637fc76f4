//! What the scrub tells.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::jobs::fsck::Problem;
use crate::metadata::DamagedBlob;

/// How the scrub is doing, since the start of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Bytes of blobs that were read.
    pub checked_bytes: u64,
    /// Blobs that were read to their end.
    pub checked_blobs: u64,
    /// When the last whole pass ended, also before the start of the program.
    pub finished_at: Option<Timestamp>,
    /// Why it pauses, if it does.
    pub paused: Option<String>,
    /// Manifests whose bytes were last seen damaged, each as repository and digest; the first thousand.
    pub damaged_manifests: BTreeSet<String>,
}

/// A blob that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Its digest.
    pub digest: String,
    /// How many bytes it should have.
    pub size: u64,
    /// Repositories that link it, the first few.
    pub repositories: Vec<String>,
}

impl From<DamagedBlob> for SetAside {
    fn from(blob: DamagedBlob) -> Self {
        let repositories = blob.repos.iter().map(ToString::to_string).collect();
        Self { digest: blob.key.digest.to_string(), size: blob.size, repositories }
    }
}

/// What a pass looked at and found, and what is set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Whether this is of a whole pass that was made now, and not of the one in the background so far.
    pub whole: bool,
    /// Blobs read.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Manifests read.
    pub manifests: u64,
    /// What is wrong, the first ten thousand.
    pub problems: Vec<Problem>,
    /// How many blobs are set aside in all.
    pub damaged: u64,
    /// The first thousand of them.
    pub set_aside: Vec<SetAside>,
    /// When the last whole pass ended, in milliseconds since 1970.
    pub finished_at: Option<i64>,
    /// Why the scrub in the background pauses, if it does.
    pub paused: Option<String>,
}

impl ScrubReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.damaged == 0
    }
}
