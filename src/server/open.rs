//! Opens a store: takes its locks, opens the blob store and its database, checks that they belong together, detects
//! lost metadata, and builds the registry over them.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::errors::StartError;
use super::filesystem::network_filesystem;
use super::lock::{LockError, StoreLock};
use super::loss::{Evidence, Loss, move_database};
use super::run_record::{RunRecord, Start, StartingRun};
use super::settings::registry_settings;
use super::state_file::{FoundState, StateFile, StoreState};
use super::sync_failures::{FailureRecordingStore, Failures};
use crate::auth::{AccessControl, AnonymousMode};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::errors::Chain;
use crate::metadata::sqlite::{self, DatabaseState};
use crate::metadata::{Access, Metadata};
use crate::registry::Registry;
use crate::store::{self, BlobStore, FilesystemStore};

/// The marker file of a restore that has not finished.
pub(super) const RESTORING: &str = "restoring";

/// Why a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To serve it. Creates what is missing.
    Serve,
    /// To serve it even if its metadata was lost.
    AcceptLoss,
    /// For maintenance. The store must exist.
    Maintain,
}

/// An open and locked store.
pub struct Opened {
    /// The registry over it.
    pub registry: Arc<Registry>,
    /// The data directory, which holds the blobs.
    pub data: PathBuf,
    /// The directory of the database.
    pub metadata_dir: PathBuf,
    /// The first failed sync, if any.
    pub failures: Arc<Failures>,
    stays_closed: bool,
    /// Declared before the lock, so that it is dropped first: it writes when it is dropped.
    run: Option<RunRecord>,
    _lock: StoreLock,
}

impl Opened {
    /// Opens the store that `config` describes. Blocks.
    ///
    /// # Errors
    /// Fails if the store is locked, lost, missing or cannot be opened.
    pub async fn open(config: &Config, mode: OpenMode) -> Result<Self, StartError> {
        let data = config.storage.data.clone();
        let metadata_dir = config.metadata_dir();
        refuse_network(&metadata_dir)?;
        make_directory(&data, mode)?;
        let lock = StoreLock::take(&data)?;
        if data.join(RESTORING).exists() {
            return Err(StartError::HalfRestored(data));
        }
        Self::open_locked(config, mode, lock).await
    }

    /// Opens a store whose data directory is locked.
    pub(super) async fn open_locked(
        config: &Config,
        mode: OpenMode,
        mut lock: StoreLock,
    ) -> Result<Self, StartError> {
        let data = config.storage.data.clone();
        let metadata_dir = config.metadata_dir();
        let failures = Arc::<Failures>::default();
        let Stores { blobs, metadata, run } = Opening::of(config, mode).open(&mut lock, &failures).await?;
        refuse_small_disk(config, &blobs).await?;
        let stays_closed = metadata.stays_closed()?;
        let blobs = Arc::new(FailureRecordingStore::new(blobs, Arc::clone(&failures)));
        let clock = Arc::new(SystemClock);
        let registry = Registry::new(blobs, metadata, clock, registry_settings(config));
        if mode != OpenMode::Maintain && !config.storage.read_only {
            registry.enforce_quotas().await?;
        }
        Ok(Self { registry, data, metadata_dir, failures, stays_closed, run, _lock: lock })
    }

    /// Returns the effective settings: a registry that lost its accounts stays closed unless `auth.mode` is set.
    pub fn effective_config<'a>(&self, config: &'a Config) -> Cow<'a, Config> {
        if !self.stays_closed || config.auth.mode.is_some() {
            return Cow::Borrowed(config);
        }
        let mut config = config.clone();
        config.auth.mode = Some(AnonymousMode::Closed);
        Cow::Owned(config)
    }

    /// Starts recording in the state file whether `access_control` requires logins.
    pub fn record_login_requirement(&self, access_control: &Arc<AccessControl>) {
        if let Some(run) = &self.run {
            run.record_login_requirement(access_control);
        }
    }

    /// Updates the state file if something has changed. Blocks.
    pub(super) fn refresh_state(&self) {
        if let Some(run) = &self.run {
            run.refresh();
        }
    }

    /// Records a clean shutdown; nothing may be written afterwards. Dropping does the same. Blocks.
    pub(super) fn close(&self) {
        if let Some(run) = &self.run {
            run.close();
        }
    }
}

