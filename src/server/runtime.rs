//! The threads that everything runs on.

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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

/// A runtime with a bounded number of threads.
///
/// # Errors
/// When the system gives no thread.
pub fn runtime() -> io::Result<Runtime> {
    let workers = available_parallelism().map_or(2, |cores| cores.get().clamp(2, MOST_WORKERS));
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
}
