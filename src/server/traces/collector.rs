//! Sends spans to the collector, with the HTTP client that all outbound requests use.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use reqwest::{Client, RequestBuilder, Url};
use tokio::runtime::Handle;

use crate::errors::Chain;
use crate::outbound::{self, OutboundError};

/// Maximum bytes of a response that are read: a successful one is short.
const MAX_RESPONSE: usize = 64 << 10;

/// A trace collector, and whether its last request failed.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    url: Url,
    runtime: Handle,
    unavailable: AtomicBool,
}

impl Collector {
    pub(super) fn new(client: Client, url: &str, runtime: Handle) -> io::Result<Self> {
        let url = url.parse().map_err(io::Error::other)?;
        Ok(Self { client, url, runtime, unavailable: AtomicBool::new(false) })
    }

    /// Logs when the collector becomes unavailable, and when it is available again.
    fn record_outcome(&self, failure: Option<&str>) {
        let was_unavailable = self.unavailable.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(reason) if !was_unavailable => {
                tracing::warn!(reason, "trace collector unavailable: spans are lost until it recovers");
            }
            None if was_unavailable => tracing::info!("trace collector available again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Ignores the headers of `request`: some come from environment variables that are meant for other collectors.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let post = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let post = post.body(request.into_body());
        // The calling thread has no Tokio runtime of its own.
        let sent = self.runtime.spawn(async move { send(post).await }).await;
        let response = sent.map_err(HttpError::from).and_then(|sent| sent.map_err(HttpError::from));
        match &response {
            Ok(response) if !response.status().is_success() => {
                self.record_outcome(Some(&format!("{} answered {}", self.url, response.status().as_u16())));
            }
            Ok(_) => self.record_outcome(None),
            Err(error) => self.record_outcome(Some(&Chain(&**error).to_string())),
        }
        response
    }
}

/// Sends a request. Returns what the exporter needs: the status, when to retry, and the body of a success.
async fn send(post: RequestBuilder) -> Result<Response<Bytes>, OutboundError> {
    let response = post.send().await?;
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).cloned();
    let body = if status.is_success() { outbound::body(response, MAX_RESPONSE).await? } else { Vec::new() };
    let mut reply = Response::new(Bytes::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().extend(retry_after.map(|wait: HeaderValue| (RETRY_AFTER, wait)));
    Ok(reply)
}