pub(super) fn refuse_network(metadata_dir: &Path) -> Result<(), StartError> {
    // If `statfs` fails, opening the database fails later with a better message.
    let Ok(Some(name)) = network_filesystem(metadata_dir) else {
        return Ok(());
    };
    let dir = metadata_dir.display();
    let message =
        format!("{dir} is on {name}, where SQLite loses data: set it to a directory on a local disk");
    Err(StartError::setting("metadata.dir", message))
}

async fn refuse_small_disk(config: &Config, blobs: &FilesystemStore) -> Result<(), StartError> {
    let space = blobs.space().await?;
    let wanted = config.storage.min_free;
    if config.storage.read_only || space.total >= wanted.0 {
        return Ok(());
    }
    let mib = space.total >> 20;
    let message = format!("must be less than the disk's size, which is {mib}MiB, not {wanted}");
    Err(StartError::setting("storage.min_free", message))
}

fn make_directory(data: &Path, mode: OpenMode) -> Result<(), StartError> {
    if data.is_dir() {
        return Ok(());
    }
    match mode {
        OpenMode::Maintain => Err(StartError::NoStore(data.into())),
        OpenMode::Serve | OpenMode::AcceptLoss => {
            fs::create_dir_all(data).map_err(|error| unusable(data, error))
        }
    }
}

/// Builds the error for an unusable data directory. Names this process's user: in containers a wrong owner is the
/// usual cause.
fn unusable(path: &Path, error: io::Error) -> StartError {
    let user = rustix::process::geteuid().as_raw();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(" (this process runs as user {user})"),
        _ => String::new(),
    };
    StartError::Data { path: path.into(), error, hint }
}

/// The open blob store and database.
struct Stores {
    blobs: FilesystemStore,
    metadata: Arc<Metadata>,
    /// `None` in read-only mode, which records nothing.
    run: Option<RunRecord>,
}

/// Opens the stores that a configuration describes.
struct Opening<'a> {
    config: &'a Config,
    mode: OpenMode,
    data: PathBuf,
    metadata_dir: PathBuf,
    file: StateFile,
}

impl<'a> Opening<'a> {
    /// Prepares to open the stores that `config` describes.
    fn of(config: &'a Config, mode: OpenMode) -> Self {
        let data = config.storage.data.clone();
        let metadata_dir = config.metadata_dir();
        let file = StateFile::of(&data);
        Self { config, mode, data, metadata_dir, file }
    }

    /// Opens the stores and locks the metadata directory in `lock`.
    ///
    /// # Errors
    /// Fails without changing anything, unless a loss was accepted.
    async fn open(self, lock: &mut StoreLock, failures: &Arc<Failures>) -> Result<Stores, StartError> {
        // Lock first: a second process that uses the database would explain whatever is wrong with it.
        match lock.lock_metadata(&self.data, &self.metadata_dir) {
            // A read-only process without the right to write the lock file cannot damage anything.
            Err(LockError::Io { .. }) if self.config.storage.read_only => {}
            locked => locked?,
        }
        let found = self.inspect().await?;
        let loss = found.loss();
        self.refuse_absent(&found, loss.as_ref())?;
        let accepted = loss.map(|loss| self.accept(loss)).transpose()?;
        if self.config.storage.read_only {
            return self.open_for_reading().await;
        }
        if let Some(loss) = &accepted {
            self.move_unusable_database(loss)?;
        }
        self.open_for_writing(&found, accepted.is_some(), lock, failures).await
    }

    async fn inspect(&self) -> Result<Evidence, StartError> {
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
        let database = sqlite::inspect(&self.metadata_dir)?;
        let state = self.file.read();
        let state = state.map_err(|error| StartError::State { path: self.file.path.clone(), error })?;
        Ok(Evidence { store, blobs, state, database })
    }

    /// Fails if a store or database is missing that should exist.
    fn refuse_absent(&self, found: &Evidence, loss: Option<&Loss>) -> Result<(), StartError> {
        let missing = found.database.state == DatabaseState::Missing;
        let absent = found.store.is_none() || (missing && loss.is_none());
        if self.mode == OpenMode::Maintain && absent {
            return Err(StartError::NoStore(self.data.clone()));
        }
        let is_bound = matches!(found.database.state, DatabaseState::Readable { store: Some(_), .. });
        if found.store.is_none() && is_bound {
            return Err(StartError::Mismatch(format!(
                "the metadata in {} is not empty, but {} holds no store: check that its volume is mounted",
                self.metadata_dir.display(),
                self.data.display()
            )));
        }
        Ok(())
    }

