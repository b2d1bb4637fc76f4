//! Which work runs when: requests come first, also on a machine with one processor.
//!
//! | device | for | why no other |
//! | --- | --- | --- |
//! | [`background_runtime`] | jobs: collector, retention, scrub, disk pressure, measurements | nothing waits for them, so their threads run only while the processor is idle |
//! | [`LowPriorityPool`] | password hashes | a client waits, so work that gets no processor in time also starts on an ordinary thread |
//! | [`WriterYield`] | the thread that writes the metadata | pushes wait for it too, and a thread that has lowered its priority may not raise it again; so it gives the processor away between two operations, while no request waits |
//!
//! How long one connection is served before the others is limited in `http/listen/time_slice.rs`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// Maximum number of threads that serve requests. More threads would only use more memory.
const MAX_WORKERS: usize = 16;

/// Maximum number of threads for blocking work such as disk I/O.
const MAX_BLOCKING_THREADS: usize = 64;

/// Builds the runtime for requests, with a bounded number of threads.
///
/// # Errors
/// Fails if no thread can be started.
pub fn request_runtime() -> io::Result<Runtime> {
    let workers = available_parallelism().map_or(2, |cores| cores.get().clamp(2, MAX_WORKERS));
    runtime_builder(workers).build()
}

/// Builds the runtime for background work. Its threads run only while requests leave the processor idle.
///
/// # Errors
/// Fails if no thread can be started.
pub fn background_runtime() -> io::Result<Runtime> {
    runtime_builder(1).on_thread_start(lower_priority).build()
}

/// Makes the calling thread run only when no other thread needs the processor (`SCHED_IDLE`, sched(7)). A nice value is
/// not enough: Linux lets a running thread continue for milliseconds, which delays pulls.
fn lower_priority() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // If the system refuses, background threads run with normal priority.
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
}

fn runtime_builder(workers: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers);
    builder.max_blocking_threads(MAX_BLOCKING_THREADS).thread_keep_alive(Duration::from_secs(5)).enable_all();
    builder
}

/// How long work may take on a low-priority thread before it is also started on an ordinary thread.
const LOW_PRIORITY_TIMEOUT: Duration = Duration::from_millis(300);

/// Runs CPU-intensive work on threads that run only while no other thread needs the processor.
#[derive(Debug, Clone)]
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

/// Runs work on a thread for blocking work, and returns its result with `held`: a reservation, or a permit that bounds
/// how much such work runs at once. The work itself holds it, because it continues even if the client disconnects.
///
/// # Errors
/// Fails if the work panicked.
pub async fn run_blocking_with<H, T>(
    held: H,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, H), JoinError>
where
    H: Send + 'static,
    T: Send + 'static,
{
    spawn_blocking(move || (work(), held)).await
}

/// Counts the changes that requests wait for, so that the writer yields the processor during work that none waits for.
/// Garbage collection writes for tens of milliseconds at a time. Linux lets a running thread continue for milliseconds,
/// and pulls wait for it.
#[derive(Debug, Clone, Default)]
pub struct WriterYield(Arc<AtomicUsize>);

impl WriterYield {
    /// Yields the processor if no request waits. The writer calls this about every 100 µs.
    pub fn yield_if_idle(&self) {
        if self.may_yield() {
            std::thread::yield_now();
        }
    }

    /// Records that a request waits for a change.
    pub fn add_waiter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that `count` requests no longer wait.
    pub fn remove_waiters(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    fn may_yield(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use parking_lot::Mutex;

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

    #[test]
    fn yields_only_while_no_request_waits() {
        let writer_yield = WriterYield::default();
        assert!(writer_yield.may_yield());
        writer_yield.add_waiter();
        writer_yield.add_waiter();
        writer_yield.remove_waiters(1);
        assert!(!writer_yield.may_yield());
        writer_yield.remove_waiters(1);
        assert!(writer_yield.may_yield());
    }
}
