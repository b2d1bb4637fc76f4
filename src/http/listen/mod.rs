//! The accept loop, built on hyper: HTTP/1.1, HTTP/2 by prior knowledge or ALPN, TLS, Unix sockets.
//!
//! `axum::serve` is not used because it has no deadlines and no limits, and cannot stop within a set time.

mod challenges;
mod clients;
mod connection;
mod connection_state;
mod endpoints;
mod inbound;
mod linger;
mod metered_io;
mod open;
mod peer;
mod repoll;
mod request;
mod sendfile;
mod settings;
mod streams;
mod time_slice;
mod tls;
mod waiting;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use challenges::{ActiveChallenge, Challenges};
pub use endpoints::{Dialect, Handler, Listener, RequestContext};
pub use inbound::Inbound;
pub use peer::Peer;
pub use request::ResponseBody;
pub use sendfile::Socket;
pub use settings::ListenSettings;
pub use tls::{Leaf, Tls, TlsError, TlsFiles};

use connection_state::CloseRequest;
use open::Shared;
use repoll::RepollOnSelfWake;
use waiting::Waiting;

/// Serves the connections of `listener` until `shutdown`. It then accepts no more, lets open requests finish
/// within the settings' `drain_timeout`, and returns when the last connection has ended.
pub async fn serve<L: Listener, A: Handler>(
    listener: L,
    handler: A,
    settings: ListenSettings,
    shutdown: CancellationToken,
) {
    let drain_timeout = settings.drain_timeout;
    let tls = settings.tls.clone();
    let shared = Arc::new(Shared::new(settings));
    let tasks = TaskTracker::new();
    let accepting = accept_connections(&listener, &handler, &shared, &tasks);
    let following = async {
        match &tls {
            Some(tls) => tls.watch_files().await,
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
    shared.close_connections(CloseRequest::AfterRequests);
    if tokio::time::timeout(drain_timeout, tasks.wait()).await.is_err() {
        shared.close_connections(CloseRequest::Immediately);
        tasks.wait().await;
    }
}

/// How often connections are closed to make room for waiting ones.
const CLOSE_INTERVAL: Duration = Duration::from_millis(100);

/// Serves each connection, or queues it until a slot is free.
async fn accept_connections<L: Listener, A: Handler>(
    listener: &L,
    handler: &A,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) {
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            accepted = accept_next(listener), if waiting.has_capacity(shared) => {
                let (io, peer) = accepted;
                if let Some(io) = admit(io, peer, handler, shared, tasks) {
                    waiting.push(io, peer, shared);
                }
            }
            () = tokio::time::sleep(CLOSE_INTERVAL), if !waiting.is_empty() => waiting.make_room(shared),
            () = shared.connection_closed.notified() => {
                waiting.retry(|io, peer| admit(io, peer, handler, shared, tasks));
            }
        }
        shared.set_crowded(!waiting.is_empty());
    }
}

/// Serves a connection if a slot is free for it; otherwise returns it.
fn admit<S: Socket, A: Handler>(
    io: S,
    peer: Peer,
    handler: &A,
    shared: &Arc<Shared>,
    tasks: &TaskTracker,
) -> Option<S> {
    let Some(guard) = shared.admit(peer) else { return Some(io) };
    let state = Arc::clone(&guard.state);
    let serving = connection::serve(io, peer, handler.clone(), Arc::new(guard));
    tasks.spawn(RepollOnSelfWake::new(serving, state));
    None
}

/// Waits for the next connection, retrying after errors.
async fn accept_next<L: Listener>(listener: &L) -> (L::Io, Peer) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_client_error(&error) => {}
            // Usually the process is out of file descriptors, which connections release as they end.
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed; retrying");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}
