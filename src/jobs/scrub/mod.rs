//! The scrub: reads everything that is stored, slowly and continuously, and checks all content against its digest.
//!
//! | file | content |
//! | --- | --- |
//! | `pass` | one pass over every blob and manifest, in steps, and acting on what it finds |
//! | `unverified` | the adopted blobs that come first |
//! | `reading` | reading one blob, chunk by chunk |
//! | `pace` | the rate limit |
//! | `position` | the saved position a restart continues from |
//! | `report` | reports and the status |
//!
//! A blob whose content is wrong or missing is *quarantined*: clients can't pull it, while its links and edges stay, so
//! that the next push of it repairs it. A blob that can't be read may be readable later, so it is quarantined only
//! after a second failure, an hour after the first. The scrub never removes anything.

mod pace;
mod pass;
mod position;
mod reading;
mod report;
mod unverified;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::pace::{TokenBucket, Work, pace};
use self::pass::{Halt, ITEM_COST, Pass, ScrubbedStore, StepResult};
use self::position::SavedPosition;
use super::Job;
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::maintenance::progress::{Counter, Progress, Unit};
use crate::registry::{ClockState, Registry, ServiceError};
use crate::traces;

pub use report::{QuarantineEntry, ScrubFigures, ScrubReport, ScrubState, ScrubStatus};

/// The number of bytes read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// How often the pace is recomputed and the position saved.
const PACE_INTERVAL: Duration = Duration::from_secs(60);

/// A wait shorter than this does not end the tick's work.
const MAX_BUSY_WAIT: Duration = Duration::from_millis(100);

/// The maximum number of quarantined blobs in a report.
const MAX_LISTED: usize = 1000;

/// The limit up to which quarantined blobs are counted.
const MAX_COUNTED: usize = 100_000;

/// How fast the scrub reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// The time in which everything is read once; `None` turns the scrub off.
    pub period: Option<Duration>,
    /// The maximum number of bytes read per second.
    pub rate: u64,
}

/// The scrub. One tick reads about a mebibyte at most.
pub struct Scrub {
    store: ScrubbedStore,
    settings: ScrubSettings,
    current: Mutex<Option<Current>>,
    /// Whether a pass at full speed was requested and has not ended.
    is_requested: AtomicBool,
    /// Whether ticks run.
    is_scheduled: AtomicBool,
}

/// The background pass.
struct Current {
    pass: Pass,
    bucket: TokenBucket,
    /// The allowed bytes per second, as last computed.
    pace: f64,
    pace_updated_at: Option<Duration>,
    /// The work done when the position was last saved.
    saved_work: u64,
    /// Whether the pass was requested, so that it runs at full speed.
    hurries: bool,
}

impl Scrub {
    /// Creates the scrub for `registry`.
    pub fn new(registry: Arc<Registry>, settings: ScrubSettings) -> Self {
        Self {
            store: ScrubbedStore::new(registry),
            settings,
            current: Mutex::default(),
            is_requested: AtomicBool::new(false),
            is_scheduled: AtomicBool::new(false),
        }
    }

    /// Returns the state since the program started.
    pub fn status(&self) -> ScrubStatus {
        self.store.status().clone()
    }

