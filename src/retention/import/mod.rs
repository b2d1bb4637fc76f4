//! Other registries' policies, read as far as they can be.

mod ecr;
mod zot;

use thiserror::Error;

use super::policy::Policies;

pub use ecr::import_ecr;
pub use zot::import_zot;

/// What became of another registry's policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What could be carried over. They compile.
    pub policies: Policies,
    /// What could not, or works differently: one line each, for people.
    pub notes: Vec<String>,
}

/// Why nothing could be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// No JSON, or not the JSON that was expected.
    #[error("this is not {expected}: {error}")]
    Format {
        /// What was expected.
        expected: &'static str,
        /// What was found.
        error: serde_json::Error,
    },
    /// There are no policies in it.
    #[error("there is no {0} in it")]
    Nothing(&'static str),
    /// What came out is refused.
    #[error("{0}")]
    Refused(#[from] super::error::PolicyError),
}

/// Lines about what is unknown in a JSON object.
fn unknown_keys(of: &str, keys: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    keys.keys().map(|key| format!("{of}: `{key}` is not known and was left out")).collect()
}
