//! Signals. SIGTERM and SIGINT end the server: politely at the first, at once at the second. SIGHUP, which rotators of
//! logs send, changes nothing: files that can change are watched anyway.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging::Logs;

/// Listens to SIGTERM, SIGINT and SIGHUP from now on. The token is cancelled by the first of them; the second ends
/// the process.
///
/// # Errors
/// When signals cannot be listened to.
pub(super) fn on_signal(logs: Arc<Logs>) -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(
                "SIGHUP: nothing to do; certificates, keys and users' files are read again when they change"
            );
        }
    });
    let token = CancellationToken::new();
    let first = token.clone();
    tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::info!("{name}: no more connections are accepted; running transfers may finish");
        first.cancel();
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::warn!("{name} again: ending at once");
        logs.flush();
        std::process::exit(1);
    });
    Ok(token)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
