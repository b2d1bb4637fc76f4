//! Runs CPU-intensive work on low-priority threads. Work that takes too long there is also started on an ordinary
//! thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long work may take on a low-priority thread before it is also started on an ordinary thread.
const LOW_PRIORITY_TIMEOUT: Duration = Duration::from_millis(300);

/// Threads that run only while no other thread needs the processor.
#[derive(Debug)]
pub struct LowPriorityPool {
    threads: Option<Handle>,
    /// Admits one task at a time, because a task holds 19 MiB even while it waits for a processor.
    slot: Arc<Semaphore>,
}

impl LowPriorityPool {
    /// Uses the threads of this runtime. If `None`, all work runs on ordinary threads.
    pub fn new(threads: Option<Handle>) -> Self {
        Self { threads, slot: Arc::new(Semaphore::new(1)) }
    }

    /// Runs work on a low-priority thread if one is free. If none is, or if the work takes too long there, runs it on
    /// an ordinary thread. `None` if the work did not complete.
    pub async fn run<T, W>(&self, work: W) -> Option<T>
    where
        T: Send + 'static,
        W: Fn() -> T + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        if let (Some(threads), Ok(slot)) = (&self.threads, Arc::clone(&self.slot).try_acquire_owned()) {
            let low_priority_work = Arc::clone(&work);
            let mut task = threads.spawn_blocking(move || {
                let _slot = slot;
                low_priority_work()
            });
            if let Ok(Ok(result)) = timeout(LOW_PRIORITY_TIMEOUT, &mut task).await {
                return Some(result);
            }
        }
        spawn_blocking(move || work()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use parking_lot::Mutex;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn threads() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).thread_name("low-priority").build().expect("threads")
    }

    fn thread_name() -> Option<String> {
        std::thread::current().name().map(str::to_owned)
    }

    #[tokio::test]
    async fn runs_work_on_low_priority_threads() {
        let threads = threads();
        let pool = LowPriorityPool::new(Some(threads.handle().clone()));
        assert_eq!(pool.run(thread_name).await, Some(Some("low-priority".into())));
        assert_ne!(LowPriorityPool::new(None).run(thread_name).await, Some(Some("low-priority".into())));
        threads.shutdown_background();
    }

    #[tokio::test]
    async fn slow_work_runs_on_ordinary_thread() {
        let threads = threads();
        let pool = Arc::new(LowPriorityPool::new(Some(threads.handle().clone())));
        let (release, blocked) = channel::<()>();
        let blocked: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(blocked));
        let work = move || {
            let name = thread_name();
            if name.as_deref() == Some("low-priority") {
                // Behave as if this thread never got a processor.
                let _ = blocked.lock().recv();
            }
            name
        };
        let done = pool.run(work.clone()).await.expect("done");
        assert_ne!(done.as_deref(), Some("low-priority"));
        let next = pool.run(work).await.expect("done");
        assert_ne!(next.as_deref(), Some("low-priority"), "the low-priority slot is still taken");
        drop(release);
        threads.shutdown_background();
    }
}
