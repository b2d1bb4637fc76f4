//! Background work that outlives its own panics.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long to wait before work that panicked is begun anew.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs `work`, anew whenever it panics, until it ends by itself or `stop` is cancelled. The panic itself
/// is logged by the hook.
pub(super) async fn supervise<F>(name: &'static str, stop: CancellationToken, work: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let running = tokio::spawn(stop.clone().run_until_cancelled_owned(work()));
        match running.await {
            Err(error) if error.is_panic() => {
                tracing::error!(task = name, "begins anew in {} s", PAUSE.as_secs());
                if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
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
    async fn work_that_panics_is_begun_anew() {
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        supervise("test", CancellationToken::new(), move || {
            let count = Arc::clone(&count);
            async move {
                assert_eq!(count.fetch_add(1, Ordering::SeqCst), 1, "the first time");
            }
        })
        .await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
