//! Opening bytes and metadata that belong together, or saying what was lost.

use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::errors::StartError;
use super::failure::Failures;
use super::lock::{LockError, StoreLock};
use super::loss::{Evidence, Loss, set_aside};
use super::open::Purpose;
use super::run_record::{RunRecord, Start, StartingRun};
use super::state_file::{FoundState, StateFile, StoreState};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::metadata::Maintenance;
use crate::metadata::sqlite::{self, DatabaseState, Inspection, SqliteMetadata};
use crate::store::{self, BlobStore, FilesystemStore};

/// Both stores, open.
pub(super) struct Stores {
    pub(super) blobs: FilesystemStore,
    pub(super) metadata: Arc<SqliteMetadata>,
    /// `None` in read-only mode, which records nothing.
    pub(super) run: Option<RunRecord>,
}

/// What is to be opened.
pub(super) struct Opening<'a> {
    config: &'a Config,
    purpose: Purpose,
    data: PathBuf,
    metadata_dir: PathBuf,
    file: StateFile,
}

/// What is there before anything is opened.
struct Found {
    store: Option<Uuid>,
    blobs: bool,
    state: FoundState,
    database: Inspection,
}

impl<'a> Opening<'a> {
    /// The stores that `config` describes.
    pub(super) fn of(config: &'a Config, purpose: Purpose) -> Self {
        let data = config.storage.data.clone();
        let (metadata_dir, file) = (config.metadata_dir(), StateFile::of(&data));
        Self { config, purpose, data, metadata_dir, file }
    }

    /// Opens them. `lock` is completed on the way.
    ///
    /// # Errors
    /// [`StartError`]; then nothing was changed, unless a loss was accepted.
    pub(super) async fn open(
        self,
        lock: &mut StoreLock,
        failures: &Arc<Failures>,
    ) -> Result<Stores, StartError> {
        // Another owner of the database explains whatever is wrong with it.
        match lock.lock_metadata(&self.data, &self.metadata_dir) {
            // A reader without the right to write leaves nothing to protect.
            Err(LockError::Io { .. }) if self.config.storage.read_only => {}
            locked => locked?,
        }
        let found = self.look().await?;
        let loss = found.evidence().loss();
        self.refuse_absent(&found, loss.as_ref())?;
        let accepted = loss.map(|loss| self.accept(loss)).transpose()?;
        if self.config.storage.read_only {
            return self.open_for_reading().await;
        }
        if let Some(loss) = &accepted {
            self.make_way(loss)?;
        }
        self.open_for_writing(&found, accepted.is_some(), lock, failures).await
    }

