//! The scrub: reads everything that is stored, slowly and for ever, and checks each byte against its digest.
//!
//! | file | what it does |
//! | --- | --- |
//! | `pass` | one pass over every blob and manifest, in steps |
//! | `reading` | a blob, bite by bite |
//! | `judge` | what is done about what was found |
//! | `pace` | how fast it may go |
//! | `place` | what a restart goes on from |
//! | `report` | what it tells |
//!
//! A blob whose bytes are wrong or missing is *set aside*: absent to everyone, while its links and edges stay,
//! so that the next push of it heals it. One that cannot be read may be readable tomorrow, and is set aside
//! only when it could not be read a second time, an hour later. Nothing is ever removed.

mod judge;
mod pace;
mod pass;
mod place;
mod reading;
mod report;

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use report::{ScrubReport, ScrubStatus, SetAside};

use self::judge::Halt;
use self::pace::{Allowance, Work, pace};
use self::pass::{ITEM, Pass, Stepped};
use self::place::Place;
use super::Job;
use super::progress::{Counter, Progress, Unit};
use crate::clock::Timestamp;
use crate::registry::{ClockState, Registry, ServiceError};
use crate::traces;

/// How much is read at once.
const BITE: u64 = 1 << 20;

/// How often the pace is set anew, and the place written down.
const SURVEY: Duration = Duration::from_secs(60);

/// A wait that is not worth a rest.
const SOON: Duration = Duration::from_millis(100);

/// How many of the blobs that are set aside a report shows.
const MOST_SHOWN: usize = 1000;

/// More damaged blobs than are counted one by one.
const MOST_COUNTED: usize = 100_000;

/// How many damaged manifests are remembered by name.
const MOST_MANIFESTS: usize = 1000;

/// How fast it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// The time in which everything is read once; `None`: not at all.
    pub period: Option<Duration>,
    /// The most bytes that are read in a second.
    pub rate: u64,
}

/// The scrub. One tick reads at most a mebibyte or so.
pub struct Scrub {
    registry: Arc<Registry>,
    settings: ScrubSettings,
    status: std::sync::Mutex<ScrubStatus>,
    current: Mutex<Option<Current>>,
}

/// The pass in the background.
struct Current {
    pass: Pass,
    allowance: Allowance,
    /// Bytes a second, as of the last survey.
    pace: f64,
    surveyed: Option<Duration>,
    /// The work that was done when the place was last written down.
    noted: u64,
}

impl Scrub {
    /// The scrub of `registry`.
    pub fn new(registry: Arc<Registry>, settings: ScrubSettings) -> Self {
        let (status, current) = (std::sync::Mutex::default(), Mutex::default());
        Self { registry, settings, status, current }
    }

    /// How it is doing.
    pub fn status(&self) -> ScrubStatus {
        self.lock().clone()
    }

    /// How far the pass in the background has come, and what is set aside.
    ///
    /// # Errors
    /// [`ServiceError`] when the facts failed.
    pub async fn report(&self) -> Result<ScrubReport, ServiceError> {
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        self.report_of(&current.pass, false).await
    }

