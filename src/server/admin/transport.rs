//! How the command line reaches what answers it.

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::client::conn::http1::SendRequest;
use tower::ServiceExt;

use super::ClientError;
use crate::http::listen::Peer;

/// A way to a router.
pub(super) enum Transport {
    /// Through a running server's socket.
    Socket(SendRequest<Body>),
    /// Over a store that this process has opened.
    Here(Router),
}

impl Transport {
    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Body>, ClientError> {
        match self {
            Self::Socket(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request).await?.map(Body::new))
            }
            Self::Here(router) => {
                // Who has opened the store might as well use its socket.
                request.extensions_mut().insert(Peer::Unix);
                match router.clone().oneshot(request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            }
        }
    }
}
