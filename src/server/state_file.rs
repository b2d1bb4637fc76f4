//! The state file `state.json` in the data directory: what the blob store knows about its metadata. It reveals a
//! database that was lost, emptied or replaced before the registry serves anyone.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{STATE_FILE, durable};

/// Only the owner may read the file.
const MODE: u32 = 0o600;

/// The content of the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a field of the file")]
pub(super) struct StoreState {
    /// Whether the registry required logins for anything.
    pub(super) closed: bool,
    /// Whether there were images to pull.
    pub(super) images: bool,
    /// The last run, which the database records too; `None` before the first.
    pub(super) run: Option<Uuid>,
    /// During a start: the run that is about to be recorded in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_run: Option<Uuid>,
    /// Whether the database is complete without its log: it was closed cleanly, or nothing was written yet.
    pub(super) clean: bool,
    /// Whether the database file records the run without its log.
    #[serde(rename = "folded")]
    pub(super) checkpointed: bool,
}

impl StoreState {
    /// Whether a database whose last run is `run` matches this state.
    pub(super) fn knows(&self, run: Option<&str>) -> bool {
        let run = run.map(|run| run.parse::<Uuid>().ok());
        let Some(run) = run else {
            return self.run.is_none();
        };
        run.is_some() && (run == self.run || run == self.next_run)
    }
}

/// What was found at the state file's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundState {
    /// There is no state file: a new store, or one of an earlier version.
    None,
    /// A valid state.
    Known(StoreState),
    /// Another content, with the reason why it is invalid.
    Malformed(String),
}

/// The state file of one store.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    pub(super) path: PathBuf,
}

impl StateFile {
    /// Returns the state file of the store in `data`.
    pub(super) fn of(data: &Path) -> Self {
        Self { path: data.join(STATE_FILE) }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub(super) fn read(&self) -> io::Result<FoundState> {
        let Some(text) = durable::read(&self.path)? else { return Ok(FoundState::None) };
        Ok(match serde_json::from_slice(&text) {
            Ok(state) => FoundState::Known(state),
            Err(error) => FoundState::Malformed(error.to_string()),
        })
    }

    /// Replaces the file durably and atomically.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(super) fn write(&self, state: &StoreState) -> io::Result<()> {
        let mut text = serde_json::to_vec(state)?;
        text.push(b'\n');
        durable::write(&self.path, &text, MODE)
    }

    /// Removes the file durably, if it exists.
    ///
    /// # Errors
    /// Fails if the file cannot be removed.
    pub(super) fn remove(&self) -> io::Result<()> {
        if !durable::remove(&self.path)? {
            return Ok(());
        }
        durable::sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn state(run: Option<Uuid>, next_run: Option<Uuid>) -> StoreState {
        StoreState { closed: true, images: true, run, next_run, clean: false, checkpointed: true }
    }

    #[test]
    fn reads_what_it_wrote() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = StateFile::of(dir.path());
        assert_eq!(file.read().expect("readable"), FoundState::None);
        for next_run in [None, Some(Uuid::new_v4())] {
            let state = state(Some(Uuid::new_v4()), next_run);
            file.write(&state).expect("written");
            assert_eq!(file.read().expect("readable"), FoundState::Known(state));
        }
        fs::write(&file.path, "{\"closed\":").expect("written");
        assert!(matches!(file.read().expect("readable"), FoundState::Malformed(_)));
        file.remove().expect("removed");
        file.remove().expect("removed already");
        assert_eq!(file.read().expect("readable"), FoundState::None);
    }

    #[test]
    fn ignores_fields_of_later_versions() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = StateFile::of(dir.path());
        let text = r#"{"closed":false,"images":true,"run":null,"clean":true,"folded":false,"later":[1]}"#;
        fs::write(&file.path, text).expect("written");
        assert!(matches!(file.read().expect("readable"), FoundState::Known(state) if state.run.is_none()));
    }

    #[test]
    fn knows_both_runs_during_a_start() {
        let run = Uuid::new_v4();
        let next = Uuid::new_v4();
        let text = |run: Uuid| run.to_string();
        let starting = state(Some(run), Some(next));
        assert!(starting.knows(Some(&text(run))) && starting.knows(Some(&text(next))));
        assert!(!starting.knows(None) && !starting.knows(Some(&text(Uuid::new_v4()))));
        let running = state(Some(next), None);
        assert!(running.knows(Some(&text(next))));
        for other in [None, Some(""), Some("garbage"), Some(&*text(run))] {
            assert!(!running.knows(other), "{other:?}");
        }
        let first = state(None, Some(next));
        assert!(first.knows(None) && first.knows(Some(&text(next))));
    }
}
