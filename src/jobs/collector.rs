//! The garbage collector: removes unreferenced manifests, links and blobs while the registry serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::{Job, JobSchedule, PolicySet};
use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, Garbage};
use crate::registry::{ClockState, IDLE_WHEN_FULL, Registry, ServiceError, SpaceState};
use crate::traces;

/// When things expire, and how much a batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectorSettings {
    /// How long a removed manifest stays in the trash, where it can be restored.
    pub trash: Duration,
    /// How long an unreferenced manifest is kept; `None` keeps it for ever.
    pub untagged: Option<Duration>,
    /// How long an upload may be idle before it expires.
    pub upload_expiry: Duration,
    /// The maximum number of rows a step looks at.
    pub batch: usize,
}

/// What a run of the collector removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Collected {
    /// Uploads that expired because they were idle for too long.
    pub uploads: u64,
    /// Manifests moved to the trash because nothing referenced them.
    pub manifests_expired: u64,
    /// Manifests removed from the trash for good.
    pub manifests_purged: u64,
    /// Links between repositories and blobs that were removed.
    pub links: u64,
    /// Blobs removed from the store.
    pub blobs: u64,
    /// The size of these blobs in bytes.
    pub bytes: u64,
}

/// The collector's state since the program started.
#[derive(Debug, Clone, Default)]
pub struct CollectorStatus {
    /// Everything collected so far.
    pub total: Collected,
    /// What the last run removed.
    pub last: Collected,
    /// When the last tick ended.
    pub last_run: Option<Timestamp>,
    /// The number of ticks that failed.
    pub errors: u64,
    /// Why expiry is paused, if it is.
    pub paused: Option<String>,
}

/// The garbage collector. One tick does a batch of every step.
pub struct Collector {
    registry: Arc<Registry>,
    settings: CollectorSettings,
    policies: Arc<PolicySet>,
    status: Mutex<CollectorStatus>,
    /// What the current run has removed so far.
    current: Mutex<Collected>,
    schedule: JobSchedule,
    /// Whether space is being reclaimed for the budget; leases and idle uploads then expire sooner.
    under_pressure: AtomicBool,
    /// Runs one batch at a time, so that a caller can attribute the freed bytes to its own batch.
    turn: tokio::sync::Mutex<()>,
}

impl Collector {
    /// Creates a collector for `registry`.
    pub fn new(registry: Arc<Registry>, settings: CollectorSettings) -> Self {
        let schedule = JobSchedule::new(Arc::clone(registry.clock()));
        Self {
            registry,
            settings,
            policies: Arc::default(),
            status: Mutex::default(),
            current: Mutex::default(),
            schedule,
            under_pressure: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Returns a collector that spares manifests these policies may keep.
    #[must_use]
    pub fn with_policies(self, policies: Arc<PolicySet>) -> Self {
        Self { policies, ..self }
    }

    /// Returns how long a removed manifest stays in the trash.
    pub fn trash_retention(&self) -> Duration {
        self.settings.trash
    }

    /// Returns when it runs.
    pub fn schedule(&self) -> &JobSchedule {
        &self.schedule
    }

    /// Returns the state since the program started.
    pub fn status(&self) -> CollectorStatus {
        self.lock().clone()
    }

    /// Returns the collection rules as of now. Where policies may keep untagged manifests, only manifests that these
    /// policies have already evaluated expire.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn rules(&self) -> Result<CollectionRules, ServiceError> {
        let CollectorSettings { trash, untagged, .. } = self.settings;
        let now = self.registry.clock().now();
        let leases_recorded_since = self.registry.leases_recorded_since();
        let untagged = match untagged {
            Some(untagged) => self.evaluated_until(now).await?.map(|at| untagged.max(now.since(at))),
            None => None,
        };
        Ok(CollectionRules { now, lease: self.lease(), trash, untagged, leases_recorded_since })
    }

    /// Returns the time up to which the policies in force have evaluated unreferenced manifests; `None` if they
    /// have not.
    async fn evaluated_until(&self, now: Timestamp) -> Result<Option<Timestamp>, ServiceError> {
        let policies = self.policies.in_force();
        if policies.broken.is_some() {
            return Ok(None);
        }
        if !policies.may_pin() {
            return Ok(Some(now));
        }
        let evaluated = self.registry.metadata().last_evaluation().await?;
        Ok(evaluated.filter(|evaluated| policies.is_from(evaluated)).map(|evaluated| evaluated.at))
    }

    /// Switches to the shortest leases and idle times for uploads, or back to the usual ones.
    pub fn set_pressure(&self, under_pressure: bool) {
        self.under_pressure.store(under_pressure, Ordering::Release);
    }

    /// Whether space is being reclaimed for the budget.
    pub fn is_under_pressure(&self) -> bool {
        self.under_pressure.load(Ordering::Acquire)
    }

    /// Returns how long a lease lasts now.
    fn lease(&self) -> Duration {
        let settings = self.registry.settings();
        if self.is_under_pressure() { settings.shortest_lease() } else { settings.lease }
    }

    /// Reports what a run would remove now, without changing anything.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn dry_run(&self) -> Result<Garbage, ServiceError> {
        Ok(self.registry.metadata().dry_run(&self.rules().await?).await?)
    }

