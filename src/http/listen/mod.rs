//! The accept loop, over hyper itself: HTTP/1.1, HTTP/2 by prior knowledge or ALPN, TLS, Unix sockets.
//!
//! `axum::serve` is not used because it keeps no deadline, bounds nothing and cannot stop within a time.

mod again;
mod challenges;
mod connection;
mod endpoints;
mod handshake;
mod leaf;
mod open;
mod pulse;
mod reload;
mod sendfile;
mod settings;
mod tls;
mod watched;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use challenges::{Answered, Challenges};
pub use endpoints::{Answer, Listener, Outgoing, Peer};
pub use leaf::Leaf;
pub use reload::Tls;
pub use sendfile::Socket;
pub use settings::ListenSettings;
pub use tls::{TlsError, TlsFiles};

use again::Again;
use open::{Entry, Shared};
use pulse::Order;

/// Serves what `listener` accepts until `shutdown`; then accepts no more, lets the requests that have begun
/// finish within the settings' time, and returns when the last connection has ended.
pub async fn serve<L: Listener, A: Answer>(
    listener: L,
    answer: A,
    settings: ListenSettings,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let (drain_timeout, tls) = (settings.drain_timeout, settings.tls.clone());
    let shared = Arc::new(Shared::new(settings));
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let Ok(place) = free_place(&places, &shared).await else { return };
            let (io, peer) = next(&listener).await;
            let entry = Entry::new(Arc::clone(&shared), place);
            let answer = answer.clone();
            tasks.spawn(Again::new(async move {
                let pulse = Arc::clone(&entry.pulse);
                connection::serve(io, peer, answer, &entry.shared, pulse).await;
            }));
        }
    };
    let following = async {
        match &tls {
            Some(tls) => tls.follow().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accepting => {}
        () = following => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    tasks.close();
    shared.command(Order::Finish);
    if tokio::time::timeout(drain_timeout, tasks.wait()).await.is_err() {
        shared.command(Order::Abort);
        tasks.wait().await;
    }
}

/// A place for one more connection.
async fn free_place(places: &Arc<Semaphore>, shared: &Shared) -> Result<OwnedSemaphorePermit, AcquireError> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok(place);
    }
    tracing::warn!(limit = shared.settings.max_connections, "every connection is in use");
    shared.set_crowded(true);
    let place = Arc::clone(places).acquire_owned().await;
    shared.set_crowded(false);
    place
}

/// The next connection, however long it takes.
async fn next<L: Listener>(listener: &L) -> (L::Io, Peer) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_client_s(&error) => {}
            // Out of descriptors, most likely: the connections that end give some back.
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn is_the_client_s(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}
