//! The budget: what the registry may take of the disk, and who waits when it is used up.
//!
//! A body reserves room before its bytes are written, so that no number of them together passes the budget.
//! What is above the high mark is asked for of whoever makes room ([`Pressure`]); at the budget writers wait
//! for that, and are refused when it takes too long or nobody does.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::ledger::Growth;
use super::{Registry, Requester, ServiceError};
use crate::oci::UploadId;
use crate::store::Spent;

/// How old a look at the directories and at the size of the disk may be.
const FRESH: Duration = Duration::from_secs(10);

/// After how long without a byte an upload is idle, where a refusal names it.
const IDLE_UPLOAD: Duration = Duration::from_secs(60);

/// How many idle uploads a refusal looks at.
const MAX_IDLE_UPLOADS: usize = 1000;

/// What is left free for the database and directories to grow while bodies fill the rest: a part of the budget,
/// and never more than so many bytes.
const MARGIN: (u64, u64) = (32, 16 << 20);

/// How much the registry may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetSize {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the filesystem that the blobs are on.
    Percent(u8),
}

/// What the registry may take, and when room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSettings {
    /// The most.
    pub most: BudgetSize,
    /// Above so many hundredths of it room is made.
    pub high: u8,
    /// Until it is below so many.
    pub low: u8,
    /// How long writers wait for room.
    pub wait: Duration,
}

/// How the budget stands. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetState {
    /// The most that may be taken.
    pub budget: u64,
    /// What blobs, doomed ones, directories and the database take.
    pub used: u64,
    /// What open uploads take, or are about to.
    pub reserved: u64,
    /// Above this room is made.
    pub high: u64,
    /// Until less than this is taken.
    pub low: u64,
}

impl BudgetState {
    /// All that is taken.
    pub fn taken(&self) -> u64 {
        self.used.saturating_add(self.reserved)
    }

    /// What bodies may fill, less what they and all else have taken already.
    pub fn left(&self) -> u64 {
        self.open_to_bodies().saturating_sub(self.taken())
    }

    fn open_to_bodies(&self) -> u64 {
        let (part, most) = MARGIN;
        self.budget - (self.budget / part).min(most)
    }

    /// Whether room has to be made.
    pub fn is_above_high(&self) -> bool {
        self.taken() > self.high
    }

    /// Whether making room has to go on.
    pub fn is_above_low(&self) -> bool {
        self.taken() > self.low
    }
}

/// How near to the budget the registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetLevel {
    /// There is room.
    Ample = 0,
    /// Above the high mark.
    High = 1,
    /// Writers are refused, or about to be.
    Full = 2,
}

/// Between those who need room and whoever makes it.
#[derive(Default)]
pub struct Pressure {
    wanted: Notify,
    room: Notify,
    makers: AtomicUsize,
    waiting: AtomicUsize,
    /// A writer was refused, and none has found room below the high mark since.
    refused: AtomicBool,
    /// How often stored bytes were removed.
    freed: AtomicU64,
    /// What keeps the rest of the space, as of the last run that made too little room.
    obstacle: Mutex<Option<String>>,
}

/// A writer who waits for room, as long as this lives.
struct Waiting<'a>(&'a Pressure);

/// Somebody who makes room, as long as this lives.
pub struct RoomMaker(Arc<Pressure>);

impl Pressure {
    /// Takes on making room. Where nobody does, nobody waits for it.
    pub fn make_room(self: &Arc<Self>) -> RoomMaker {
        self.makers.fetch_add(1, Ordering::AcqRel);
        RoomMaker(Arc::clone(self))
    }

    /// Lets those look again who wait for room.
    pub fn look_again(&self) {
        self.room.notify_waiters();
    }

    /// Stored bytes were removed: there may be room now.
    pub(super) fn note_freed(&self) {
        self.freed.fetch_add(1, Ordering::AcqRel);
        self.look_again();
    }

    fn freed(&self) -> u64 {
        self.freed.load(Ordering::Acquire)
    }

    /// Sets what keeps the rest of the space, for refusals; `None` once there is room.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
    }

    fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether writers wait for room.
    pub fn is_waited_at(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self)
    }

    fn ask(&self) {
        self.wanted.notify_one();
    }

    fn is_served(&self) -> bool {
        self.makers.load(Ordering::Acquire) > 0
    }
}