    /// Counts the uploads a run would expire now.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn idle_uploads(&self) -> Result<u64, ServiceError> {
        self.registry.idle_uploads(self.upload_expiry().await?).await
    }

    /// Runs ticks until nothing is left to do now, and calls `progress` after each. Returns what was removed.
    ///
    /// # Errors
    /// Fails with the error of the first tick that failed.
    pub async fn run_to_end(
        &self,
        mut progress: impl FnMut(&Collected) + Send,
    ) -> Result<Collected, ServiceError> {
        let mut all = Collected::default();
        loop {
            let (done, more) = self.collect().await?;
            all.add(&done);
            progress(&all);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Does one batch of every step. Returns what was removed, and `true` if more work is waiting.
    pub(super) async fn collect(&self) -> Result<(Collected, bool), ServiceError> {
        let _turn = self.turn.lock().await;
        let outcome = traces::start_root("collector").run(self.steps()).await;
        let mut status = self.lock();
        match &outcome {
            Ok((done, more)) => {
                let mut current = self.current.lock();
                current.add(done);
                if !more {
                    status.last = std::mem::take(&mut current);
                }
                status.total.add(done);
                status.last_run = Some(self.registry.clock().now());
            }
            Err(_) => status.errors += 1,
        }
        outcome
    }

    async fn steps(&self) -> Result<(Collected, bool), ServiceError> {
        let mut done = Collected::default();
        let expired = self.expire_if_trusted(&mut done).await;
        // Runs even if expiry failed: on a disk too full for a transaction, only this frees space.
        let removed = self.registry.remove_pending_blobs(self.settings.batch).await?;
        done.blobs = removed.blobs;
        done.bytes = removed.bytes;
        Ok((done, expired? || removed.more))
    }

    async fn expire_if_trusted(&self, done: &mut Collected) -> Result<bool, ServiceError> {
        if self.check_clock().await? { self.expire(done).await } else { Ok(false) }
    }

    async fn expire(&self, done: &mut Collected) -> Result<bool, ServiceError> {
        let metadata = self.registry.metadata();
        let batch = self.settings.batch;
        // Pulls that are not recorded yet must count.
        self.registry.flush_pulls().await?;
        let uploads = self.registry.expire_uploads(self.upload_expiry().await?, batch).await?;
        let rules = self.rules().await?;
        let reviewed = metadata.review_manifests(&rules, batch).await?;
        let expired = metadata.expire_trash(&rules, batch).await?;
        let purged = metadata.purge_manifests(&rules, batch).await?;
        let links = metadata.review_links(&rules, batch).await?;
        done.uploads = uploads as u64;
        done.manifests_expired = reviewed.changed;
        done.manifests_purged = purged.changed;
        done.links = links.changed;
        let steps = [reviewed, expired, purged, links];
        Ok(uploads == batch || steps.iter().any(|step| step.more))
    }

    /// Returns how long an upload may be idle now.
    async fn upload_expiry(&self) -> Result<Duration, ServiceError> {
        let usual = self.settings.upload_expiry;
        Ok(match self.registry.space_state().await? {
            SpaceState::Full => usual.min(IDLE_WHEN_FULL),
            SpaceState::Low | SpaceState::Ample if self.is_under_pressure() => usual.min(IDLE_WHEN_FULL),
            SpaceState::Low | SpaceState::Ample => usual,
        })
    }

    /// Whether the clock is trusted, so that times may be compared.
    pub(super) async fn check_clock(&self) -> Result<bool, ServiceError> {
        let paused = match self.registry.clock_state().await? {
            ClockState::Trusted => {
                self.registry.metadata().record_time(self.registry.clock().now()).await?;
                None
            }
            ClockState::Suspect(reason) => Some(reason),
        };
        let mut status = self.lock();
        if let Some(reason) = &paused
            && status.paused.is_none()
        {
            tracing::warn!(%reason, "clock is not trusted; expiry paused");
        }
        status.paused = paused;
        Ok(status.paused.is_none())
    }

    fn lock(&self) -> MutexGuard<'_, CollectorStatus> {
        self.status.lock()
    }
}

impl Collected {
    fn add(&mut self, other: &Self) {
        self.uploads += other.uploads;
        self.manifests_expired += other.manifests_expired;
        self.manifests_purged += other.manifests_purged;
        self.links += other.links;
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

#[async_trait]
impl Job for Collector {
    fn name(&self) -> &'static str {
        "collector"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        let (done, more) = self.collect().await?;
        if done != Collected::default() {
            tracing::info!(
                uploads = done.uploads,
                manifests_expired = done.manifests_expired,
                manifests_purged = done.manifests_purged,
                links = done.links,
                blobs = done.blobs,
                bytes = done.bytes,
                "garbage collected"
            );
        }
        Ok(more)
    }

    fn schedule(&self) -> Option<&JobSchedule> {
        Some(&self.schedule)
    }
}
