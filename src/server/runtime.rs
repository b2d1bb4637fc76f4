//! The threads that everything runs on.

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Runtime};

/// How many threads serve requests at most: more than this only take memory.
const MOST_WORKERS: usize = 16;

/// How many threads may wait for disks at once.
const BLOCKING: usize = 64;

/// How many files besides its connections a server may have open: blobs, uploads, the database.
const FILES: u64 = 1024;

/// Takes all the descriptors that the system gives: many start a service with 1024 for the asking of more.
pub(super) fn raise_descriptors(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let wanted = FILES.saturating_add(connections as u64);
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "too few files may be open for server.max_connections: raise the limit (ulimit -n)"
        );
    }
}

/// Lets this process leave no core file: passwords and keys would be in it.
pub fn leave_no_core_file() {
    // Also systemd-coredump, which is handed the core instead, goes by this limit.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// A runtime with a bounded number of threads, for requests.
///
/// # Errors
/// When the system gives no thread.
pub fn runtime() -> io::Result<Runtime> {
    let workers = available_parallelism().map_or(2, |cores| cores.get().clamp(2, MOST_WORKERS));
    with_workers(workers).build()
}

/// A runtime for background work, whose threads stop at once where a request needs their processor.
///
/// # Errors
/// When the system gives no thread.
pub fn background_runtime() -> io::Result<Runtime> {
    with_workers(1).on_thread_start(step_back).build()
}

/// Makes the calling thread run when no other wants to (`SCHED_IDLE`, sched(7)). A mere nice value isn't enough:
/// Linux lets a thread that has begun go on for milliseconds, and whoever pulls waits for them.
fn step_back() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // Where it is refused they work as equals.
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
}

fn with_workers(workers: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers);
    builder.max_blocking_threads(BLOCKING).thread_keep_alive(Duration::from_secs(5)).enable_all();
    builder
}