    /// Returns the progress of the background pass and the result of the last one.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn state(&self) -> Result<ScrubState, ServiceError> {
        let total = self.store.registry.metadata().totals().await?;
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        let findings = current.pass.findings.clone().into_report();
        let ScrubStatus { finished_at, paused, last_pass, .. } = self.status();
        Ok(ScrubState {
            scheduled: self.is_scheduled.load(Ordering::Acquire) && self.settings.period.is_some(),
            requested: self.is_requested.load(Ordering::Acquire),
            began_at: current.pass.began_at,
            progress: ScrubFigures::of(&findings),
            total_bytes: total.blob_bytes,
            finished_at,
            last_pass,
            paused,
        })
    }

    /// Starts a background pass at full speed, unless one is running. Returns `false` if nothing runs the scrub.
    pub fn request_pass(&self) -> bool {
        let is_scheduled = self.is_scheduled.load(Ordering::Acquire);
        if is_scheduled {
            self.is_requested.store(true, Ordering::Release);
        }
        is_scheduled
    }

    /// Reports the progress of the background pass, and the quarantined blobs.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub async fn report(&self) -> Result<ScrubReport, ServiceError> {
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        self.report_of(&current.pass, false).await
    }

    /// Runs a complete pass now, at full speed or at `rate` bytes per second. The background pass then starts over.
    ///
    /// # Errors
    /// Fails if a store failed so that the pass could not continue. Damage that the pass finds is not an error.
    pub async fn run_to_end(
        &self,
        rate: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<ScrubReport, ServiceError> {
        let clock = self.store.registry.clock();
        let suspects = self.current(&mut *self.current.lock().await).await?.pass.suspects.clone();
        let total = self.store.registry.metadata().totals().await?.blob_bytes;
        let mut counter = Counter::new(progress, "reading blobs", Unit::Bytes, Some(total));
        let mut pass = Pass::start(clock.now(), suspects);
        let mut bucket = TokenBucket::new(clock.elapsed(), CHUNK_BYTES);
        loop {
            if let Some(rate) = rate {
                tokio::time::sleep(bucket.wait(clock.elapsed(), rate as f64)).await;
            }
            let stepped = pass.step(&self.store, CHUNK_BYTES).await?;
            bucket.spend(stepped.work);
            counter.add(stepped.bytes);
            if stepped.finished {
                break;
            }
        }
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        current.pass = Pass::start(clock.now(), std::mem::take(&mut pass.suspects));
        self.record_end();
        self.save_position(current).await?;
        self.report_of(&pass, true).await
    }

    /// Saves the position of the background pass. Call it at shutdown. A failure is only logged, because the pass then
    /// just reads some content again.
    pub async fn shut_down(&self) {
        if let Some(current) = self.current.lock().await.as_mut()
            && let Err(error) = self.save_position(current).await
        {
            tracing::warn!(error = %Chain(&error), "could not save the position of the scrub");
        }
    }

    async fn report_of(&self, pass: &Pass, whole: bool) -> Result<ScrubReport, ServiceError> {
        let metadata = self.store.registry.metadata();
        let found = pass.findings.clone().into_report();
        let status = self.status();
        let quarantined = metadata.quarantined_blobs(None, MAX_LISTED).await?;
        Ok(ScrubReport {
            whole,
            blobs: found.blobs,
            blob_bytes: found.blob_bytes,
            manifests: found.manifests,
            problems: found.problems,
            damaged: metadata.count_quarantined(MAX_COUNTED).await?,
            set_aside: quarantined.items.into_iter().map(Into::into).collect(),
            finished_at: status.finished_at.map(|at| at.0),
            paused: status.paused,
        })
    }

    /// Returns the background pass. The first call continues where an earlier process stopped.
    async fn current<'a>(&self, current: &'a mut Option<Current>) -> Result<&'a mut Current, ServiceError> {
        let loaded = match current.take() {
            Some(current) => current,
            None => self.load().await?,
        };
        Ok(current.insert(loaded))
    }

    async fn load(&self) -> Result<Current, ServiceError> {
        let metadata = self.store.registry.metadata();
        let clock = self.store.registry.clock();
        let position = metadata.scrub_position().await?.as_deref().and_then(SavedPosition::from_text);
        let pass = match position {
            Some(position) => {
                self.store.status().finished_at =
                    (position.finished_at > 0).then_some(Timestamp(position.finished_at));
                position.into_pass(metadata.as_ref()).await?
            }
            None => Pass::start(clock.now(), std::collections::VecDeque::new()),
        };
        let bucket = TokenBucket::new(clock.elapsed(), CHUNK_BYTES);
        let saved_work = pass.done;
        Ok(Current { pass, bucket, pace: 0.0, pace_updated_at: None, saved_work, hurries: false })
    }

    /// Does a bounded part of the background pass. Returns `true` if more is due at once.
    async fn advance(&self, current: &mut Current, period: Duration) -> Result<bool, Halt> {
        let now = self.store.registry.clock().elapsed();
        if current.hurries {
            return self.hurry(current).await;
        }
        if current.pace_updated_at.is_none_or(|at| now.saturating_sub(at) >= PACE_INTERVAL) {
            current.pace_updated_at = Some(now);
            self.update_pace(current, period).await?;
        } else if self.store.status().paused.is_some() {
            return Ok(false);
        }
        let wait = current.bucket.wait(now, current.pace);
        if !wait.is_zero() {
            return Ok(wait < MAX_BUSY_WAIT);
        }
        let stepped = traces::start_root("scrub").run(current.pass.step(&self.store, CHUNK_BYTES)).await?;
        // A pass over an empty store must cost something too, or the job would never pause.
        current.bucket.spend(stepped.work.max(ITEM_COST));
        self.store.status().paused = None;
        if stepped.finished {
            self.start_over(current, stepped).await?;
        }
        Ok(current.bucket.wait(now, current.pace) < MAX_BUSY_WAIT)
    }

    /// Does a part of a requested pass, at full speed. Returns `true` if more is left.
    async fn hurry(&self, current: &mut Current) -> Result<bool, Halt> {
        let stepped = traces::start_root("scrub").run(current.pass.step(&self.store, CHUNK_BYTES)).await?;
        self.store.status().paused = None;
        if stepped.finished {
            current.hurries = false;
            self.is_requested.store(false, Ordering::Release);
            self.start_over(current, stepped).await?;
        }
        Ok(current.hurries)
    }

    async fn start_over(&self, current: &mut Current, last: StepResult) -> Result<(), Halt> {
        if current.pass.done > last.work {
            tracing::info!(bytes = current.pass.done, "scrub pass finished");
        }
        let figures = ScrubFigures::of(&current.pass.findings.clone().into_report());
        self.store.status().last_pass = Some(figures);
        let suspects = std::mem::take(&mut current.pass.suspects);
        current.pass = Pass::start(self.store.registry.clock().now(), suspects);
        current.pace_updated_at = None;
        self.record_end();
        self.save_position(current).await
    }

    /// Saves the position, and computes the pace from the amount of data and the remaining time.
    async fn update_pace(&self, current: &mut Current, period: Duration) -> Result<(), Halt> {
        let metadata = self.store.registry.metadata();
        let clock = self.store.registry.clock();
        if current.saved_work != current.pass.done {
            self.save_position(current).await?;
        }
        let totals = metadata.totals().await?;
        if let ClockState::Suspect(reason) = self.store.registry.clock_state().await.map_err(Halt::Service)? {
            return Err(Halt::Unavailable(reason.into()));
        }
        let items = totals.blobs.saturating_add(totals.manifests).saturating_mul(ITEM_COST);
        let work = Work { total: totals.blob_bytes.saturating_add(items), done: current.pass.done };
        let since = clock.now().since(current.pass.began_at);
        current.pace = pace(work, since, period, self.settings.rate);
        Ok(())
    }

    async fn save_position(&self, current: &mut Current) -> Result<(), Halt> {
        if !self.store.registry.settings().read_only {
            let position = SavedPosition::of(&current.pass, self.status().finished_at);
            self.store.registry.metadata().record_scrub_position(&position.to_text()).await?;
        }
        current.saved_work = current.pass.done;
        Ok(())
    }

    fn record_end(&self) {
        self.store.status().finished_at = Some(self.store.registry.clock().now());
    }

    fn pause(&self, reason: String) {
        let mut status = self.store.status();
        if status.paused.as_ref() != Some(&reason) {
            tracing::warn!(reason, "scrub paused");
        }
        status.paused = Some(reason);
    }
}

#[async_trait]
impl Job for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        self.is_scheduled.store(true, Ordering::Release);
        let is_requested = self.is_requested.load(Ordering::Acquire);
        let Some(period) = self.settings.period.or(is_requested.then_some(Duration::ZERO)) else {
            return Ok(false);
        };
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        if is_requested && !current.hurries {
            let suspects = std::mem::take(&mut current.pass.suspects);
            current.pass = Pass::start(self.store.registry.clock().now(), suspects);
            current.hurries = true;
        }
        match self.advance(current, period).await {
            Ok(more) => Ok(more),
            Err(Halt::Unavailable(reason)) => {
                self.pause(Chain(&*reason).to_string());
                Ok(false)
            }
            Err(Halt::Service(error)) => Err(error),
        }
    }
}
