//! The interfaces of the accept loop: listeners that supply connections, and handlers that answer requests.

use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::inbound::Inbound;
use super::peer::Peer;
use super::request::{OpenRequest, ResponseBody};
use super::sendfile::Socket;

/// The format of errors that a client expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The format of the distribution specification.
    Distribution,
    /// Problem details (RFC 9457).
    Problem,
}

impl Dialect {
    /// The dialect of the endpoint at `path`.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/api/") { Self::Problem } else { Self::Distribution }
    }
}

/// The origin of a request, as far as the connection knows it.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// The peer of a connection.
    pub peer: Peer,
    pub(super) open: &'a OpenRequest,
}

impl RequestContext<'_> {
    /// Returns the context of the client that a proxy names.
    #[must_use]
    pub fn from_peer(self, peer: Peer) -> Self {
        Self { peer, ..self }
    }

    /// Records that the client is authenticated or need not be: its connection and this request no longer
    /// count as anonymous.
    pub fn mark_authenticated(&self) {
        self.open.mark_authenticated();
    }

    /// Whether its connection no longer counts as anonymous.
    pub fn is_authenticated(&self) -> bool {
        self.open.state().is_authenticated()
    }

    /// Records that the client is this user.
    pub fn record_user(&self, user: &str) {
        self.open.guard.record_user(user);
    }

    /// Records that the request is part of a client's work, a reason to keep the connection; a probe is not.
    pub fn mark_work(&self) {
        self.open.state().mark_work();
    }
}

/// Handles requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of the responses. It is dropped when it has been sent or the client has disconnected.
    type Body: ResponseBody
        + Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// The response to a request for which there is no memory: 503 with `Retry-After`, in the format of
    /// `dialect`.
    fn overloaded(&self, dialect: Dialect) -> Response<Self::Body>;

    /// Handles one request. The future is dropped if the client disconnects.
    fn handle(
        &self,
        request: Request<Inbound>,
        context: RequestContext<'_>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// An axum router is a handler without logs or metrics. It finds the [`Peer`] in the request's extensions.
impl Handler for axum::Router {
    type Body = axum::body::Body;

    fn overloaded(&self, _dialect: Dialect) -> Response<Self::Body> {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response
    }

    async fn handle(
        &self,
        mut request: Request<Inbound>,
        context: RequestContext<'_>,
    ) -> Response<Self::Body> {
        context.mark_work();
        request.extensions_mut().insert(context.peer);
        match tower::ServiceExt::oneshot(self.clone(), request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// A source of connections.
pub trait Listener: Send {
    /// The byte stream of a connection.
    type Io: Socket;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = Self::accept(self).await?;
        // Without it, a small response waits 40 ms for the client to acknowledge the previous one.
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
