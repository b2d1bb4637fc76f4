//! The accept loop, over hyper itself: HTTP/1.1, HTTP/2 by prior knowledge or ALPN, TLS, Unix sockets.
//!
//! `axum::serve` is not used because it keeps no deadline, bounds nothing and cannot stop within a time.

mod connection;
mod pulse;
mod tls;
mod watched;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use tls::{TlsError, load as load_tls};

use pulse::{Order, Pulse};

/// How connections are served.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// The most connections at once; more of them wait in the system's queue.
    pub max_connections: usize,
    /// How long a client may take for its TLS handshake and for a request's head.
    pub head_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
    pub write_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long requests may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// The most bytes of a request's head.
    pub max_header_size: usize,
    /// The most bytes that are read or written at once on a connection.
    pub buffer_size: usize,
    /// The most requests at once on a connection of HTTP/2.
    pub max_streams: u32,
    /// How many bytes of a request's body may be under way in HTTP/2; four times that on a connection.
    pub stream_window: u32,
    /// TLS, if it is to be spoken: see [`load_tls`].
    pub tls: Option<Arc<ServerConfig>>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            // Longer than Go's clients keep their idle connections (90 s), so that theirs is the first move.
            idle_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
            max_header_size: 64 * 1024,
            buffer_size: 128 * 1024,
            max_streams: 128,
            stream_window: 1024 * 1024,
            tls: None,
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network.
    Tcp(SocketAddr),
    /// Somebody on this machine.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Answers requests.
pub trait Answer: Clone + Send + Sync + 'static {
    /// The body of the responses. Dropped when it has been sent or the client is gone.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static;

    /// Answers one request. Dropped when the client is gone.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// An axum router answers too, with nothing logged or counted.
impl Answer for axum::Router {
    type Body = axum::body::Body;

    async fn answer(&self, request: Request<Incoming>, _peer: Peer) -> Response<Self::Body> {
        match tower::ServiceExt::oneshot(self.clone(), request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Where connections come from.
pub trait Listener: Send {
    /// A connection's bytes.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = Self::accept(self).await?;
        // Or a small answer waits 40 ms for the client's acknowledgement of the one before it.
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Tcp(address)))
    }
}

impl Listener for UnixListener {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _address) = Self::accept(self).await?;
        Ok((stream, Peer::Unix))
    }
}

/// Serves what `listener` accepts until `shutdown`; then accepts no more, lets the requests that have begun
/// finish within the settings' time, and returns when the last connection has ended.
pub async fn serve<L: Listener, A: Answer>(
    listener: L,
    answer: A,
    settings: ListenSettings,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let drain_timeout = settings.drain_timeout;
    let shared = Arc::new(Shared::new(settings));
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let Ok(place) = free_place(&places, &shared).await else { return };
            let (io, peer) = next(&listener).await;
            let entry = Entry::new(Arc::clone(&shared), place);
            let answer = answer.clone();
            tasks.spawn(async move {
                let pulse = Arc::clone(&entry.pulse);
                connection::serve(io, peer, answer, &entry.shared, pulse).await;
            });
        }
    };
    tokio::select! {
        () = accepting => {}
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
async fn free_place(
    places: &Arc<Semaphore>,
    shared: &Shared,
) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok(place);
    }
    tracing::warn!(limit = shared.settings.max_connections, "every connection is in use");
    shared.crowded.store(true, Relaxed);
    let place = Arc::clone(places).acquire_owned().await;
    shared.crowded.store(false, Relaxed);
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

/// What a listener's connections have in common.
struct Shared {
    settings: ListenSettings,
    crowded: AtomicBool,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    pulses: HashMap<u64, Arc<Pulse>>,
}

impl Shared {
    fn new(settings: ListenSettings) -> Self {
        Self { settings, crowded: AtomicBool::new(false), open: Mutex::default() }
    }

    fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    fn command(&self, order: Order) {
        self.open().pulses.values().for_each(|pulse| pulse.command(order));
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the list of those that are open, for as long as this lives.
struct Entry {
    shared: Arc<Shared>,
    id: u64,
    pulse: Arc<Pulse>,
    _place: OwnedSemaphorePermit,
}

impl Entry {
    fn new(shared: Arc<Shared>, place: OwnedSemaphorePermit) -> Self {
        let pulse = Arc::<Pulse>::default();
        let mut open = shared.open();
        let id = open.next;
        open.next += 1;
        open.pulses.insert(id, Arc::clone(&pulse));
        drop(open);
        Self { shared, id, pulse, _place: place }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.open().pulses.remove(&self.id);
    }
}
