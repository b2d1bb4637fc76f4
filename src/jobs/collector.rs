//! The collector: gives back what nobody refers to any more, online.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Job, PolicySet};
use crate::clock::Timestamp;
use crate::metadata::{CollectionRules, Garbage};
use crate::registry::{ClockState, IDLE_WHEN_FULL, Registry, ServiceError, SpaceState};
use crate::traces;

/// When things expire, and how much is done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectorSettings {
    /// How long a removed manifest can be brought back.
    pub trash: Duration,
    /// How long a manifest that nothing holds is kept; `None` for ever.
    pub untagged: Option<Duration>,
    /// How long an upload may be idle.
    pub upload_expiry: Duration,
    /// How many rows a step looks at.
    pub batch: usize,
}

/// What a run of the collector did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Collected {
    /// Uploads that were idle for too long.
    pub uploads: u64,
    /// Manifests that went to the trash because nothing held them.
    pub manifests_expired: u64,
    /// Manifests that left the trash for good.
    pub manifests_purged: u64,
    /// Links that went.
    pub links: u64,
    /// Blobs whose bytes were removed.
    pub blobs: u64,
    /// How many bytes that were.
    pub bytes: u64,
}

/// How the collector is doing, since the start of the program.
#[derive(Debug, Clone, Default)]
pub struct CollectorStatus {
    /// All that was collected.
    pub total: Collected,
    /// When the last tick ended.
    pub last_run: Option<Timestamp>,
    /// How many ticks failed.
    pub errors: u64,
    /// Why expiry pauses, if it does.
    pub paused: Option<String>,
}

/// Collects. One tick is a batch of every step.
pub struct Collector {
    registry: Arc<Registry>,
    settings: CollectorSettings,
    policies: Arc<PolicySet>,
    status: Mutex<CollectorStatus>,
    /// Room is being made for the budget.
    pressed: AtomicBool,
    /// One batch at a time: whoever looks what a batch has freed must not share it with another.
    turn: tokio::sync::Mutex<()>,
}

impl Collector {
    /// A collector for `registry`.
    pub fn new(registry: Arc<Registry>, settings: CollectorSettings) -> Self {
        Self {
            registry,
            settings,
            policies: Arc::default(),
            status: Mutex::default(),
            pressed: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The same that leaves to these policies what they may keep.
    #[must_use]
    pub fn with_policies(self, policies: Arc<PolicySet>) -> Self {
        Self { policies, ..self }
    }

    /// How it is doing.
    pub fn status(&self) -> CollectorStatus {
        self.lock().clone()
    }

    /// The rules as of now. Where policies may keep what no tag holds, only what they have judged goes.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn rules(&self) -> Result<CollectionRules, ServiceError> {
        let CollectorSettings { trash, untagged, .. } = self.settings;
        let (now, leases_recorded_since) =
            (self.registry.clock().now(), self.registry.leases_recorded_since());
        let untagged = match untagged {
            Some(untagged) => self.judged_by(now).await?.map(|at| untagged.max(now.since(at))),
            None => None,
        };
        Ok(CollectionRules { now, lease: self.lease(), trash, untagged, leases_recorded_since })
    }

    /// Until when policies have judged what lost its last holder; `None` if they have not.
    async fn judged_by(&self, now: Timestamp) -> Result<Option<Timestamp>, ServiceError> {
        let policies = self.policies.in_force();
        if policies.broken.is_some() {
            return Ok(None);
        }
        if !policies.may_pin() {
            return Ok(Some(now));
        }
        let judged = self.registry.metadata().judged().await?;
        Ok(judged.filter(|judged| policies.made(judged)).map(|judged| judged.at))
    }

    /// Makes leases as short as they may be, or as long as usual again, and likewise uploads that are idle.
    pub fn press(&self, pressed: bool) {
        self.pressed.store(pressed, Ordering::Release);
    }

    /// Whether room is being made for the budget.
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Acquire)
    }

    /// How long a lease is now.
    fn lease(&self) -> Duration {
        let settings = self.registry.settings();
        if self.is_pressed() { settings.shortest_lease() } else { settings.lease }
    }

    /// What a run would do now. Changes nothing.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn dry_run(&self) -> Result<Garbage, ServiceError> {
        Ok(self.registry.metadata().dry_run(&self.rules().await?).await?)
    }

    /// How many uploads a run would end now.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn idle_uploads(&self) -> Result<u64, ServiceError> {
        self.registry.idle_uploads(self.upload_expiry().await?).await
    }

    /// Runs ticks until nothing is left to do now, telling `progress` after each. Tells what went.
    ///
    /// # Errors
    /// [`ServiceError`], of the first tick that failed.
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

    /// One batch of every step; `true` if more is waiting.
    pub(super) async fn collect(&self) -> Result<(Collected, bool), ServiceError> {
        let _turn = self.turn.lock().await;
        let outcome = traces::root("collector").run(self.steps()).await;
        let mut status = self.lock();
        match &outcome {
            Ok((done, _)) => {
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
        // Also after a failure: on a disk without room for a transaction this is what makes some.
        let removed = self.registry.remove_doomed(self.settings.batch).await?;
        done.blobs = removed.blobs;
        done.bytes = removed.bytes;
        Ok((done, expired? || removed.more))
    }

    async fn expire_if_trusted(&self, done: &mut Collected) -> Result<bool, ServiceError> {
        if self.clock_is_trusted().await? { self.expire(done).await } else { Ok(false) }
    }

    async fn expire(&self, done: &mut Collected) -> Result<bool, ServiceError> {
        let (metadata, batch) = (self.registry.metadata(), self.settings.batch);
        // A pull that was not written down yet must count.
        self.registry.flush_pulls().await?;
        let uploads = self.registry.expire_uploads(self.upload_expiry().await?, batch).await?;
        let rules = self.rules().await?;
        let reviewed = metadata.review_manifests(&rules, batch).await?;
        let condemned = metadata.expire_trash(&rules, batch).await?;
        let purged = metadata.purge_manifests(&rules, batch).await?;
        let links = metadata.review_links(&rules, batch).await?;
        done.uploads = uploads as u64;
        done.manifests_expired = reviewed.changed;
        done.manifests_purged = purged.changed;
        done.links = links.changed;
        let steps = [reviewed, condemned, purged, links];
        Ok(uploads == batch || steps.iter().any(|step| step.more))
    }

    /// How long an upload may be idle now.
    async fn upload_expiry(&self) -> Result<Duration, ServiceError> {
        let usual = self.settings.upload_expiry;
        Ok(match self.registry.space_state().await? {
            SpaceState::Full => usual.min(IDLE_WHEN_FULL),
            SpaceState::Low | SpaceState::Ample if self.is_pressed() => usual.min(IDLE_WHEN_FULL),
            SpaceState::Low | SpaceState::Ample => usual,
        })
    }

    /// Whether times may be compared now.
    pub(super) async fn clock_is_trusted(&self) -> Result<bool, ServiceError> {
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
            tracing::warn!(%reason, "nothing expires while the clock cannot be trusted");
        }
        status.paused = paused;
        Ok(status.paused.is_none())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CollectorStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
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
                "collected"
            );
        }
        Ok(more)
    }
}
