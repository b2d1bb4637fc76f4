//! Exports spans to a collector: by OTLP over HTTP, in batches, in a thread of its own.
//!
//! Ending a span only puts it in a queue. If the collector is slow or unavailable, the queue fills up and further spans
//! are dropped: no request waits for the collector, and the queue takes at most a few MiB.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use reqwest::{Client, RequestBuilder, Url};
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

use crate::config::{self, Config};
use crate::errors::Chain;
use crate::outbound::{self, OutboundError};
use crate::traces::TARGET;

/// Maximum number of queued spans, each of less than 4 KiB.
const MAX_QUEUED_SPANS: usize = 2048;

/// Maximum number of spans in a batch.
const BATCH_SIZE: usize = 512;

/// How long spans are collected before a batch is sent.
const BATCH_DELAY: Duration = Duration::from_secs(5);

/// How long a batch is retried.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a shutdown waits for the last spans.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum bytes of a response that are read: a successful one is short.
const MAX_RESPONSE: usize = 64 << 10;

/// The span exporter.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the exporter if the settings name a collector. Its requests run on `runtime`. General OpenTelemetry
    /// variables of the environment (`OTEL_*`) are ignored: only this program's settings count.
    ///
    /// # Errors
    /// Fails if the file of certificate authorities cannot be read.
    pub fn start(config: &Config, runtime: &Handle) -> io::Result<Option<Self>> {
        let Some(endpoint) = &config.traces.endpoint else { return Ok(None) };
        let url = endpoint.of_traces();
        let client = outbound::client(config.outbound.ca_file.as_deref())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&url)
            .with_timeout(EXPORT_TIMEOUT)
            .with_http_client(Collector::new(client, &url, runtime.clone())?)
            .build()
            .map_err(io::Error::other)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUED_SPANS)
            .with_max_export_batch_size(BATCH_SIZE)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(&config.traces))
            .with_resource(resource())
            .build();
        Ok(Some(Self(provider)))
    }

    /// Returns the layer that receives the spans of this program only.
    pub(super) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("orlop"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
            .boxed()
    }

    /// Sends the queued spans and stops the exporter, waiting at most two seconds.
    pub fn end(&self) {
        // Failures were logged when the batch was rejected.
        let _ = self.0.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
    }
}

/// Builds the sampler. If the client has already decided whether its trace is recorded, that decision applies here too.
fn sampler(settings: &config::Traces) -> Sampler {
    let share = f64::from(settings.sample.0) / 100.0;
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)))
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder_empty().with_service_name("orlop").with_attribute(version).build()
}

/// A trace collector, which gets requests from the client that all outbound requests use, and whether its last request
/// failed.
#[derive(Debug)]
struct Collector {
    client: Client,
    url: Url,
    runtime: Handle,
    unavailable: AtomicBool,
}

impl Collector {
    fn new(client: Client, url: &str, runtime: Handle) -> io::Result<Self> {
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
