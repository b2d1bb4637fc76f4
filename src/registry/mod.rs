//! The use cases of a registry. This module knows neither HTTP nor how the stores keep their data (no paths, no SQL).
//!
//! [`Registry`] is the entry point. [`Repository`] is one repository as seen by a caller whose permissions have
//! already been decided. The use cases are its methods, one file per subject.

mod adoption;
mod audit;
mod blobs;
mod budget;
mod clock_guard;
mod details;
mod errors;
mod logs;
mod manifests;
mod outcomes;
mod pulls;
mod quotas;
mod receive;
mod repositories;
mod reservations;
mod sessions;
mod space;
mod tags;
mod trash;
mod uploads;
mod verification;
mod verifications;
mod watched_states;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::RwLock;

pub use adoption::PastTag;
pub use blobs::{RemovalPause, Removed};
pub use budget::{BudgetLevel, BudgetSettings, BudgetSize, BudgetState, Pressure, ReclaimerGuard};
pub use clock_guard::ClockState;
pub use errors::*;
pub use manifests::{ManifestPlace, PutReceipt, PutRequest};
pub use quotas::IDLE_WHEN_FULL;
pub use space::{SpaceState, Stored};
pub use trash::{Emptied, RepointedTag};
pub use verification::MAX_VERIFICATION_WAIT;
pub use verifications::Verification;

pub use crate::metadata::Page;

use budget::{Ledger, Measured, Refusals, Requester};

use crate::clock::{Clock, Timestamp};
use crate::fair::Client;
use crate::memory::MemoryBudget;
use crate::metadata::{DEFAULT_REPOSITORY_HISTORY_ROWS, DEFAULT_TAG_HISTORY_ROWS, Metadata, Quota};
use crate::oci::{RepoName, Tag};
use crate::store::{BlobStore, Buffers};

/// A request's body on its way in.
pub type ClientBody = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

/// The limits and durations the use cases work with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long content reported as present is kept for the pusher's manifest.
    pub lease: Duration,
    /// The shortest lease while space is being reclaimed for the budget.
    pub lease_pressure: Duration,
    /// The maximum number of references in a manifest.
    pub max_references: usize,
    /// Whether an index may refer to absent children.
    pub sparse: bool,
    /// The maximum number of upload bodies received at once.
    pub parallel_uploads: usize,
    /// How long a request waits for one of these slots.
    pub upload_queue: Duration,
    /// The maximum size of a blob, in bytes.
    pub max_blob_size: u64,
    /// Below this many free bytes the registry accepts no new body.
    pub min_free: u64,
    /// Below this many free bytes the registry warns about low disk space.
    pub warn_free: u64,
    /// How many rows are kept of each tag's history.
    pub history_keep: usize,
    /// The maximum number of history rows of all tags of a repository.
    pub history_max_rows: usize,
    /// How long the history of a removed tag is kept.
    pub removed_tag_history_retention: Duration,
    /// How long events are kept.
    pub events_keep: Duration,
    /// How many events of each kind are kept.
    pub max_events: usize,
    /// How long entries of the audit log are kept.
    pub audit_keep: Duration,
    /// How many audit entries of each outcome are kept.
    pub max_audit_entries: usize,
    /// A file to which audit entries are also appended as JSON lines.
    pub audit_file: Option<PathBuf>,
    /// Whether every change is rejected.
    pub read_only: bool,
    /// The limits of repositories.
    pub quotas: Vec<Quota>,
    /// The limit on disk usage; `None` if the registry may use all free space.
    pub budget: Option<BudgetSettings>,
    /// The memory shared by all requests.
    pub memory: MemoryBudget,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(24 * 60 * 60),
            lease_pressure: Duration::from_secs(60 * 60),
            max_references: 10_000,
            sparse: false,
            parallel_uploads: 64,
            upload_queue: Duration::from_secs(30),
            max_blob_size: 1 << 40,
            min_free: 512 << 20,
            warn_free: 2 << 30,
            history_keep: DEFAULT_TAG_HISTORY_ROWS,
            history_max_rows: DEFAULT_REPOSITORY_HISTORY_ROWS,
            removed_tag_history_retention: Duration::from_secs(90 * 24 * 60 * 60),
            events_keep: Duration::from_secs(90 * 24 * 60 * 60),
            max_events: 1000,
            audit_keep: Duration::from_secs(90 * 24 * 60 * 60),
            max_audit_entries: 100_000,
            audit_file: None,
            read_only: false,
            quotas: Vec::new(),
            budget: None,
            memory: MemoryBudget::default(),
        }
    }
}

impl Settings {
    /// The shortest time for which any lease lasts.
    pub fn shortest_lease(&self) -> Duration {
        if self.may_reclaim_space() { self.lease.min(self.lease_pressure) } else { self.lease }
    }

    /// Whether a budget or a byte quota may shorten leases to reclaim space. Every lease is recorded in that case.
    pub fn may_reclaim_space(&self) -> bool {
        self.budget.is_some() || self.quotas.iter().any(|quota| quota.bytes.is_some())
    }
}

/// Decides which tags are immutable: they can be created, but neither moved nor removed.
pub trait TagGuard: Send + Sync + 'static {
    /// Returns whether this tag is immutable. Called during a write to the metadata store, so it must be quick and must
    /// not block.
    fn is_immutable(&self, repo: &RepoName, tag: &Tag) -> bool;
}

