//! Policies that were set through the API, and the record of retention runs.

use super::Weigh;
use super::pages::text_weight;
use crate::clock::Timestamp;

/// How many policy changes and how many runs are kept.
pub const MAX_POLICY_RECORDS: i64 = 1000;

/// A policy that was set through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Its name.
    pub name: String,
    /// The policy as JSON.
    pub policy: String,
    /// When it was last set.
    pub set_at: Timestamp,
    /// Who set it, if known.
    pub by: Option<String>,
}

/// A change of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// Its position: later changes have larger ids.
    pub id: i64,
    /// The policy's name.
    pub name: String,
    /// The policy after the change, as JSON. `None` if it was removed.
    pub policy: Option<String>,
    /// When it was changed.
    pub at: Timestamp,
    /// Who changed it, if known.
    pub by: Option<String>,
}

impl Weigh for PolicyChange {
    fn weight(&self) -> usize {
        128 + self.name.len() + text_weight(self.policy.as_ref()) + text_weight(self.by.as_ref())
    }
}

/// What started a retention run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunCause {
    /// The regular interval.
    #[default]
    Interval,
    /// A user requested it.
    Request,
    /// The store was nearly full.
    Pressure,
}

/// What policies removed in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionRun {
    /// Its position: later runs have larger ids. Assigned by the store.
    pub id: i64,
    /// When it started.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Who requested it, if known.
    pub by: Option<String>,
    /// What started it.
    pub cause: RunCause,
    /// How many tags were removed.
    pub tags: u64,
    /// How many manifests moved to the trash.
    pub manifests: u64,
    /// How many steps were skipped because the object had changed.
    pub skipped: u64,
    /// The bytes that will be freed, if they were computed.
    pub bytes: Option<u64>,
    /// Whether the run stopped at the first change.
    pub stopped: bool,
}

impl Weigh for RetentionRun {
    fn weight(&self) -> usize {
        256 + text_weight(self.by.as_ref())
    }
}
