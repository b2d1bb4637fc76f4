//! Background tasks that restart after a panic.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::jobs::{self, Job};

/// How long to wait before a task that panicked is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(5);

/// Where background work runs, and the token that stops it.
pub(super) struct Tasks<'a> {
    pub(super) tracker: &'a TaskTracker,
    pub(super) background: &'a Handle,
    pub(super) stop: &'a CancellationToken,
}

impl Tasks<'_> {
    /// Runs `work` with `shared` until it is stopped, not in the background.
    pub(super) fn supervise<T, F>(
        &self,
        name: &'static str,
        shared: &Arc<T>,
        work: impl Fn(Arc<T>) -> F + Send + 'static,
    ) where
        T: Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::clone(shared);
        self.tracker.spawn(supervise(name, self.stop.clone(), move || work(Arc::clone(&shared))));
    }

    /// Runs `job` at intervals, in the background.
    pub(super) fn spawn_job(&self, job: Arc<dyn Job>, interval: Duration) {
        let name = job.name();
        let token = self.stop.clone();
        let run = move || jobs::run(Arc::clone(&job), interval, token.clone());
        self.tracker.spawn_on(supervise(name, CancellationToken::new(), run), self.background);
    }
}

/// Runs `work` and restarts it after a panic, until it returns or `stop` is cancelled. The panic hook logs the panic
/// itself.
pub(super) async fn supervise<F>(name: &'static str, stop: CancellationToken, work: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let running = tokio::spawn(stop.clone().run_until_cancelled_owned(work()));
        match running.await {
            Err(error) if error.is_panic() => {
                tracing::error!(task = name, "task panicked; restarting in {} s", RESTART_DELAY.as_secs());
                if stop.run_until_cancelled(tokio::time::sleep(RESTART_DELAY)).await.is_none() {
                    return;
                }
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn restarts_work_that_panics() {
        let starts = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&starts);
        supervise("test", CancellationToken::new(), move || {
            let count = Arc::clone(&count);
            async move {
                assert_eq!(count.fetch_add(1, Ordering::SeqCst), 1, "panics the first time");
            }
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
}
