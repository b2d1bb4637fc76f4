//! Which work runs when: requests come first, also on a machine with one processor.
//!
//! | device | for | why no other |
//! | --- | --- | --- |
//! | [`background_runtime`] | jobs: collector, retention, scrub, disk pressure, measurements | nothing waits for them, so their threads run only while the processor is idle |
//! | [`LowPriorityPool`] | password hashes | a client waits, so work that gets no processor in time also starts on an ordinary thread |
//! | [`WriterYield`] | the thread that writes the metadata | pushes wait for it too, and a thread that has lowered its priority may not raise it again; so it gives the processor away between two operations, while no request waits |
//!
//! How long one connection is served before the others is limited in `http/listen/time_slice.rs`.

mod low_priority_pool;
mod writer_yield;

pub use low_priority_pool::LowPriorityPool;
pub use writer_yield::WriterYield;

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Runtime};

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
