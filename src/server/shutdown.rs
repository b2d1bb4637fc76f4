//! Ending: politely at the first signal, at once at the second.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::logging::Logs;

/// Listens to SIGTERM and SIGINT from now on. The token is cancelled by the first of them; the second ends
/// the process.
///
/// # Errors
/// When signals cannot be listened to.
pub(super) fn on_signal(logs: Arc<Logs>) -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
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
