//! The process: its limits and signals. The first SIGTERM or SIGINT starts a graceful shutdown, the
//! second exits at once. SIGHUP, which log rotation sends, has no effect, because the server watches the files that may
//! change.

use std::io;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging::Logs;

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
