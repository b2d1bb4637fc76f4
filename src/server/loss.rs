//! Detects lost metadata: a database other than the one that the state file in the data directory describes.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::state_file::{FoundState, StoreState};
use crate::metadata::sqlite::{DatabaseState, Inspection};

/// How the metadata was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// There is no database.
    Missing,
    /// The database is empty.
    Empty,
    /// The database cannot be read; with the reason.
    Unreadable(String),
    /// The database belongs to another store.
    Foreign {
        /// The store it belongs to.
        bound: String,
        /// The store it should belong to.
        store: Uuid,
    },
    /// The database does not record the last run: it is an older copy.
    Older,
    /// The log with the last changes is missing, and the server was not stopped cleanly.
    Log,
    /// The state file is malformed; with the reason.
    State(String),
}

/// What is known about a store before it is opened.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The store's id; `None` if it has none yet.
    pub(super) store: Option<Uuid>,
    /// Whether the store holds blobs.
    pub(super) blobs: bool,
    /// The state file.
    pub(super) state: FoundState,
    /// The database.
    pub(super) database: Inspection,
}

impl Evidence {
    /// Returns how the metadata was lost, if it was.
    pub(super) fn loss(&self) -> Option<Loss> {
        let (bound, run) = match &self.database.state {
            DatabaseState::Unreadable(reason) => return Some(Loss::Unreadable(reason.clone())),
            DatabaseState::Missing | DatabaseState::Empty => (None, None),
            DatabaseState::Readable { store, run } => (store.as_deref(), run.as_deref()),
        };
        if let (Some(bound), Some(store)) = (bound, self.store)
            && bound != store.to_string()
        {
            return Some(Loss::Foreign { bound: bound.to_owned(), store });
        }
        match &self.state {
            FoundState::Malformed(reason) => Some(Loss::State(reason.clone())),
            // A store of an earlier version binds its database before it accepts the first blob.
            FoundState::None => (bound.is_none() && self.blobs).then(|| self.absent()),
            FoundState::Known(state) if !(state.closed || state.images || self.blobs) => None,
            FoundState::Known(state) => self.loss_against(state, run),
        }
    }

    fn loss_against(&self, state: &StoreState, run: Option<&str>) -> Option<Loss> {
        if !state.knows(run) {
            return Some(if run.is_none() { self.absent() } else { Loss::Older });
        }
        if state.clean {
            return None;
        }
        if !self.database.has_log {
            return Some(Loss::Log);
        }
        // A log next to another copy of the database hides which copy it is.
        let in_file = self.database.run_in_file.as_deref();
        (state.checkpointed && in_file.is_some() && !state.knows(in_file)).then_some(Loss::Older)
    }

    /// Returns the loss of a database that records nothing.
    fn absent(&self) -> Loss {
        match &self.database.state {
            DatabaseState::Missing => Loss::Missing,
            DatabaseState::Empty => Loss::Empty,
            DatabaseState::Unreadable(reason) => Loss::Unreadable(reason.clone()),
            DatabaseState::Readable { store: None, .. } => Loss::Empty,
            DatabaseState::Readable { store: Some(_), .. } => Loss::Older,
        }
    }
}

impl Loss {
    /// Whether the database is unusable, so that accepting the loss renames it.
    pub(super) fn needs_new_database(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Foreign { .. })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Empty => f.write_str("it is empty"),
            Self::Unreadable(reason) => f.write_str(reason),
            Self::Foreign { bound, store } => {
                write!(f, "it belongs to the store {bound}, and the blobs to the store {store}")
            }
            Self::Older => f.write_str("it does not record the last start: it is an older copy"),
            Self::Log => f.write_str(
                "the server was not stopped cleanly, and the log with the last changes, orlop.db-wal, is \
                 missing",
            ),
            Self::State(reason) => write!(f, "the state file state.json is malformed: {reason}"),
        }
    }
}

/// Renames the database at `path` and its log files. Returns the new path.
///
/// # Errors
/// Fails if the filesystem fails.
pub(super) fn move_database(path: &Path, seconds: i64) -> io::Result<PathBuf> {
    let beside = |suffix: &str, of: &Path| {
        let mut name = of.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let moved_to = path.with_extension(format!("db.lost-{seconds}"));
    // The database last: if this is interrupted, the loss is detected again.
    for suffix in ["-shm", "-wal", ""] {
        match fs::rename(beside(suffix, path), beside(suffix, &moved_to)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(moved_to)
}
