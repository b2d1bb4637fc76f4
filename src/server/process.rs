//! The process: its Tokio runtimes, limits and signals. The first SIGTERM or SIGINT starts a graceful shutdown, the
//! second exits at once. SIGHUP, which log rotation sends, has no effect, because the server watches the files that may
//! change.

use std::io;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging::Logs;

/// Maximum number of threads that serve requests. More threads would only use more memory.
const MAX_WORKERS: usize = 16;

/// Maximum number of threads for blocking work such as disk I/O.
const MAX_BLOCKING_THREADS: usize = 64;

/// How many files a server may need to open besides its connections: blobs, uploads, the database.
const FILES_BESIDES_CONNECTIONS: u64 = 1024;

/// Raises the limit of open files to the maximum that the system allows, because many systems start services with a
/// lower limit (1024). Warns if the maximum is too low for this many connections.
pub(super) fn raise_open_file_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    // If raising fails, the server works with the current limit.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let wanted = FILES_BESIDES_CONNECTIONS.saturating_add(connections as u64);
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "the limit of open files is too low for server.max_connections: raise it (ulimit -n)"
        );
    }
}

/// Disables core dumps, because they would contain passwords and keys.
pub fn disable_core_files() {
    // systemd-coredump, which receives the core dump through a pipe, honours this limit too.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

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

/// Installs handlers for SIGTERM, SIGINT and SIGHUP. The first SIGTERM or SIGINT cancels the returned token; the second
/// exits the process.
///
/// # Errors
/// Fails if a signal handler cannot be installed.
pub(super) fn install_signal_handlers(logs: Arc<Logs>) -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(
                "SIGHUP ignored: certificates, keys and htpasswd files are reloaded when they change"
            );
        }
    });
    let token = CancellationToken::new();
    let signal_token = token.clone();
    tokio::spawn(async move {
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!("{name}: shutting down; no new connections, running transfers may finish");
        signal_token.cancel();
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!("{name} again: exiting at once");
        logs.flush();
        std::process::exit(1);
    });
    Ok(token)
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
