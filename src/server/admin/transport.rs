//! Transport of command-line requests: the admin socket, or a router in this process.

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::client::conn::http1::SendRequest;
use tower::ServiceExt;

use super::ClientError;
use crate::http::listen::Peer;

/// A transport to a router.
pub(super) enum Transport {
    /// The socket of a running server.
    Socket(SendRequest<Body>),
    /// A router over a store that this process has opened.
    InProcess(Router),
}

impl Transport {
    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Body>, ClientError> {
        match self {
            Self::Socket(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request).await?.map(Body::new))
            }
            Self::InProcess(router) => {
                // A user who can open the store could also use its socket.
                request.extensions_mut().insert(Peer::Unix);
                match router.clone().oneshot(request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        }
    }
}