    /// Fails for a loss, unless the command line accepts it.
    fn accept(&self, loss: Loss) -> Result<Loss, StartError> {
        if self.mode != OpenMode::AcceptLoss {
            return Err(StartError::Lost { database: self.database(), data: self.data.clone(), loss });
        }
        if self.config.storage.read_only {
            return Err(StartError::setting("storage.read_only", "must be false to accept a loss"));
        }
        Ok(loss)
    }

    /// Renames an unusable database, so that a new one can be created.
    fn move_unusable_database(&self, loss: &Loss) -> Result<(), StartError> {
        let database = self.database();
        tracing::warn!(%loss, database = %database.display(), "accepted the loss of metadata");
        if loss.needs_new_database() {
            let seconds = SystemClock.now().0 / 1000;
            let moved_to = move_database(&database, seconds)
                .map_err(|error| StartError::State { path: database.clone(), error })?;
            tracing::warn!(moved_to = %moved_to.display(), "renamed the unusable database");
        }
        Ok(())
    }

    async fn open_for_reading(&self) -> Result<Stores, StartError> {
        let metadata = Metadata::open(&self.metadata_dir, Access::ReadOnly)?;
        let blobs = FilesystemStore::open(&self.data, store::Access::ReadOnly)?;
        bind(&blobs, &metadata, self).await?;
        Ok(Stores { blobs, metadata: Arc::new(metadata), run: None })
    }

    async fn open_for_writing(
        &self,
        found: &Evidence,
        accepted: bool,
        lock: &mut StoreLock,
        failures: &Arc<Failures>,
    ) -> Result<Stores, StartError> {
        let blobs = FilesystemStore::open(&self.data, store::Access::ReadWrite)?;
        fs::create_dir_all(&self.metadata_dir)
            .map_err(|error| sqlite::OpenError::Folder { path: self.metadata_dir.clone(), error })?;
        lock.lock_metadata(&self.data, &self.metadata_dir)?;
        let start = found.start(accepted, self.checkpoint_log(found, accepted));
        let starting = StartingRun::announce(self.file.clone(), &start)?;
        let metadata = Metadata::open(&self.metadata_dir, Access::ReadWrite)?;
        bind(&blobs, &metadata, self).await?;
        let metadata = Arc::new(metadata);
        let run = starting.start(Arc::clone(&metadata), Arc::clone(failures), &start).await?;
        if found.blobs && !metadata.has_images()? {
            tracing::warn!(
                "the store holds blobs without metadata: they are kept, and `orlop fsck` lists them"
            );
        }
        Ok(Stores { blobs, metadata, run: Some(run) })
    }

    /// Checkpoints the database's log into its file, if it has one: a migration may empty the log.
    fn checkpoint_log(&self, found: &Evidence, accepted: bool) -> bool {
        if accepted || !found.database.has_log || !matches!(found.state, FoundState::Known(_)) {
            return false;
        }
        sqlite::fold_log_in(&self.metadata_dir).unwrap_or_else(|error| {
            tracing::warn!(error = %Chain(&error), "failed to checkpoint the database's log");
            false
        })
    }

    fn database(&self) -> PathBuf {
        Metadata::file_in(&self.metadata_dir)
    }
}

impl Evidence {
    fn start(&self, accepted: bool, checkpointed: bool) -> Start {
        let unknown = StoreState {
            closed: true,
            images: false,
            run: None,
            next_run: None,
            clean: true,
            checkpointed: false,
        };
        let recorded = self.recorded_run();
        let mut state = match &self.state {
            // The last start was interrupted after its commit, which may be only in the log.
            FoundState::Known(state) if state.next_run.is_some() && state.next_run == recorded => {
                StoreState { run: recorded, next_run: None, clean: false, checkpointed: false, ..*state }
            }
            FoundState::Known(state) => *state,
            FoundState::None => StoreState { run: recorded, ..unknown },
            FoundState::Malformed(_) => unknown,
        };
        state.clean |= checkpointed;
        state.checkpointed |= checkpointed;
        state.images |= self.blobs;
        if accepted {
            // Until the database records that the registry stays closed, the loss must be accepted again.
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

/// Binds the database to the blob store. Fails if it is bound to another one.
async fn bind(blobs: &FilesystemStore, metadata: &Metadata, opening: &Opening<'_>) -> Result<(), StartError> {
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

/// Whether the store holds any blob. Stops at the first.
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
