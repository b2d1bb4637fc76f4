//! Background jobs. A [`Job`] does one bounded batch per tick and reports whether more work is waiting, so that
//! requests get their turn in between. The command line runs the same ticks.

mod background;
mod collector;
mod eviction;
pub mod pressure;
mod repositories;
pub mod retention;
mod schedule;
pub mod scrub;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use background::{Background, BackgroundJob, BackgroundReport};
pub use collector::{Collected, Collector, CollectorSettings, CollectorStatus};
pub use eviction::{Evicted, Evictor, SpaceGoal};
pub use pressure::SpaceReclaimer;
pub use repositories::RepositoryJob;
pub use retention::{PolicySet, Retention};
pub use schedule::{JobSchedule, JobState};
pub use scrub::{Scrub, ScrubSettings};
pub use upkeep::{AuditUpkeep, Upkeep};

use crate::errors::Chain;
use crate::registry::ServiceError;

/// How long a job with more work pauses, as a multiple of the time its last batch took. With 3, background work
/// uses at most a quarter of a processor and of the disk's time.
const PAUSE_FACTOR: u32 = 3;

/// The longest pause between two batches. A batch that had to wait for others must not delay the next one for long.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait after failures, unless the interval itself is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A background job.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Returns the job's name, for logs.
    fn name(&self) -> &'static str;

    /// Does one bounded batch. Returns `true` if more work is waiting.
    async fn tick(&self) -> Result<bool, ServiceError>;

    /// Returns where its runs are recorded and can be requested.
    fn schedule(&self) -> Option<&JobSchedule> {
        None
    }
}

/// Runs `job` every `interval`, give or take a tenth, and on request, until `stop` is cancelled. A tick that has started is
/// finished. After a failure the job is retried with a wait that doubles each time.
pub async fn run(job: Arc<dyn Job>, interval: Duration, stop: CancellationToken) {
    let mut wait = jittered(interval);
    let mut failures = 0_u32;
    loop {
        if let Some(schedule) = job.schedule() {
            schedule.record_wait(wait);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
            () = wait_for_request(job.as_ref()) => {}
        }
        let started = Instant::now();
        if let Some(schedule) = job.schedule() {
            schedule.record_start();
        }
        let outcome = job.tick().await;
        if let Some(schedule) = job.schedule() {
            schedule.record_end(&outcome);
        }
        wait = match outcome {
            Ok(more) => {
                failures = 0;
                if more { pause_after(started.elapsed()) } else { jittered(interval) }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let error = Chain(&error);
                tracing::error!(job = job.name(), %error, failures, "background job failed; retrying");
                backoff(interval, failures)
            }
        };
    }
    if let Some(schedule) = job.schedule() {
        schedule.record_stop();
    }
}

/// Waits until a run of the job is requested.
async fn wait_for_request(job: &dyn Job) {
    match job.schedule() {
        Some(schedule) => schedule.wait_for_request().await,
        None => std::future::pending().await,
    }
}

fn pause_after(batch_time: Duration) -> Duration {
    batch_time.saturating_mul(PAUSE_FACTOR).min(MAX_PAUSE)
}

fn backoff(interval: Duration, failures: u32) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.min(10));
    jittered(doubled.clamp(interval.min(Duration::from_secs(1)), MAX_BACKOFF.max(interval)))
}

/// Returns `interval`, give or take a tenth, so that servers started together do not run their jobs together.
pub(crate) fn jittered(interval: Duration) -> Duration {
    let share = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
    interval.mul_f64(0.9 + share / 5.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    /// A job that needs two batches for each run. The third run fails.
    struct Counting {
        schedule: JobSchedule,
        ticks: AtomicU32,
    }

    #[async_trait]
    impl Job for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        async fn tick(&self) -> Result<bool, ServiceError> {
            match self.ticks.fetch_add(1, Ordering::SeqCst) + 1 {
                5 => Err(ServiceError::Busy),
                tick => Ok(tick % 2 == 1),
            }
        }

        fn schedule(&self) -> Option<&JobSchedule> {
            Some(&self.schedule)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn runs_are_recorded_and_requested() {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
        let schedule = JobSchedule::new(clock.clone());
        let job = Arc::new(Counting { schedule, ticks: AtomicU32::new(0) });
        assert_eq!(job.schedule.state(), JobState::default());
        assert!(!job.schedule.request_run(), "nothing runs the job");
        let stop = CancellationToken::new();
        let hour = Duration::from_secs(3600);
        let running = tokio::spawn(run(Arc::clone(&job) as Arc<dyn Job>, hour, stop.clone()));
        let run_once = async || {
            let before = job.ticks.load(Ordering::SeqCst);
            while !job.schedule.request_run() {
                tokio::task::yield_now().await;
            }
            while job.ticks.load(Ordering::SeqCst) == before || job.schedule.state().running {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            job.schedule.state()
        };
        let state = run_once().await;
        assert_eq!(job.ticks.load(Ordering::SeqCst), 2);
        assert_eq!((state.started_at, state.finished_at), (Some(Timestamp(1_000)), Some(Timestamp(1_000))));
        assert!(state.error.is_none());
        clock.advance(Duration::from_secs(1));
        assert_eq!(run_once().await.started_at, Some(Timestamp(2_000)));
        assert!(run_once().await.error.is_some());
        stop.cancel();
        running.await.expect("ended");
        assert_eq!((job.schedule.state().next_at, job.schedule.request_run()), (None, false));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..1000 {
            let waited = jittered(Duration::from_secs(100));
            assert!((90..=110).contains(&waited.as_secs()), "{waited:?}");
        }
    }

    #[test]
    fn backoff_grows_with_failures_up_to_a_limit() {
        let interval = Duration::from_millis(200);
        assert!(backoff(interval, 3) > backoff(interval, 1));
        assert!(backoff(interval, 50) <= Duration::from_secs(66));
        assert!(backoff(Duration::from_secs(600), 50) <= Duration::from_secs(660));
    }
}
