//! Both ends of the loop: where connections come from, and who answers what they ask.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::inbound::Inbound;
use super::request::OpenRequest;
use super::sendfile::Socket;
use crate::store::FilePart;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network.
    Tcp(SocketAddr),
    /// Somebody on the network behind a proxy that is believed.
    Proxied(IpAddr),
    /// Somebody on this machine.
    Unix,
}

impl Peer {
    /// What it is called where nobody has a name yet: its address without the port, which says nothing later.
    pub fn name(self) -> String {
        self.address().map_or_else(|| "admin socket".into(), |address| address.to_string())
    }

    /// The address, of those who have one. One of version 4 is told as such.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Proxied(address) => Some(address.to_canonical()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Proxied(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A response's body, of which the next bytes may be a part of a file.
pub trait ResponseBody {
    /// The next bytes, if they are a part of a file that can be sent at once. They count as given then.
    fn next_part(&mut self) -> Option<FilePart> {
        None
    }

    /// How many bytes of it are in memory before it is asked for any; `None` if it reads them as it is asked.
    fn in_memory(&self) -> Option<usize>;

    /// Reads at most so many bytes at once from now on.
    fn limit_pieces(&mut self, _bytes: usize) {}
}

impl ResponseBody for axum::body::Body {
    fn in_memory(&self) -> Option<usize> {
        // One of unknown length is made as it is asked for.
        let exact = self.size_hint().exact();
        exact.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

/// In which format a client expects errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The distribution specification's.
    Distribution,
    /// Problem details (RFC 9457).
    Problem,
}

impl Dialect {
    /// That of the endpoint at `path`.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/api/") { Self::Problem } else { Self::Distribution }
    }
}

/// Where a request comes from, as far as the connection knows it.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// Who is at the other end.
    pub peer: Peer,
    pub(super) open: &'a OpenRequest,
}

impl RequestContext<'_> {
    /// The same for the client that a proxy names.
    #[must_use]
    pub fn from_peer(self, peer: Peer) -> Self {
        Self { peer, ..self }
    }

    /// The client is known, or need not be: its connection and this request no longer count as anonymous.
    pub fn note_authenticated(&self) {
        self.open.note_authenticated();
    }

    /// Whether its connection no longer counts as anonymous.
    pub fn is_authenticated(&self) -> bool {
        self.open.pulse().is_authenticated()
    }

    /// The client is this user.
    pub fn note_user(&self, user: &str) {
        self.open.note_user(user);
    }

    /// The request is a client's work, and a reason to keep the connection; a probe is none.
    pub fn note_useful(&self) {
        self.open.pulse().note_useful();
    }
}

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of the responses. Dropped when it has been sent or the client is gone.
    type Body: ResponseBody
        + Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// The answer to a request for which there is no memory: 503 with `Retry-After`, in the words of its protocol.
    fn overloaded(&self, dialect: Dialect) -> Response<Self::Body>;

    /// Answers one request. Dropped when the client is gone.
    fn answer(
        &self,
        request: Request<Inbound>,
        context: RequestContext<'_>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// An axum router answers too, with nothing logged or counted. It finds the [`Peer`] among the request's
/// extensions.
impl Handler for axum::Router {
    type Body = axum::body::Body;

    fn overloaded(&self, _dialect: Dialect) -> Response<Self::Body> {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response
    }

    async fn answer(
        &self,
        mut request: Request<Inbound>,
        context: RequestContext<'_>,
    ) -> Response<Self::Body> {
        context.note_useful();
        request.extensions_mut().insert(context.peer);
        match tower::ServiceExt::oneshot(self.clone(), request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Where connections come from.
pub trait Listener: Send {
    /// A connection's bytes.
    type Io: Socket;

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
