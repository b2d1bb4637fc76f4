//! The use cases of a registry, apart from how they are asked for (no HTTP type) and how things are kept
//! (no path, no SQL).
//!
//! [`Registry`] is the whole; [`Repository`] is one repository of it in the hands of a caller whose rights
//! have been decided, and carries the use cases, a file a noun.

mod audit;
mod blobs;
mod budget;
mod clock_guard;
mod damaged;
mod details;
mod disk_reserve;
mod errors;
mod events;
mod flow;
mod guard;
mod history;
mod ledger;
mod listings;
mod manifests;
mod outcomes;
mod pulls;
mod quotas;
mod receive;
mod recoverable;
mod refusals;
mod relief;
mod removals;
mod repositories;
mod reservations;
mod sessions;
mod space;
mod stored;
mod tags;
mod trash;
mod upkeep;
mod uploads;
mod whole;
mod writes;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

pub use budget::{BudgetLevel, BudgetSettings, BudgetSize, BudgetState, Pressure, RoomMaker};
pub use clock_guard::ClockState;
pub use disk_reserve::DiskReserve;
pub use errors::*;
pub use guard::TagGuard;
pub use history::PointedBack;
pub use listings::ManifestDetail;
pub use manifests::{ManifestPlace, PutReceipt, PutRequest};
pub use recoverable::{Recoverable, RecoverableKind, RecoverablePage, RecoverablePlace};
pub use relief::IDLE_WHEN_FULL;
pub use removals::{HeldRemovals, Removed};
pub use space::SpaceState;
pub use stored::Stored;
pub use trash::Emptied;

pub use crate::metadata::Page;

use crate::clock::{Clock, Timestamp};
use crate::fair::Client;
use crate::memory::MemoryBudget;
use crate::metadata::{HISTORY_KEPT, MAX_HISTORY_ROWS, MetadataStore, Quota};
use crate::oci::RepoName;
use crate::store::{BlobStore, Buffers};

/// A request's body on its way in.
pub type ClientBody = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

/// What the use cases can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long what a pusher was told to be there is kept for its manifest.
    pub lease: Duration,
    /// How long at least, while room is made for the budget.
    pub lease_pressure: Duration,
    /// The most references that a manifest may have.
    pub max_references: usize,
    /// Whether an index may refer to children that are absent.
    pub sparse: bool,
    /// The most request bodies of uploads that are taken at once.
    pub parallel_uploads: usize,
    /// How long a request waits for its turn among them.
    pub upload_queue: Duration,
    /// The most bytes that a blob may have.
    pub max_blob_size: u64,
    /// Below this many free bytes no new body is taken.
    pub min_free: u64,
    /// Below this many free bytes the low disk is warned of.
    pub warn_free: u64,
    /// How many rows of each tag's history are kept.
    pub history_keep: usize,
    /// How many rows the history of all tags of a repository has at most.
    pub history_max_rows: usize,
    /// How long the history of a tag that was taken away is kept.
    pub history_removed: Duration,
    /// How long events are kept.
    pub events_keep: Duration,
    /// How many events of each kind are kept.
    pub events_most: usize,
    /// How long entries of the audit log are kept.
    pub audit_keep: Duration,
    /// How many of each outcome are kept.
    pub audit_most: usize,
    /// A file that they are appended to as well, as JSON lines.
    pub audit_file: Option<PathBuf>,
    /// Whether every change is refused.
    pub read_only: bool,
    /// What repositories may use.
    pub quotas: Vec<Quota>,
    /// What the registry may take of the disk; `None` for all that is free.
    pub budget: Option<BudgetSettings>,
    /// The memory that requests share.
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
            history_keep: HISTORY_KEPT,
            history_max_rows: MAX_HISTORY_ROWS,
            history_removed: Duration::from_secs(90 * 24 * 60 * 60),
            events_keep: Duration::from_secs(90 * 24 * 60 * 60),
            events_most: 1000,
            audit_keep: Duration::from_secs(90 * 24 * 60 * 60),
            audit_most: 100_000,
            audit_file: None,
            read_only: false,
            quotas: Vec::new(),
            budget: None,
            memory: MemoryBudget::default(),
        }
    }
}

impl Settings {
    /// How long a lease is at least, whatever happens.
    pub fn shortest_lease(&self) -> Duration {
        if self.makes_room() { self.lease.min(self.lease_pressure) } else { self.lease }
    }

    /// Whether a budget or a quota of bytes may shorten leases to make room: then each is written down.
    pub fn makes_room(&self) -> bool {
        self.budget.is_some() || self.quotas.iter().any(|quota| quota.bytes.is_some())
    }
}

