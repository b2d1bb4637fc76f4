//! Records each run in the state file of the data directory and in the database. A run is one process that
//! uses the store, from its start to its end.
//!
//! A start makes three writes: the state file announces the new run, the database commits it, the state file confirms
//! it. If the process is killed before, between or after them, the database names a run that the state file knows, so
//! the next start needs no operator. Nothing is served before the third write.
//!
//! From then on the state file says that the database needs its log. A clean shutdown checkpoints the log into the
//! database, records that, and only then allows the log to be removed. Anything else, such as a failed start or a kill,
//! keeps the log.

use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use uuid::Uuid;

use super::errors::StartError;
use super::state_file::{StateFile, StoreState};
use super::sync_failures::Failures;
use crate::auth::AccessControl;
use crate::errors::Chain;
use crate::metadata::{Metadata, MetadataError};

/// The state that a run starts with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// What is known about the store.
    pub(super) state: StoreState,
    /// Whether the registry requires logins from now on even if it has no users.
    pub(super) stays_closed: bool,
    /// Whether the start fails if it cannot be recorded, instead of continuing without a record.
    pub(super) must_be_recorded: bool,
}

/// A start in progress: the state file has announced the run.
#[derive(Debug)]
pub(super) struct StartingRun {
    file: StateFile,
    state: StoreState,
    run: Uuid,
    /// Whether the state file was written. On a full disk the store is served without a record.
    announced: bool,
}

/// The record of the current run.
pub(super) struct RunRecord {
    file: StateFile,
    metadata: Arc<Metadata>,
    failures: Arc<Failures>,
    access: OnceLock<Arc<AccessControl>>,
    state: Mutex<RunState>,
}

struct RunState {
    /// The content that the state file should have.
    state: StoreState,
    /// Whether the state file has this content.
    written: bool,
    ended: bool,
}

impl StartingRun {
    /// Announces a new run in the state file.
    ///
    /// # Errors
    /// Fails if the state file cannot be written.
    pub(super) fn announce(file: StateFile, start: &Start) -> Result<Self, StartError> {
        let run = Uuid::new_v4();
        let state = StoreState { next_run: Some(run), ..start.state };
        match file.write(&state) {
            Err(error) if is_full(&error) && !start.must_be_recorded => {
                tracing::warn!(%error, "disk full: this start is not recorded");
                Ok(Self { file, state: start.state, run, announced: false })
            }
            Err(error) => Err(StartError::State { path: file.path.clone(), error }),
            Ok(()) => Ok(Self { file, state, run, announced: true }),
        }
    }

    /// Commits the run to the database and confirms it in the state file.
    ///
    /// # Errors
    /// Fails if the database or the state file cannot be written.
    pub(super) async fn start(
        self,
        metadata: Arc<Metadata>,
        failures: Arc<Failures>,
        start: &Start,
    ) -> Result<RunRecord, StartError> {
        let Self { file, mut state, run, announced } = self;
        metadata.set_keep_log(true);
        if announced && commit(&metadata, run, start).await? {
            state = StoreState {
                run: Some(run),
                next_run: None,
                images: state.images || metadata.has_images()?,
                // So that the database file alone identifies the run.
                checkpointed: metadata.checkpoint_log().unwrap_or_default(),
                ..state
            };
        }
        // From here on the database needs its log, even if the run could not be recorded.
        state.clean = false;
        let written = confirm(&file, &state)?;
        Ok(RunRecord {
            file,
            metadata,
            failures,
            access: OnceLock::new(),
            state: Mutex::new(RunState { state, written, ended: false }),
        })
    }
}

/// Records the run in the database. Returns whether the disk had space for it.
async fn commit(metadata: &Metadata, run: Uuid, start: &Start) -> Result<bool, StartError> {
    match metadata.record_run(&run.to_string(), start.stays_closed).await {
        Err(MetadataError::Full) if !start.must_be_recorded => {
            tracing::warn!("disk full: this start is not recorded in the database");
            Ok(false)
        }
        committed => Ok(committed.map(|()| true)?),
    }
}

fn confirm(file: &StateFile, state: &StoreState) -> Result<bool, StartError> {
    match file.write(state) {
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(StartError::State { path: file.path.clone(), error }),
        Ok(()) => Ok(true),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl RunRecord {
    /// Starts recording whether `access_control` requires logins.
    pub(super) fn record_login_requirement(&self, access_control: &Arc<AccessControl>) {
        let _ = self.access.set(Arc::clone(access_control));
        self.refresh();
    }

    /// Writes the state file again if its content has changed. Blocks.
    pub(super) fn refresh(&self) {
        let mut current = self.state.lock();
        if current.ended {
            return;
        }
        let state = self.observe(&current.state);
        if current.written && state == current.state {
            return;
        }
        current.state = state;
        current.written = match self.file.write(&state) {
            Err(error) => {
                tracing::debug!(%error, "failed to write the state file; will retry");
                false
            }
            Ok(()) => true,
        };
    }

    /// Ends the run: checkpoints the log, so that the database is complete without it. Blocks. If this fails, the next
    /// start recovers the store as after a kill.
    pub(super) fn close(&self) {
        let mut current = self.state.lock();
        if current.ended || self.failures.reason().is_some() {
            return;
        }
        current.ended = true;
        match self.metadata.checkpoint_log() {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("another process reads the database: the next start checkpoints its log");
                return;
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::warn!(%error, "failed to checkpoint the database's log; the next start retries");
                return;
            }
        }
        let observed = self.observe(&current.state);
        let state = StoreState { clean: true, checkpointed: true, ..observed };
        match self.file.write(&state) {
            Ok(()) => self.metadata.set_keep_log(false),
            Err(error) => tracing::warn!(%error, "failed to record the clean shutdown; the log is kept"),
        }
    }

    fn observe(&self, state: &StoreState) -> StoreState {
        StoreState {
            closed: self.access.get().map_or(state.closed, |access_control| !access_control.is_open()),
            images: state.images || self.metadata.has_images().unwrap_or(true),
            ..*state
        }
    }
}

impl Drop for RunRecord {
    fn drop(&mut self) {
        self.close();
    }
}
