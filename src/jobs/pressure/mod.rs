//! Making room: what keeps the store within its budget.
//!
//! Above the high mark, or when writers wait for room, leases are made as short as they may be, and then things
//! go until less than the low mark is taken, in this order: garbage and idle uploads, the oldest of the trash,
//! and, step by step, what policies allow ([`Relief`]). What is not enough is said loudly, once.
//!
//! A writer who waits has an upload open, which extends the leases that ran when it began; if purges went on
//! leasing what they let go, nothing of its repository would come free before it gives up. So with a budget
//! every lease is written down when it is given, also of what a manifest holds, and a purge leases nothing
//! ([`Registry::leases_recorded_since`]): what is kept is what somebody who pushes was really told of.

mod promise;
mod relief;
mod room;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use relief::{Need, Relief, Relieved};

use super::Collector;
use crate::metadata::EventDetails;
use crate::registry::{BudgetLevel, BudgetState, Registry, RoomMaker, ServiceError};
use promise::Promise;
use room::Run;

/// How often it looks when nobody asks for room.
const UNASKED: Duration = Duration::from_secs(60);

/// How soon after a run that was not enough it tries again: a part of the shortest lease, within bounds.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// A run that was not enough takes at most one part in so many of the time, unless writers wait.
const SHARE: u32 = 8;

/// How it is doing, since the start of the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct PressureStatus {
    /// How often it made room, or tried to.
    pub runs: u64,
    /// The bytes that came free by that.
    pub bytes: u64,
}

/// Makes room.
pub struct RoomMaking {
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    relief: Option<Arc<dyn Relief>>,
    status: Mutex<PressureStatus>,
    promise: Mutex<Promise>,
    /// What was last said.
    told: Mutex<Option<BudgetLevel>>,
}

impl RoomMaking {
    /// Makes room in `registry` with its collector and, where there are policies, by what they allow.
    pub fn new(registry: Arc<Registry>, collector: Arc<Collector>, relief: Option<Arc<dyn Relief>>) -> Self {
        let (status, promise, told) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { registry, collector, relief, status, promise, told }
    }

    /// How it is doing.
    pub fn status(&self) -> PressureStatus {
        *lock(&self.status)
    }

    /// Makes room whenever that is asked for, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let maker = self.registry.pressure().make_room();
        loop {
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "no room could be made; it is tried again");
                    Some(AGAIN.1)
                }
            };
            if stop.run_until_cancelled(self.rest(&maker, pause)).await.is_none() {
                return;
            }
        }
    }

    /// Waits until room is asked for, or for a while. After a run that was not enough only those are heard who
    /// wait for it, and not at once: others ask with every body.
    async fn rest(&self, maker: &RoomMaker, pause: Option<Duration>) {
        let Some(pause) = pause else {
            let _ = tokio::time::timeout(UNASKED, maker.wanted()).await;
            return;
        };
        let asked = async {
            tokio::time::sleep(self.least_pause()).await;
            while !self.registry.pressure().is_waited_at() {
                maker.wanted().await;
            }
        };
        let _ = tokio::time::timeout(pause, asked).await;
    }

    fn least_pause(&self) -> Duration {
        (self.registry.settings().shortest_lease() / 16).clamp(AGAIN.0, AGAIN.1)
    }

    /// Makes room if it is needed. After which time to look again at the latest, if it is still needed then.
    ///
    /// # Errors
    /// [`ServiceError`]; the room that was made until then is made.
    pub async fn look(&self) -> Result<Option<Duration>, ServiceError> {
        let begun = tokio::time::Instant::now();
        if !self.is_needed().await? {
            return Ok(None);
        }
        self.collector.press(true);
        lock(&self.status).runs += 1;
        let made = Run::new(self).make_room().await;
        let needed = self.missing().await? > 0;
        self.collector.press(needed);
        self.registry.pressure().look_again();
        made?;
        if let Some(state) = self.registry.budget().await? {
            let level = if needed { self.registry.budget_level(&state) } else { BudgetLevel::Ample };
            self.registry.pressure().set_obstacle(needed.then(|| self.obstacle().to_owned()));
            self.tell(&state, level).await;
        }
        let pause = self.least_pause().max(begun.elapsed().saturating_mul(SHARE));
        Ok((needed || self.registry.pressure().is_waited_at()).then_some(pause))
    }

    /// Once room is being made, it is until less than the low mark is taken.
    async fn is_needed(&self) -> Result<bool, ServiceError> {
        let Some(state) = self.registry.budget().await? else {
            return Ok(false);
        };
        let goes_on = self.collector.is_pressed() && state.is_above_low();
        if goes_on || state.is_above_high() || self.registry.pressure().is_waited_at() {
            return Ok(true);
        }
        self.collector.press(false);
        self.tell(&state, BudgetLevel::Ample).await;
        Ok(false)
    }

    /// How many bytes have to come free.
    async fn missing(&self) -> Result<u64, ServiceError> {
        let state = self.registry.budget().await?;
        Ok(state.map_or(0, |state| state.taken().saturating_sub(state.low)))
    }

    /// How many will.
    fn promised(&self) -> u64 {
        lock(&self.promise).bytes(self.registry.clock().elapsed())
    }

    /// What keeps the space that is still needed. Clients read it, so it names no policy.
    fn obstacle(&self) -> &'static str {
        if self.promised() > 0 {
            "deleted images keep their space until their leases end (gc.lease_pressure)"
        } else if self.policies().is_empty() {
            "no retention policy lets images expire"
        } else {
            "the retention policies keep the rest"
        }
    }

    fn policies(&self) -> Vec<String> {
        self.relief.as_ref().map(|relief| relief.policies()).unwrap_or_default()
    }

    fn note_freed(&self, expected: u64, freed: u64) {
        let (elapsed, lease) = (self.registry.clock().elapsed(), self.registry.settings().shortest_lease());
        lock(&self.promise).note(elapsed, expected, freed, lease);
        lock(&self.status).bytes += freed;
    }

    /// Says how it stands, when that is news, and records it.
    async fn tell(&self, state: &BudgetState, level: BudgetLevel) {
        self.registry.note_state(event(state, level)).await;
        let before = lock(&self.told).replace(level).unwrap_or(BudgetLevel::Ample);
        if before == level {
            return;
        }
        let (budget, used, reserved, low) = (state.budget, state.used, state.reserved, state.low);
        let obstacle = self.obstacle();
        let policies = self.policies();
        match level {
            BudgetLevel::Ample => tracing::info!(budget, used, "there is room in the budget again"),
            BudgetLevel::High => tracing::error!(
                budget,
                used,
                reserved,
                low,
                obstacle,
                ?policies,
                "the budget is nearly used up, and too little may go: delete images, let policies expire more of \
                 them, or raise storage.budget"
            ),
            BudgetLevel::Full => tracing::error!(
                budget,
                used,
                reserved,
                low,
                obstacle,
                ?policies,
                "the budget is used up: pushes are refused; delete images, let policies expire more of them, or \
                 raise storage.budget"
            ),
        }
    }
}

fn event(state: &BudgetState, level: BudgetLevel) -> EventDetails {
    let BudgetState { budget, used, reserved, .. } = *state;
    match level {
        BudgetLevel::Ample => EventDetails::BudgetAmple { budget, used, reserved },
        BudgetLevel::High => EventDetails::BudgetHigh { budget, used, reserved },
        BudgetLevel::Full => EventDetails::BudgetFull { budget, used, reserved },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