/// Disk space that can be released at once, so that deletes work on a full disk.
pub trait DiskReserve: Send + Sync + 'static {
    /// Releases the space. Returns whether there was any. Blocks.
    fn release(&self) -> bool;
}

/// How many bytes of an upload are gathered before a write. Writes end at multiples of this, an alignment that suits
/// every medium.
const PIECE: usize = 1 << 20;

/// How many idle buffers for incoming bytes are kept: one per processor of a small machine.
const IDLE_BUFFERS: usize = 2;

/// A registry on top of its two stores.
pub struct Registry {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    sessions: sessions::Sessions,
    pulls: pulls::PullLog,
    /// The free space of the disk.
    free_space: Measured<u64>,
    /// Held for writing while the bytes of blobs are removed.
    removals: Arc<tokio::sync::RwLock<()>>,
    tag_guard: RwLock<Option<Arc<dyn TagGuard>>>,
    ledger: Ledger,
    reservations: Arc<reservations::Reservations>,
    /// Held while space is reclaimed: one request does so at a time.
    relief_lock: tokio::sync::Mutex<()>,
    /// The sizes of the directories and of the disk.
    disk_usage: Measured<(u64, u64)>,
    pressure: Arc<Pressure>,
    refusals: Refusals,
    disk_reserve: RwLock<Option<Arc<dyn DiskReserve>>>,
    outcomes: outcomes::Outcomes,
    upload_buffers: Arc<Buffers>,
    clock_guard: clock_guard::ClockGuard,
    states: watched_states::States,
    audit: audit::Audit,
    verifications: verifications::Verifications,
    /// Since when every lease has been recorded, as the value of a [`Timestamp`].
    leases_recorded_since: AtomicI64,
}

/// What a caller may do with a repository besides pulling from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The caller may push, so content reported to it is leased.
    pub push: bool,
}

/// One repository, as seen by a caller whose permissions have been decided.
#[derive(Clone)]
pub struct Repository {
    registry: Arc<Registry>,
    name: RepoName,
    access: Access,
    by: Option<Arc<str>>,
    client: Client,
}

impl Registry {
    /// Creates a registry on top of `blobs` and `metadata`.
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        metadata: Arc<Metadata>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        let sessions = sessions::Sessions::new(settings.parallel_uploads);
        let leases_recorded_since = AtomicI64::new(clock.now().0);
        let clock_guard = clock_guard::ClockGuard::new(clock.as_ref());
        let reservations = reservations::Reservations::new(&settings.quotas);
        let audit = audit::Audit::new(settings.audit_file.clone());
        Arc::new(Self {
            blobs,
            metadata,
            clock,
            settings,
            sessions,
            pulls: pulls::PullLog::default(),
            free_space: Measured::default(),
            removals: Arc::default(),
            tag_guard: RwLock::default(),
            ledger: Ledger::default(),
            reservations,
            relief_lock: tokio::sync::Mutex::default(),
            disk_usage: Measured::default(),
            pressure: Arc::default(),
            refusals: Refusals::default(),
            disk_reserve: RwLock::default(),
            outcomes: outcomes::Outcomes::default(),
            upload_buffers: Buffers::new(PIECE, IDLE_BUFFERS),
            clock_guard,
            states: watched_states::States::default(),
            audit,
            verifications: verifications::Verifications::default(),
            leases_recorded_since,
        })
    }

    /// Returns the repository `name`, whether it exists or not, for a caller with `access` to it.
    pub fn repository(self: &Arc<Self>, name: RepoName, access: Access) -> Repository {
        Repository { registry: Arc::clone(self), name, access, by: None, client: Client::Local }
    }

    /// The metadata store, for jobs and reports.
    pub fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }

    /// The blob store, for jobs and reports.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Since when every lease has been recorded, including leases of content that something held. Content nothing holds
    /// any more needs no other lease after that. `None` without a budget or byte quota: recording every lease costs
    /// writes that are otherwise not needed.
    pub fn leases_recorded_since(&self) -> Option<Timestamp> {
        self.settings
            .may_reclaim_space()
            .then(|| Timestamp(self.leases_recorded_since.load(Ordering::Acquire)))
    }

    /// Restarts the period in which every lease is recorded: one from before may be missing.
    fn leases_refreshed(&self) {
        self.leases_recorded_since.fetch_max(self.clock.now().0, Ordering::AcqRel);
    }

    /// The memory shared by all requests.
    pub fn memory(&self) -> &MemoryBudget {
        &self.settings.memory
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Repository {
    /// Returns its name.
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    /// Returns the same repository; changes are recorded in the history as made by this user or robot.
    #[must_use]
    pub fn on_behalf_of(self, by: &str) -> Self {
        Self { by: Some(by.into()), ..self }
    }

    /// Returns the same repository for requests that count towards the share of `client`.
    #[must_use]
    pub fn for_client(self, client: Client) -> Self {
        Self { client, ..self }
    }

    fn requester(&self) -> Requester {
        Requester { client: self.client.clone(), repo: self.name.clone() }
    }

    /// Returns the same repository for reading only: content that is looked at is not leased.
    #[must_use]
    pub fn without_push(&self) -> Self {
        Self { access: Access { push: false }, ..self.clone() }
    }
}
