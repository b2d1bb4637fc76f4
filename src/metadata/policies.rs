//! Policies that were set through the API, and what came of policies.

use async_trait::async_trait;

use super::pages::text_weight;
use super::{Page, Result, Weigh};
use crate::clock::Timestamp;

/// How many changes of policies, and how many runs, are remembered.
pub const RECORDS_KEPT: i64 = 1000;

/// A policy that was set through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Its name.
    pub name: String,
    /// The policy, as JSON.
    pub policy: String,
    /// When it was last set.
    pub set_at: Timestamp,
    /// By whom, if that is known.
    pub by: Option<String>,
}

/// A change of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// Its place: later ones have larger ones.
    pub id: i64,
    /// Which policy.
    pub name: String,
    /// What it has been since, as JSON. `None`: it was removed.
    pub policy: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom, if that is known.
    pub by: Option<String>,
}

impl Weigh for PolicyChange {
    fn weight(&self) -> usize {
        128 + self.name.len() + text_weight(self.policy.as_ref()) + text_weight(self.by.as_ref())
    }
}

/// Policies as records.
#[async_trait]
pub trait PolicyRecords: Send + Sync {
    /// All of them, in the order in which they were first set.
    async fn policies(&self) -> Result<Vec<PolicyRecord>>;

    /// Sets a policy, in the place of an older one of its name.
    async fn set_policy(&self, record: PolicyRecord) -> Result<()>;

    /// Removes a policy. `false` if there is none of this name.
    async fn remove_policy(&self, name: &str, now: Timestamp, by: Option<&str>) -> Result<bool>;

    /// A page of changes before the place `before`, newest first.
    async fn policy_history(&self, before: Option<i64>, limit: usize) -> Result<Page<PolicyChange>>;
}

/// What sets a run off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunCause {
    /// It was time.
    #[default]
    Interval,
    /// Somebody asked for it.
    Request,
    /// The store was nearly full.
    Pressure,
}

/// What policies took away in one go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionRun {
    /// Its place: later ones have larger ones. Given by the store.
    pub id: i64,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// By whom, if that is known.
    pub by: Option<String>,
    /// What set it off.
    pub cause: RunCause,
    /// How many tags went.
    pub tags: u64,
    /// How many manifests went to the trash.
    pub manifests: u64,
    /// How many steps were skipped, because something had changed.
    pub skipped: u64,
    /// The bytes that come free with them, where that was asked.
    pub bytes: Option<u64>,
    /// Whether it stopped at a change.
    pub stopped: bool,
}

impl Weigh for RetentionRun {
    fn weight(&self) -> usize {
        256 + text_weight(self.by.as_ref())
    }
}

/// What came of policies.
#[async_trait]
pub trait RetentionRuns: Send + Sync {
    /// Records a run.
    async fn note_run(&self, run: RetentionRun) -> Result<()>;

    /// A page of runs before the place `before`, newest first.
    async fn retention_runs(&self, before: Option<i64>, limit: usize) -> Result<Page<RetentionRun>>;
}
