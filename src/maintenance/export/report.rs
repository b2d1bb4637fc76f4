//! The results of exports, and their errors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::distribution::TreeError;
use crate::metadata::MetadataError;
use crate::registry::ServiceError;
use crate::store::ExportMethod;

/// The maximum number of problems that a report lists. Further problems are only counted.
const MAX_PROBLEMS: usize = 10_000;

/// Why an export failed.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The request can't be served; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The directory could not be written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file or directory could not be read or written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// The registry failed during the export.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<MetadataError> for ExportError {
    fn from(error: MetadataError) -> Self {
        Self::Service(error.into())
    }
}

/// The result of an export. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// The number of exported repositories.
    pub repositories: u64,
    /// The number of their manifests.
    pub manifests: u64,
    /// The number of their tags.
    pub tags: u64,
    /// The number of blobs hard-linked this time.
    pub linked: u64,
    /// Their size.
    pub linked_bytes: u64,
    /// The number of blobs copied this time.
    pub copied: u64,
    /// Their size.
    pub copied_bytes: u64,
    /// What could not be exported, each with the reason; at most the first ten thousand.
    pub problems: Vec<String>,
    /// The number of problems that are not listed.
    pub more_problems: u64,
}

impl ExportReport {
    /// Whether everything was exported.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn count_blob(&mut self, method: ExportMethod, size: u64) {
        match method {
            ExportMethod::HardLink => {
                self.linked += 1;
                self.linked_bytes += size;
            }
            ExportMethod::Copy => {
                self.copied += 1;
                self.copied_bytes += size;
            }
        }
    }

    pub(super) fn add_problem(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
    }
}
