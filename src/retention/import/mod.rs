//! Other registries' policies, read as far as they can be.
//!
//! What is not understood makes nothing expire: where a word might keep something, the rules that it might speak against
//! are left out, and a note says so.

mod duration;
mod ecr;
mod object;
mod zot;

use serde_json::Value;
use thiserror::Error;

use super::policy::Policies;

pub use ecr::import_ecr;
pub use zot::import_zot;

/// Bytes of a document that is read.
pub const MAX_IMPORT_BYTES: usize = 1 << 20;

/// Events of YAML that aliases repeat: aliases of aliases multiply.
const MAX_YAML_ALIASED: usize = 10_000;

/// Bytes of the name that policies are given: they add a number to it.
const MAX_NAME_BYTES: usize = 100;

/// Notes that are written out.
const MAX_NOTES: usize = 200;

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
    /// The document is too large.
    #[error("this is too large: it may have at most {MAX_IMPORT_BYTES} bytes")]
    Large,
    /// The name is too long.
    #[error("the name is too long: it may have at most {MAX_NAME_BYTES} bytes")]
    Name,
    /// Neither JSON nor YAML, as it begins.
    #[error("this is neither JSON nor YAML: {0}")]
    Yaml(#[from] serde_saphyr::Error),
    /// No JSON, or not the document that was expected.
    #[error("this is not {expected}: {error}")]
    Format {
        /// What was expected.
        expected: &'static str,
        /// What was found.
        #[source]
        error: serde_json::Error,
    },
    /// There are no policies in it.
    #[error("there is no {0} in it")]
    Nothing(&'static str),
    /// What came out is refused.
    #[error(transparent)]
    Refused(#[from] super::error::PolicyError),
}

/// Reads a document of JSON or YAML.
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

/// Lines for people. Past a number they are only counted.
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
            self.lines.push(format!("there are {} more notes", self.more));
        }
        self.lines
    }
}

/// A text as a glob that matches only it, apart from what `kept` leaves its meaning.
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
