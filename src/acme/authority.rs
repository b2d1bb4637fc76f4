//! The way to the authority.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::{Client, Response};

use crate::outbound;

/// The most bytes of an answer: a chain of certificates has a few thousand.
const MOST: usize = 1 << 20;

/// Requests to an authority, by the client that all requests to others' servers are made with.
#[derive(Clone)]
pub(super) struct Authority {
    client: Client,
    advice: Arc<Mutex<Option<Duration>>>,
}

impl Authority {
    pub(super) fn new(client: Client) -> Self {
        Self { client, advice: Arc::default() }
    }

    /// How long it said to wait when it last refused something, if it did.
    pub(super) fn advice(&self) -> Option<Duration> {
        *self.advice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: http::Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let other = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
        let (mut parts, body) = request.into_parts();
        // The registry's own name goes out instead of the library's.
        parts.headers.remove(USER_AGENT);
        let Ok(body) = body.collect().await;
        let request = reqwest::Request::try_from(http::Request::from_parts(parts, body.to_bytes()));
        let request = request.map_err(|error| other(error.into()))?;
        if !outbound::is_private(request.url()) {
            return Err(other(format!("{} is not https", request.url()).into()));
        }
        let sent = self.client.execute(request).await.map_err(outbound::OutboundError::from);
        let response = sent.map_err(|error| other(error.into()))?;
        self.note_advice(&response);
        let mut answer = http::Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let body = outbound::content(response, MOST).await.map_err(|error| other(error.into()))?;
        Ok(BytesResponse::from(answer.map(|()| Full::new(Bytes::from(body)))))
    }

    /// Remembers what whoever refuses says of when to come back (RFC 8555, 6.6).
    fn note_advice(&self, response: &Response) {
        if response.status().is_client_error() || response.status().is_server_error() {
            let told =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            *self.advice.lock().unwrap_or_else(PoisonError::into_inner) = told.map(Duration::from_secs);
        }
    }
}

impl HttpClient for Authority {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}