/// How many buffers for bytes on their way in are kept for later: one for each processor of a small box.
const IDLE_BUFFERS: usize = 2;

/// A registry over its two stores.
pub struct Registry {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    sessions: sessions::Sessions,
    pulls: pulls::PullLog,
    space: space::SpaceGuard,
    removals: removals::Removals,
    guard: guard::Guard,
    ledger: ledger::Ledger,
    reservations: Arc<reservations::Reservations>,
    /// Room is made for one request at a time.
    relief: tokio::sync::Mutex<()>,
    surroundings: budget::DiskUsageCache,
    pressure: Arc<Pressure>,
    refusals: refusals::Refusals,
    disk_reserve: disk_reserve::Reserve,
    outcomes: outcomes::Outcomes,
    gathering: Arc<Buffers>,
    clock_guard: clock_guard::ClockGuard,
    states: events::States,
    audit: audit::Audit,
    /// Since when every lease was written down, where room may be made; a time as in [`Timestamp`].
    leases_recorded_since: AtomicI64,
}

/// What a caller may do with a repository besides pulling from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// May push: so what it asks for is leased to it.
    pub push: bool,
}

/// One repository in the hands of a caller whose rights have been decided.
#[derive(Clone)]
pub struct Repository {
    registry: Arc<Registry>,
    name: RepoName,
    access: Access,
    by: Option<Arc<str>>,
    client: Client,
}

/// Who asks for what, where clients are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Requester {
    /// Whose share it counts towards.
    client: Client,
    /// The repository that it is for.
    repo: RepoName,
}

impl Registry {
    /// A registry over `blobs` and `metadata`.
    pub fn new(
        blobs: Arc<dyn BlobStore>,
        metadata: Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        let sessions = sessions::Sessions::new(settings.parallel_uploads);
        let leases_recorded_since = AtomicI64::new(clock.now().0);
        let clock_guard = clock_guard::ClockGuard::of(clock.as_ref());
        let reservations = reservations::Reservations::new(&settings.quotas);
        let audit = audit::Audit::new(settings.audit_file.clone());
        Arc::new(Self {
            blobs,
            metadata,
            clock,
            settings,
            sessions,
            pulls: pulls::PullLog::default(),
            space: space::SpaceGuard::new(),
            removals: removals::Removals::default(),
            guard: guard::Guard::default(),
            ledger: ledger::Ledger::default(),
            reservations,
            relief: tokio::sync::Mutex::default(),
            surroundings: budget::DiskUsageCache::default(),
            pressure: Arc::default(),
            refusals: refusals::Refusals::default(),
            disk_reserve: disk_reserve::Reserve::default(),
            outcomes: outcomes::Outcomes::default(),
            gathering: Buffers::new(writes::PIECE, IDLE_BUFFERS),
            clock_guard,
            states: events::States::default(),
            audit,
            leases_recorded_since,
        })
    }

    /// The repository `name`, whether it exists or not, for a caller who has `access` to it.
    pub fn repository(self: &Arc<Self>, name: RepoName, access: Access) -> Repository {
        Repository { registry: Arc::clone(self), name, access, by: None, client: Client::Local }
    }

    /// The facts, for jobs and reports.
    pub fn metadata(&self) -> &Arc<dyn MetadataStore> {
        &self.metadata
    }

    /// The bytes, for jobs and reports.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Since when every lease has been written down, also of what was held: what nothing holds any more needs
    /// no other then. `None` without a budget or quota of bytes, for that costs a write where otherwise none is needed.
    pub fn leases_recorded_since(&self) -> Option<Timestamp> {
        self.settings.makes_room().then(|| Timestamp(self.leases_recorded_since.load(Ordering::Acquire)))
    }

    /// From now on: before, a lease may be missing.
    fn leases_refreshed(&self) {
        self.leases_recorded_since.fetch_max(self.clock.now().0, Ordering::AcqRel);
    }

    /// The memory that requests share.
    pub fn memory(&self) -> &MemoryBudget {
        &self.settings.memory
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Repository {
    /// Its name.
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    /// The same in the hands of this person or robot, as the history tells it.
    #[must_use]
    pub fn on_behalf_of(self, by: &str) -> Self {
        Self { by: Some(by.into()), ..self }
    }

    /// The same for requests that count towards the share of `client`.
    #[must_use]
    pub fn for_client(self, client: Client) -> Self {
        Self { client, ..self }
    }

    fn requester(&self) -> Requester {
        Requester { client: self.client.clone(), repo: self.name.clone() }
    }

    /// The same in the hands of somebody who may only pull: what is looked at is not leased.
    #[must_use]
    pub fn viewed(&self) -> Self {
        Self { access: Access { push: false }, ..self.clone() }
    }
}