    async fn look(&self) -> Result<Found, StartError> {
        let store = match FilesystemStore::open(&self.data, store::Access::ReadOnly) {
            Ok(store) => Some(store),
            Err(store::OpenError::Unidentified { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let blobs = match &store {
            Some(store) => holds_blobs(store).await?,
            None => false,
        };
        let store = store.map(|store| store.store_id());
        let database = SqliteMetadata::inspect(&self.metadata_dir)?;
        Ok(Found { store, blobs, state: self.file.read()?, database })
    }

    /// Refuses to make what should be there.
    fn refuse_absent(&self, found: &Found, loss: Option<&Loss>) -> Result<(), StartError> {
        let missing = found.database.state == DatabaseState::Missing;
        let absent = found.store.is_none() || (missing && loss.is_none());
        if self.purpose == Purpose::Maintain && absent {
            return Err(StartError::NoStore(self.data.clone()));
        }
        let is_bound = matches!(found.database.state, DatabaseState::Readable { store: Some(_), .. });
        if found.store.is_none() && is_bound {
            return Err(StartError::Mismatch(format!(
                "the metadata in {} is not empty, but there is no store in {}: is its volume mounted?",
                self.metadata_dir.display(),
                self.data.display()
            )));
        }
        Ok(())
    }

    /// Refuses a loss, unless it was accepted on the command line.
    fn accept(&self, loss: Loss) -> Result<Loss, StartError> {
        if self.purpose != Purpose::AcceptLoss {
            let (database, data) = (self.database(), self.data.clone());
            return Err(StartError::Lost { database, data, loss });
        }
        if self.config.storage.read_only {
            let message = "a loss cannot be accepted while it is true".to_owned();
            return Err(StartError::Setting { key: "storage.read_only", message });
        }
        Ok(loss)
    }

    /// Moves a database out of the way that is of no use.
    fn make_way(&self, loss: &Loss) -> Result<(), StartError> {
        let database = self.database();
        tracing::warn!(%loss, database = %database.display(), "the loss of metadata is accepted");
        if loss.needs_new_database() {
            let seconds = SystemClock.now().0 / 1000;
            let aside = set_aside(&database, seconds)
                .map_err(|error| StartError::State { path: database.clone(), error })?;
            tracing::warn!(moved_to = %aside.display(), "the database was set aside");
        }
        Ok(())
    }

    async fn open_for_reading(&self) -> Result<Stores, StartError> {
        let metadata = SqliteMetadata::open(&self.metadata_dir, sqlite::Access::ReadOnly)?;
        let blobs = FilesystemStore::open(&self.data, store::Access::ReadOnly)?;
        bind(&blobs, &metadata, self).await?;
        Ok(Stores { blobs, metadata: Arc::new(metadata), run: None })
    }

    async fn open_for_writing(
        &self,
        found: &Found,
        accepted: bool,
        lock: &mut StoreLock,
        failures: &Arc<Failures>,
    ) -> Result<Stores, StartError> {
        let blobs = FilesystemStore::open(&self.data, store::Access::ReadWrite)?;
        std::fs::create_dir_all(&self.metadata_dir)
            .map_err(|error| sqlite::OpenError::Folder { path: self.metadata_dir.clone(), error })?;
        lock.lock_metadata(&self.data, &self.metadata_dir)?;
        let start = found.start(accepted, self.fold(found, accepted));
        let starting = StartingRun::announce(self.file.clone(), &start)?;
        let metadata = SqliteMetadata::open(&self.metadata_dir, sqlite::Access::ReadWrite)?;
        bind(&blobs, &metadata, self).await?;
        let metadata = Arc::new(metadata);
        let run = starting.begin(Arc::clone(&metadata), Arc::clone(failures), &start).await?;
        if found.blobs && !metadata.has_images()? {
            tracing::warn!(
                "the store holds blobs that no record names: they are kept, and orlop fsck lists them"
            );
        }
        Ok(Stores { blobs, metadata, run: Some(run) })
    }

    /// Makes the database complete without its log, if it has one: a migration may empty the log.
    fn fold(&self, found: &Found, accepted: bool) -> bool {
        if accepted || !found.database.has_log || !matches!(found.state, FoundState::Known(_)) {
            return false;
        }
        SqliteMetadata::fold_log_in(&self.metadata_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "the database's log could not be folded in");
            false
        })
    }

    fn database(&self) -> PathBuf {
        SqliteMetadata::file_in(&self.metadata_dir)
    }
}

impl Found {
    fn evidence(&self) -> Evidence<'_> {
        Evidence { store: self.store, blobs: self.blobs, state: &self.state, database: &self.database }
    }

    fn start(&self, accepted: bool, folded: bool) -> Start {
        let unknown =
            StoreState { closed: true, images: false, run: None, next_run: None, clean: true, folded: false };
        let recorded = self.recorded_run();
        let mut state = match &self.state {
            // The last start was cut off behind its commit, which may be in the log alone.
            FoundState::Known(state) if state.next_run.is_some() && state.next_run == recorded => {
                StoreState { run: recorded, next_run: None, clean: false, folded: false, ..*state }
            }
            FoundState::Known(state) => *state,
            FoundState::None => StoreState { run: recorded, ..unknown },
            FoundState::Malformed(_) => unknown,
        };
        state.clean |= folded;
        state.folded |= folded;
        state.images |= self.blobs;
        if accepted {
            // Until the database records that the registry stays closed, its loss has to be accepted again.
            state.run = Some(state.run.unwrap_or_else(Uuid::new_v4));
        }
        Start { stays_closed: accepted && state.closed, state, must_be_recorded: accepted }
    }

    fn recorded_run(&self) -> Option<Uuid> {
        match &self.database.state {
            DatabaseState::Readable { run, .. } => run.as_deref().and_then(|run| run.parse().ok()),
            _ => None,
        }
    }
}

/// Makes sure that bytes and metadata are each other's.
async fn bind(
    blobs: &FilesystemStore,
    metadata: &SqliteMetadata,
    opening: &Opening<'_>,
) -> Result<(), StartError> {
    let id = blobs.store_id().to_string();
    let bound = metadata.bind_store(&id).await?;
    if bound != id {
        return Err(StartError::Mismatch(format!(
            "the metadata in {} belongs to the store {bound}, but {} holds the store {id}",
            opening.metadata_dir.display(),
            opening.data.display()
        )));
    }
    Ok(())
}

/// Whether there is any blob: a walk that ends at the first.
async fn holds_blobs(store: &FilesystemStore) -> Result<bool, StartError> {
    let mut from: Option<String> = None;
    loop {
        let page = store.list(from.as_deref()).await?;
        match page.next {
            _ if !page.blobs.is_empty() => return Ok(true),
            Some(next) => from = Some(next),
            None => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests;
