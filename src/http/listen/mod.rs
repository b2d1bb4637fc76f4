//! The accept loop, over hyper itself: HTTP/1.1, HTTP/2 by prior knowledge or ALPN, TLS, Unix sockets.
//!
//! `axum::serve` is not used because it keeps no deadline, bounds nothing and cannot stop within a time.

mod brake;
mod challenges;
mod clients;
mod connection;
mod connection_state;
mod endpoints;
mod handshake;
mod inbound;
mod leaf;
mod linger;
mod metered_io;
mod open;
mod reload;
mod repoll;
mod request;
mod sendfile;
mod settings;
mod streams;
mod tls;
mod turn;
mod waiting;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use challenges::{Answered, Challenges};
pub use endpoints::{Dialect, Handler, Listener, Peer, RequestContext, ResponseBody};
pub use inbound::Inbound;
pub use leaf::Leaf;
pub use reload::Tls;
pub use sendfile::Socket;
pub use settings::ListenSettings;
pub use tls::{TlsError, TlsFiles};

use connection_state::Order;
use open::Shared;
use repoll::RepollOnSelfWake;
use waiting::Waiting;

/// Serves what `listener` accepts until `shutdown`; then accepts no more, lets the requests that have begun
/// finish within the settings' time, and returns when the last connection has ended.
pub async fn serve<L: Listener, A: Handler>(
    listener: L,
    answer: A,
    settings: ListenSettings,
    shutdown: CancellationToken,
) {
    let (drain_timeout, tls) = (settings.drain_timeout, settings.tls.clone());
    let shared = Arc::new(Shared::new(settings));
    let tasks = TaskTracker::new();
    let accepting = accept_all(&listener, &answer, &shared, &tasks);
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

/// How often room is made for those that wait, for which there was none when they came.
const MAKE_ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// Serves every connection that comes, or lets it wait until there is a place for it.
async fn accept_all<L: Listener, A: Handler>(
    listener: &L,
    answer: &A,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) {
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            accepted = next(listener), if waiting.takes_more(shared) => {
                let (io, peer) = accepted;
                if let Some(io) = admit(io, peer, answer, shared, tasks) {
                    waiting.take(io, peer, shared);
                }
            }
            () = tokio::time::sleep(MAKE_ROOM_INTERVAL), if !waiting.is_empty() => waiting.make_room(shared),
            () = shared.place_freed.notified() => {
                waiting.retry(|io, peer| admit(io, peer, answer, shared, tasks));
            }
        }
        shared.set_crowded(!waiting.is_empty());
    }
}

/// Serves a connection if there is a place for it; else gives it back.
fn admit<S: Socket, A: Handler>(
    io: S,
    peer: Peer,
    answer: &A,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) -> Option<S> {
    let Some(entry) = shared.admit(peer) else { return Some(io) };
    let (answer, pulse) = (answer.clone(), Arc::clone(&entry.pulse));
    tasks.spawn(RepollOnSelfWake::new(connection::serve(io, peer, answer, Arc::new(entry)), pulse));
    None
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
