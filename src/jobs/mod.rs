//! What runs in the background. A [`Job`] does one bounded batch a tick and says whether more is waiting,
//! so that requests get their turn in between; the command line runs the same ticks.

mod audit;
pub mod backup;
mod collector;
pub mod fsck;
mod hashing;
pub mod pressure;
pub mod progress;
mod repositories;
pub mod retention;
pub mod scrub;
mod upkeep;
pub mod usage;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use audit::AuditUpkeep;
pub use collector::{Collected, Collector, CollectorSettings, CollectorStatus};
pub use pressure::{Need, Relief, Relieved, RoomMaking};
pub use repositories::RepositoryJob;
pub use retention::{PolicySet, Retention};
pub use scrub::{Scrub, ScrubSettings};
pub use upkeep::Upkeep;

use crate::registry::ServiceError;

/// How long a job with more to do lets others go first, for each moment that its last batch took: background
/// work takes a quarter of a processor and of the disk's time at most.
const BREATH: u32 = 3;

/// The longest that is: a batch that waited for others must not keep the next from coming.
const LONGEST_BREATH: Duration = Duration::from_secs(1);

/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Work in the background.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// Does one bounded batch. `true` if more is waiting.
    async fn tick(&self) -> Result<bool, ServiceError>;
}

/// Runs `job` every `interval`, give or take a tenth, until `stop`. A tick that has begun is finished. A job
/// that fails is tried again after a wait that doubles.
pub async fn run(job: Arc<dyn Job>, interval: Duration, stop: CancellationToken) {
    let mut wait = jittered(interval);
    let mut failures = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let began = Instant::now();
        wait = match job.tick().await {
            Ok(more) => {
                failures = 0;
                if more { breath(began.elapsed()) } else { jittered(interval) }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::error!(job = job.name(), %error, failures, "a background job failed; it is tried again");
                backoff(interval, failures)
            }
        };
    }
}

fn breath(took: Duration) -> Duration {
    took.saturating_mul(BREATH).min(LONGEST_BREATH)
}

fn backoff(interval: Duration, failures: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.min(10));
    jittered(doubled.clamp(interval.min(Duration::from_secs(1)), LONGEST_WAIT.max(interval)))
}

/// `interval`, give or take a tenth, so that servers that were started together do not work together.
pub(crate) fn jittered(interval: Duration) -> Duration {
    let share = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    interval.mul_f64(0.9 + share / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..1000 {
            let waited = jittered(Duration::from_secs(100));
            assert!((90..=110).contains(&waited.as_secs()), "{waited:?}");
        }
    }

    #[test]
    fn failures_wait_longer_and_longer_up_to_a_bound() {
        let interval = Duration::from_millis(200);
        assert!(backoff(interval, 3) > backoff(interval, 1));
        assert!(backoff(interval, 50) <= Duration::from_secs(66));
        assert!(backoff(Duration::from_secs(600), 50) <= Duration::from_secs(660));
    }
}