impl RoomMaker {
    /// Returns when room is asked for.
    pub async fn wanted(&self) {
        self.0.wanted.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for RoomMaker {
    fn drop(&mut self) {
        self.0.makers.fetch_sub(1, Ordering::AcqRel);
        self.0.look_again();
    }
}

/// The last look at what changes slowly: when, what the directories take, and how big the disk is.
#[derive(Default)]
pub(super) struct DiskUsageCache(Mutex<Option<(Duration, u64, u64)>>);

impl Registry {
    /// How the budget stands; `None` without one.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn budget(&self) -> Result<Option<BudgetState>, ServiceError> {
        let Some(settings) = self.settings.budget else {
            return Ok(None);
        };
        self.budget_state(settings).await.map(Some)
    }

    /// How near to the budget that is.
    pub fn budget_level(&self, state: &BudgetState) -> BudgetLevel {
        let refused = self.pressure.refused.load(Ordering::Acquire);
        match state.is_above_high() {
            _ if state.left() == 0 => BudgetLevel::Full,
            true if refused => BudgetLevel::Full,
            true => BudgetLevel::High,
            false => BudgetLevel::Ample,
        }
    }

    /// Between writers and whoever makes room for them.
    pub fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    async fn budget_state(&self, settings: BudgetSettings) -> Result<BudgetState, ServiceError> {
        let (directories, disk) = self.surroundings().await?;
        let totals = self.metadata.totals().await?;
        let database = self.metadata.own_size().await?;
        let budget = match settings.most {
            BudgetSize::Bytes(bytes) => bytes,
            BudgetSize::Percent(percent) => disk / 100 * u64::from(percent),
        };
        Ok(BudgetState {
            budget,
            used: totals.blob_allocated + totals.doomed_allocated + directories + database,
            reserved: self.ledger.total(),
            high: budget / 100 * u64::from(settings.high),
            low: budget / 100 * u64::from(settings.low),
        })
    }

    async fn surroundings(&self) -> Result<(u64, u64), ServiceError> {
        let now = self.clock.elapsed();
        let last = *self.surroundings.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, directories, disk)) = last
            && now.saturating_sub(at) < FRESH
        {
            return Ok((directories, disk));
        }
        let directories = self.blobs.allocated(Spent::Directories).await?;
        let disk = self.blobs.space().await?.total;
        *self.surroundings.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, directories, disk));
        Ok((directories, disk))
    }

    /// Reserves room for the first bytes of an upload, if there is room now. With `None` it only looks.
    ///
    /// # Errors
    /// [`ServiceError`]; no room is none.
    pub(super) async fn try_reserve(&self, upload: Option<(UploadId, u64)>) -> Result<bool, ServiceError> {
        let Some(settings) = self.settings.budget else {
            return Ok(true);
        };
        Ok(self.reserve_now(settings, upload).await?.is_ok())
    }

    /// The same, and waits until there is room.
    ///
    /// # Errors
    /// [`ServiceError::Full`] at the budget, after the time that writers wait; at once for a requester that has just waited in
    /// vain.
    pub(super) async fn reserve(
        &self,
        requester: &Requester,
        upload: Option<(UploadId, u64)>,
    ) -> Result<(), ServiceError> {
        let Some(settings) = self.settings.budget else {
            return Ok(());
        };
        let patience = tokio::time::sleep(settings.wait);
        tokio::pin!(patience);
        let mut waiting = None;
        loop {
            // Before the look, so that room made meanwhile is not missed.
            let room = self.pressure.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let Err(state) = self.reserve_now(settings, upload).await? else {
                return Ok(());
            };
            self.pressure.ask();
            let freed = self.pressure.freed();
            if waiting.is_none() && self.refusals.holds(requester, self.clock.elapsed(), freed) {
                return Err(self.used_up(requester, &state).await);
            }
            waiting.get_or_insert_with(|| self.pressure.wait());
            let waited = async {
                tokio::select! {
                    () = room => true,
                    () = &mut patience => false,
                }
            };
            if !self.pressure.is_served() || !waited.await {
                self.pressure.refused.store(true, Ordering::Release);
                self.refusals.remember(requester, self.clock.elapsed(), self.pressure.freed());
                return Err(self.used_up(requester, &state).await);
            }
        }
    }

    /// Reserves room if there is room now; otherwise the state of the budget is the inner error.
    async fn reserve_now(
        &self,
        settings: BudgetSettings,
        upload: Option<(UploadId, u64)>,
    ) -> Result<Result<(), BudgetState>, ServiceError> {
        loop {
            let releases = self.ledger.releases();
            let state = self.budget_state(settings).await?;
            let left = state.open_to_bodies().saturating_sub(state.used);
            match self.ledger.grow(upload, left, releases) {
                Growth::Overtaken => {}
                Growth::TooMuch => return Ok(Err(state)),
                Growth::Done => {
                    if state.is_above_high() {
                        self.pressure.ask();
                    } else {
                        self.pressure.refused.store(false, Ordering::Release);
                    }
                    return Ok(Ok(()));
                }
            }
        }
    }

    /// The refusal at the budget, with what keeps the space.
    async fn used_up(&self, requester: &Requester, state: &BudgetState) -> ServiceError {
        let mut message = format!(
            "the budget of {} bytes (storage.budget) is used up: {} bytes are stored and {} reserved by uploads",
            state.budget, state.used, state.reserved
        );
        for holder in
            [self.describe_idle_upload(requester).await, self.pressure.obstacle()].into_iter().flatten()
        {
            message.push_str("; ");
            message.push_str(&holder);
        }
        message.push_str(
            "; delete images, let policies expire more of them, or raise storage.budget; pulls and deletes go on",
        );
        ServiceError::Full(message)
    }

    /// The largest upload that nobody continues. Its id is named only to clients of its own repository.
    async fn describe_idle_upload(&self, requester: &Requester) -> Option<String> {
        let idle_since = self.clock.now().minus(IDLE_UPLOAD);
        let idle = self.metadata.idle_uploads(idle_since, MAX_IDLE_UPLOADS).await.ok()?;
        let idle = idle.into_iter().filter(|id| !self.sessions.is_busy(*id));
        let (bytes, id) = idle.map(|id| (self.ledger.of(id), id)).max_by_key(|(bytes, _)| *bytes)?;
        if bytes == 0 {
            return None;
        }
        let own = self.metadata.upload(&requester.repo, id).await.ok().flatten();
        Some(match own {
            Some(upload) => format!(
                "the upload {id} of this repository holds {bytes} bytes and has been idle for {} s: continue or cancel it",
                self.clock.now().since(upload.touched_at).as_secs()
            ),
            None => format!("an idle upload of another repository holds {bytes} bytes until it expires"),
        })
    }
}
