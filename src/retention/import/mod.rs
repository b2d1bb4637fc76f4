//! Imports the retention policies of other registries, as far as they can be converted.
//!
//! Unknown settings never make anything expire: if a setting might keep something, the rules it might restrict are left
//! out, and a note says so.

mod duration;
mod ecr;
mod object;
mod zot;

use serde_json::Value;
use thiserror::Error;

use super::policy::Policies;

pub use ecr::import_ecr;
pub use zot::import_zot;

/// The maximum size of an imported document in bytes.
pub const MAX_IMPORT_BYTES: usize = 1 << 20;

/// The maximum number of YAML events replayed by aliases. Aliases of aliases multiply them.
const MAX_YAML_ALIASED: usize = 10_000;

/// The maximum length of the base name in bytes; policies append a number to it.
const MAX_NAME_BYTES: usize = 100;

/// The maximum number of notes.
const MAX_NOTES: usize = 200;

/// The result of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The converted policies. They compile.
    pub policies: Policies,
    /// Notes for the operator about settings that were not converted or work differently.
    pub notes: Vec<String>,
}

/// Why an import failed.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The document is too large.
    #[error("the document is too large; it may have at most {MAX_IMPORT_BYTES} bytes")]
    Large,
    /// The name is too long.
    #[error("the name is too long; it may have at most {MAX_NAME_BYTES} bytes")]
    Name,
    /// The document is neither JSON nor YAML.
    #[error("the document is neither JSON nor YAML")]
    Yaml(#[from] serde_saphyr::Error),
    /// The document is invalid JSON, or not of the expected kind.
    #[error("the document is not {expected}")]
    Format {
        /// The expected kind of document.
        expected: &'static str,
        /// The parse error.
        #[source]
        error: serde_json::Error,
    },
    /// The document contains no policies.
    #[error("the document does not contain {0}")]
    Nothing(&'static str),
    /// The converted policies are invalid.
    #[error(transparent)]
    Refused(#[from] super::error::PolicyError),
}

/// Parses a JSON or YAML document.
fn read(text: &str, expected: &'static str) -> Result<Value, ImportError> {
    if text.len() > MAX_IMPORT_BYTES {
        return Err(ImportError::Large);
    }
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text).map_err(|error| ImportError::Format { expected, error });
    }
    let mut options = serde_saphyr::Options::default();
    options.alias_limits.max_total_replayed_events = MAX_YAML_ALIASED;
    match serde_saphyr::from_str_with_options(text, options)? {
        value @ Value::Object(_) => Ok(value),
        _ => Err(ImportError::Nothing(expected)),
    }
}

fn check_name(name: &str) -> Result<(), ImportError> {
    if name.len() > MAX_NAME_BYTES { Err(ImportError::Name) } else { Ok(()) }
}

/// Notes for the operator. Further notes above the limit are only counted.
#[derive(Debug, Default)]
struct Notes {
    lines: Vec<String>,
    more: usize,
}

impl Notes {
    fn add(&mut self, line: impl Into<String>) {
        if self.lines.len() < MAX_NOTES {
            self.lines.push(line.into());
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("{} more notes were left out", self.more));
        }
        self.lines
    }
}

/// Escapes a text to a glob that matches only this text. Characters in `kept` keep their special meaning.
fn literal(text: &str, kept: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for c in text.chars() {
        if r"*?[]{}\!".contains(c) && !kept.contains(c) {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}
