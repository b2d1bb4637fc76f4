//! Signal handling. The first SIGTERM or SIGINT starts a graceful shutdown, the second exits at once. SIGHUP, which log
//! rotation sends, has no effect, because the server watches the files that may change.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging::Logs;

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
