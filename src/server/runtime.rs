//! The threads that everything runs on.

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// How many threads serve requests at most: more than this only take memory.
const MOST_WORKERS: usize = 16;

/// How many threads may wait for disks at once.
const BLOCKING: usize = 64;

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