    /// Makes a whole pass now, as fast as it goes or at `rate` bytes a second. The one in the background then
    /// begins anew.
    ///
    /// # Errors
    /// [`ServiceError`] when a store failed so that it could not go on; never because of what it found.
    pub async fn run_to_end(
        &self,
        rate: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<ScrubReport, ServiceError> {
        let clock = self.registry.clock();
        let suspects = self.current(&mut *self.current.lock().await).await?.pass.suspects.clone();
        let total = self.registry.metadata().totals().await?.blob_bytes;
        let mut counter = Counter::new(progress, "reading blobs", Unit::Bytes, Some(total));
        let mut pass = Pass::begin(clock.now(), suspects);
        let mut allowance = Allowance::new(clock.elapsed(), BITE);
        loop {
            if let Some(rate) = rate {
                tokio::time::sleep(allowance.wait(clock.elapsed(), rate as f64)).await;
            }
            let stepped = pass.step(self, BITE).await?;
            allowance.spend(stepped.work);
            counter.add(stepped.bytes);
            if stepped.finished {
                break;
            }
        }
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        current.pass = Pass::begin(clock.now(), std::mem::take(&mut pass.suspects));
        self.finish();
        self.note(current).await?;
        self.report_of(&pass, true).await
    }

    /// Writes down where it is. To be called at the end.
    ///
    /// # Errors
    /// None: what cannot be written down is read again.
    pub async fn rest(&self) {
        if let Some(current) = self.current.lock().await.as_mut()
            && let Err(error) = self.note(current).await
        {
            tracing::warn!(%error, "the place of the scrub could not be written down");
        }
    }

    async fn report_of(&self, pass: &Pass, whole: bool) -> Result<ScrubReport, ServiceError> {
        let metadata = self.registry.metadata();
        let (found, status) = (pass.findings.clone().into_report(), self.status());
        let set_aside = metadata.damaged(None, MOST_SHOWN).await?;
        Ok(ScrubReport {
            whole,
            blobs: found.blobs,
            blob_bytes: found.blob_bytes,
            manifests: found.manifests,
            problems: found.problems,
            damaged: metadata.count_damaged(MOST_COUNTED).await?,
            set_aside: set_aside.items.into_iter().map(Into::into).collect(),
            finished_at: status.finished_at.map(|at| at.0),
            paused: status.paused,
        })
    }

    /// The pass in the background, as it was left by an earlier process.
    async fn current<'a>(&self, current: &'a mut Option<Current>) -> Result<&'a mut Current, ServiceError> {
        let loaded = match current.take() {
            Some(current) => current,
            None => self.load().await?,
        };
        Ok(current.insert(loaded))
    }

    async fn load(&self) -> Result<Current, ServiceError> {
        let (metadata, clock) = (self.registry.metadata(), self.registry.clock());
        let place = metadata.scrub_place().await?.as_deref().and_then(Place::from_text);
        let pass = match place {
            Some(place) => {
                self.lock().finished_at = (place.finished_at > 0).then_some(Timestamp(place.finished_at));
                place.into_pass(metadata.as_ref()).await?
            }
            None => Pass::begin(clock.now(), std::collections::VecDeque::new()),
        };
        let (allowance, noted) = (Allowance::new(clock.elapsed(), BITE), pass.done);
        Ok(Current { pass, allowance, pace: 0.0, surveyed: None, noted })
    }

    /// A bounded part of the pass in the background; `true` if more is due at once.
    async fn go_on(&self, current: &mut Current, period: Duration) -> Result<bool, Halt> {
        let now = self.registry.clock().elapsed();
        if current.surveyed.is_none_or(|at| now.saturating_sub(at) >= SURVEY) {
            current.surveyed = Some(now);
            self.survey(current, period).await?;
        } else if self.lock().paused.is_some() {
            return Ok(false);
        }
        let wait = current.allowance.wait(now, current.pace);
        if !wait.is_zero() {
            return Ok(wait < SOON);
        }
        let stepped = traces::root("scrub").run(current.pass.step(self, BITE)).await?;
        // A pass over nothing costs something too, or it would never rest.
        current.allowance.spend(stepped.work.max(ITEM));
        self.lock().paused = None;
        if stepped.finished {
            self.begin_anew(current, stepped).await?;
        }
        Ok(current.allowance.wait(now, current.pace) < SOON)
    }

    async fn begin_anew(&self, current: &mut Current, last: Stepped) -> Result<(), Halt> {
        if current.pass.done > last.work {
            tracing::info!(bytes = current.pass.done, "the scrub has read everything once");
        }
        let suspects = std::mem::take(&mut current.pass.suspects);
        current.pass = Pass::begin(self.registry.clock().now(), suspects);
        current.surveyed = None;
        self.finish();
        self.note(current).await
    }

    /// Writes down the place, and sets the pace by how much there is and how much time.
    async fn survey(&self, current: &mut Current, period: Duration) -> Result<(), Halt> {
        let (metadata, clock) = (self.registry.metadata(), self.registry.clock());
        if current.noted != current.pass.done {
            self.note(current).await?;
        }
        let totals = metadata.totals().await?;
        if let ClockState::Suspect(reason) = self.registry.clock_state().await.map_err(Halt::Service)? {
            return Err(Halt::Away(reason));
        }
        let items = totals.blobs.saturating_add(totals.manifests).saturating_mul(ITEM);
        let work = Work { total: totals.blob_bytes.saturating_add(items), done: current.pass.done };
        let since = clock.now().since(current.pass.began_at);
        current.pace = pace(work, since, period, self.settings.rate);
        Ok(())
    }

    async fn note(&self, current: &mut Current) -> Result<(), Halt> {
        if !self.registry.settings().read_only {
            let place = Place::of(&current.pass, self.status().finished_at);
            self.registry.metadata().note_scrub_place(&place.to_text()).await?;
        }
        current.noted = current.pass.done;
        Ok(())
    }

    fn finish(&self) {
        self.lock().finished_at = Some(self.registry.clock().now());
    }

    fn pause(&self, reason: String) {
        let mut status = self.lock();
        if status.paused.as_ref() != Some(&reason) {
            tracing::warn!(reason, "the scrub pauses");
        }
        status.paused = Some(reason);
    }

    fn count_bytes(&self, bytes: u64) {
        self.lock().checked_bytes += bytes;
    }

    fn count_blob(&self) {
        self.lock().checked_blobs += 1;
    }

    /// Notes how a manifest was found; `true` if it is newly damaged.
    fn count_manifest(&self, name: &str, damaged: bool) -> bool {
        let known = &mut self.lock().damaged_manifests;
        if !damaged {
            known.remove(name);
            return false;
        }
        known.len() >= MOST_MANIFESTS || known.insert(name.to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, ScrubStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Job for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        let Some(period) = self.settings.period else {
            return Ok(false);
        };
        let mut current = self.current.lock().await;
        let current = self.current(&mut current).await?;
        match self.go_on(current, period).await {
            Ok(more) => Ok(more),
            Err(Halt::Away(reason)) => {
                self.pause(reason);
                Ok(false)
            }
            Err(Halt::Service(fault)) => Err(fault),
        }
    }
}
