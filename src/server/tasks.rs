//! Background tasks that restart after a panic.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long to wait before a task that panicked is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(5);

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
    use std::sync::Arc;
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
