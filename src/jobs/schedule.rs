//! When a job last ran and runs next, and a way to run it now.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::errors::Chain;
use crate::registry::ServiceError;

/// The runs of a job since the program started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobState {
    /// Whether it is running.
    pub running: bool,
    /// When the last run started.
    pub started_at: Option<Timestamp>,
    /// When the last run ended.
    pub finished_at: Option<Timestamp>,
    /// Why the last run failed, if it did.
    pub error: Option<String>,
    /// When the next run starts. `None` while it is running, and if nothing runs the job: on a stopped or read-only
    /// store.
    pub next_at: Option<Timestamp>,
}

/// The schedule of a job.
pub struct JobSchedule {
    clock: Arc<dyn Clock>,
    state: Mutex<JobState>,
    requested: Notify,
}

impl JobSchedule {
    /// Creates the schedule of a job that nothing runs yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), requested: Notify::new() }
    }

    /// Returns the runs since the program started.
    pub fn state(&self) -> JobState {
        self.state.lock().clone()
    }

    /// Starts the next run at once. Returns `false` if nothing runs the job.
    pub fn request_run(&self) -> bool {
        let JobState { running, next_at, .. } = self.state();
        if running {
            return true;
        }
        if next_at.is_some() {
            self.requested.notify_one();
        }
        next_at.is_some()
    }

    /// Records that the next batch starts after `wait`. Between the batches of a run, the run goes on.
    pub(super) fn record_wait(&self, wait: Duration) {
        let mut state = self.state.lock();
        if !state.running {
            state.next_at = Some(self.clock.now().plus(wait));
        }
    }

    /// Waits until a run is requested.
    pub(super) async fn wait_for_request(&self) {
        self.requested.notified().await;
    }

    /// Records that a batch starts.
    pub(super) fn record_start(&self) {
        let mut state = self.state.lock();
        if !state.running {
            state.started_at = Some(self.clock.now());
        }
        state.running = true;
        state.next_at = None;
    }

    /// Records that a batch ended, and with it the run, unless more work is waiting.
    pub(super) fn record_end(&self, outcome: &Result<bool, ServiceError>) {
        let mut state = self.state.lock();
        if matches!(outcome, Ok(true)) {
            return;
        }
        state.running = false;
        state.finished_at = Some(self.clock.now());
        state.error = outcome.as_ref().err().map(|error| Chain(error).to_string());
    }

    /// Records that nothing runs the job any more.
    pub(super) fn record_stop(&self) {
        let mut state = self.state.lock();
        state.running = false;
        state.next_at = None;
    }
}
