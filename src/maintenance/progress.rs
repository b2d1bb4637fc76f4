//! Progress reports of long operations.

use serde::{Deserialize, Serialize};

/// The unit of a progress count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things other than bytes, such as blobs or manifests.
    Items,
}

/// The progress of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The current phase, in a few words.
    pub what: String,
    /// How much of the phase is done.
    pub done: u64,
    /// How much the phase has in total, if known.
    pub total: Option<u64>,
    /// The unit of `done` and `total`.
    pub unit: Unit,
}

/// Receives the progress of an operation. It is called often and must not block.
pub trait Progress: Send + Sync {
    /// Reports that the operation has reached `step`.
    fn report(&self, step: Step);
}

/// Discards all progress reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Step) {}
}

impl<F: Fn(Step) + Send + Sync> Progress for F {
    fn report(&self, step: Step) {
        self(step);
    }
}

/// Counts one phase of an operation and reports each change.
pub(crate) struct Counter<'a> {
    to: &'a dyn Progress,
    step: Step,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(to: &'a dyn Progress, what: &str, unit: Unit, total: Option<u64>) -> Self {
        let step = Step { what: what.to_owned(), done: 0, total, unit };
        to.report(step.clone());
        Self { to, step }
    }

    pub(crate) fn add(&mut self, more: u64) {
        self.step.done = self.step.done.saturating_add(more);
        self.to.report(self.step.clone());
    }
}
