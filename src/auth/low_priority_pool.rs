//! Work that takes a processor for long, done where nobody else wants it first.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long work waits for a processor that nobody wants, before it takes its share of those that all want.
const PATIENCE: Duration = Duration::from_millis(300);

/// Threads that stop at once where another needs their processor.
pub(super) struct LowPriorityPool {
    threads: Option<Handle>,
    /// One work is there at once: it has 19 MiB, and what never got a processor keeps them.
    place: Arc<Semaphore>,
}

impl LowPriorityPool {
    /// The threads of a runtime; without one all work is done as equals.
    pub(super) fn of(threads: Option<Handle>) -> Self {
        Self { threads, place: Arc::new(Semaphore::new(1)) }
    }

    /// Does work there, and here too where that takes too long. `None` if it could not be done.
    pub(super) async fn run<T, W>(&self, work: W) -> Option<T>
    where
        T: Send + 'static,
        W: Fn() -> T + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        if let (Some(threads), Ok(place)) = (&self.threads, Arc::clone(&self.place).try_acquire_owned()) {
            let theirs = Arc::clone(&work);
            let mut done = threads.spawn_blocking(move || {
                let _place = place;
                theirs()
            });
            if let Ok(Ok(done)) = timeout(PATIENCE, &mut done).await {
                return Some(done);
            }
        }
        spawn_blocking(move || work()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Mutex, PoisonError};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn threads() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).thread_name("aside").build().expect("threads")
    }

    fn name() -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

    #[tokio::test]
    async fn work_is_done_aside() {
        let threads = threads();
        let aside = LowPriorityPool::of(Some(threads.handle().clone()));
        assert_eq!(aside.run(name).await, Some(Some("aside".into())));
        assert_ne!(LowPriorityPool::of(None).run(name).await, Some(Some("aside".into())));
        threads.shutdown_background();
    }

    #[tokio::test]
    async fn work_that_waits_for_too_long_is_done_as_an_equal() {
        let threads = threads();
        let aside = Arc::new(LowPriorityPool::of(Some(threads.handle().clone())));
        let (go, wait) = channel::<()>();
        let wait: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(wait));
        let work = move || {
            let name = name();
            if name.as_deref() == Some("aside") {
                // As if it never got a processor.
                let _ = wait.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            name
        };
        let done = aside.run(work.clone()).await.expect("done");
        assert_ne!(done.as_deref(), Some("aside"));
        let next = aside.run(work).await.expect("done");
        assert_ne!(next.as_deref(), Some("aside"), "its place is taken");
        drop(go);
        threads.shutdown_background();
    }
}
