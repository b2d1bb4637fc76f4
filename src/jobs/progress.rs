//! How long work says how far it has come.

use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Items,
}

/// How far some work has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is being done, in a few words.
    pub what: String,
    /// How much of it is done.
    pub done: u64,
    /// How much there is in all, where that is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

/// Hears how far some work has come. Called often: it must not block.
pub trait Progress: Send + Sync {
    /// The work has come to `step`.
    fn report(&self, step: Step);
}

/// Nobody listens.
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

/// Counts one phase of some work and passes that on.
pub(super) struct Counter<'a> {
    to: &'a dyn Progress,
    step: Step,
}

impl<'a> Counter<'a> {
    pub(super) fn new(to: &'a dyn Progress, what: &str, unit: Unit, total: Option<u64>) -> Self {
        let step = Step { what: what.to_owned(), done: 0, total, unit };
        to.report(step.clone());
        Self { to, step }
    }

    pub(super) fn add(&mut self, more: u64) {
        self.step.done = self.step.done.saturating_add(more);
        self.to.report(self.step.clone());
    }
}
