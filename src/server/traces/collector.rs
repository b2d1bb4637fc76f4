//! Requests to the collector, by the client that this program makes all of its own requests with.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use reqwest::{Client, RequestBuilder, Url};
use tokio::runtime::Handle;

use crate::outbound::{self, OutboundError};

/// The most bytes of an answer that are looked at: it says little more than that all is well.
const ANSWER: usize = 64 << 10;

/// A collector, and whether it takes what it is sent.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    url: Url,
    runtime: Handle,
    away: AtomicBool,
}

impl Collector {
    pub(super) fn new(client: Client, url: &str, runtime: Handle) -> io::Result<Self> {
        let url = url.parse().map_err(io::Error::other)?;
        Ok(Self { client, url, runtime, away: AtomicBool::new(false) })
    }

    /// Says once that spans are lost, and once that they are not any more.
    fn note(&self, failure: Option<&str>) {
        let was = self.away.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(reason) if !was => {
                tracing::warn!(
                    reason,
                    "the collector of traces does not take them: they are lost until it does"
                );
            }
            None if was => tracing::info!("the collector of traces takes them again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Headers are not those of `request`: some of them come from variables that are meant for other collectors.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let post = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let post = post.body(request.into_body());
        // The thread that calls this has no runtime of its own.
        let sent = self.runtime.spawn(async move { answer(post).await }).await;
        let answered = sent.map_err(HttpError::from).and_then(|answered| answered.map_err(HttpError::from));
        match &answered {
            Ok(response) if !response.status().is_success() => {
                self.note(Some(&format!("{} answered {}", self.url, response.status().as_u16())));
            }
            Ok(_) => self.note(None),
            Err(error) => self.note(Some(&error.to_string())),
        }
        answered
    }
}

/// What the exporter has to know: whether to try again, and when.
async fn answer(post: RequestBuilder) -> Result<Response<Bytes>, OutboundError> {
    let response = post.send().await?;
    let (status, wait) = (response.status(), response.headers().get(RETRY_AFTER).cloned());
    let body = if status.is_success() { outbound::body(response, ANSWER).await? } else { Vec::new() };
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().extend(wait.map(|wait: HeaderValue| (RETRY_AFTER, wait)));
    Ok(answer)
}
