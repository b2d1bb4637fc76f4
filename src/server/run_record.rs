//! The record of a run: which process uses the store, in the state file beside the blobs and in the database.
//!
//! A start writes three times: the state file names the run that is about to begin, the database commits it, the
//! state file confirms it. Killed before, between or after them, a store is found with a run that the state file
//! knows, so that the next start has nothing to ask. Nothing is served before the third write.
//!
//! From then on the state file says that the database needs its log. A clean end folds the log into the database,
//! writes that down, and only then lets the log be removed. Everything else, be it a failed start or a kill, leaves
//! the log in its place.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use uuid::Uuid;

use super::errors::StartError;
use super::failure::Failures;
use super::state_file::{StateFile, StoreState};
use crate::auth::AccessControl;
use crate::metadata::MetadataError;
use crate::metadata::sqlite::SqliteMetadata;

/// What a run begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// What is known of the store.
    pub(super) state: StoreState,
    /// Whether the registry requires logins from now on even if it has no users.
    pub(super) stays_closed: bool,
    /// Whether a start that cannot be recorded fails, rather than to go on without.
    pub(super) must_be_recorded: bool,
}

/// A start that is under way: the state file knows the run that is about to begin.
#[derive(Debug)]
pub(super) struct StartingRun {
    file: StateFile,
    state: StoreState,
    run: Uuid,
    /// Whether the state file was written. Without room on the disk the store is served as it is.
    announced: bool,
}

/// A run that has begun.
pub(super) struct RunRecord {
    file: StateFile,
    metadata: Arc<SqliteMetadata>,
    failures: Arc<Failures>,
    access: OnceLock<Arc<AccessControl>>,
    state: Mutex<RunState>,
}

struct RunState {
    /// What the state file says, or has to.
    state: StoreState,
    /// Whether the state file says it.
    written: bool,
    ended: bool,
}

impl StartingRun {
    /// Announces a new run in the state file.
    ///
    /// # Errors
    /// [`StartError::State`].
    pub(super) fn announce(file: StateFile, start: &Start) -> Result<Self, StartError> {
        let run = Uuid::new_v4();
        let state = StoreState { next_run: Some(run), ..start.state };
        match file.write(&state) {
            Err(error) if is_full(&error) && !start.must_be_recorded => {
                tracing::warn!(%error, "the disk is full: this start is not recorded");
                Ok(Self { file, state: start.state, run, announced: false })
            }
            Err(error) => Err(StartError::State { path: file.path().to_owned(), error }),
            Ok(()) => Ok(Self { file, state, run, announced: true }),
        }
    }

    /// Commits the run to the database and confirms it in the state file.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) async fn begin(
        self,
        metadata: Arc<SqliteMetadata>,
        failures: Arc<Failures>,
        start: &Start,
    ) -> Result<RunRecord, StartError> {
        let Self { file, mut state, run, announced } = self;
        metadata.keep_log(true);
        if announced && commit(&metadata, run, start).await? {
            state = StoreState {
                run: Some(run),
                next_run: None,
                images: state.images || metadata.has_images()?,
                // So that the database file alone tells which copy it is.
                folded: metadata.fold_log().unwrap_or_default(),
                ..state
            };
        }
        // From here on the database needs its log, also in a run that could not be recorded.
        state.clean = false;
        let written = confirm(&file, &state)?;
        let (access, state) = (OnceLock::new(), RunState { state, written, ended: false });
        Ok(RunRecord { file, metadata, failures, access, state: Mutex::new(state) })
    }
}

/// Records the run in the database. Returns whether there was room for it.
async fn commit(metadata: &SqliteMetadata, run: Uuid, start: &Start) -> Result<bool, StartError> {
    match metadata.record_run(&run.to_string(), start.stays_closed).await {
        Err(MetadataError::Full) if !start.must_be_recorded => {
            tracing::warn!("the disk is full: this start is not recorded in the database");
            Ok(false)
        }
        committed => Ok(committed.map(|()| true)?),
    }
}

fn confirm(file: &StateFile, state: &StoreState) -> Result<bool, StartError> {
    match file.write(state) {
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(StartError::State { path: file.path().to_owned(), error }),
        Ok(()) => Ok(true),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl RunRecord {
    /// Takes `access_control` as what says whether the registry is closed, and records it.
    pub(super) fn watch_access(&self, access_control: &Arc<AccessControl>) {
        let _ = self.access.set(Arc::clone(access_control));
        self.refresh();
    }

    /// Writes the state file again if something it says has changed. Blocks.
    pub(super) fn refresh(&self) {
        let mut current = self.lock();
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
                tracing::debug!(%error, "the state file could not be written; it is tried again");
                false
            }
            Ok(()) => true,
        };
    }

    /// Ends the run: from now on the database is complete without its log. Blocks. Without that the next start finds
    /// what a killed process leaves, and recovers it.
    pub(super) fn end(&self) {
        let mut current = self.lock();
        if current.ended || self.failures.reason().is_some() {
            return;
        }
        current.ended = true;
        match self.metadata.fold_log() {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("another process reads the database: its log is folded in at the next start");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the database's log could not be folded in; the next start does it");
                return;
            }
        }
        let observed = self.observe(&current.state);
        let state = StoreState { clean: true, folded: true, ..observed };
        match self.file.write(&state) {
            Ok(()) => self.metadata.keep_log(false),
            Err(error) => tracing::warn!(%error, "the clean end could not be recorded; the log is kept"),
        }
    }

    fn observe(&self, state: &StoreState) -> StoreState {
        StoreState {
            closed: self.access.get().map_or(state.closed, |access_control| !access_control.is_open()),
            images: state.images || self.metadata.has_images().unwrap_or(true),
            ..*state
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunRecord {
    fn drop(&mut self) {
        self.end();
    }
}
