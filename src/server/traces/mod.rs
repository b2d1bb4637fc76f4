//! Spans on their way to a collector: by OTLP over HTTP, in batches, by a thread of their own.
//!
//! Whoever ends a span only puts it in a queue. While the collector is slow or away the queue runs full, and what comes
//! then is dropped: no request waits for it, and what waits takes no more than a few MiB.

mod collector;

use std::io;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

use self::collector::Collector;
use crate::config::Config;
use crate::traces::TARGET;
use crate::{config, outbound};

/// The most spans that wait, each of less than 4 KiB.
const QUEUE: usize = 2048;

/// The most spans that are sent at once.
const BATCH: usize = 512;

/// How long they are gathered.
const GATHER: Duration = Duration::from_secs(5);

/// How long a batch is tried to be sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last ones may take when the server ends.
const LAST: Duration = Duration::from_secs(2);

/// What sends spans.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// What the settings want, if they name a collector. Requests to it run on `runtime`. Variables of the environment
    /// that are meant for all programs (`OTEL_*`) set nothing: the settings are those of this program.
    ///
    /// # Errors
    /// The authorities' file cannot be read.
    pub fn start(config: &Config, runtime: &Handle) -> io::Result<Option<Self>> {
        let Some(endpoint) = &config.traces.endpoint else { return Ok(None) };
        let url = endpoint.of_traces();
        let client = outbound::client(config.outbound.ca_file.as_deref())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&url)
            .with_timeout(PATIENCE)
            .with_http_client(Collector::new(client, &url, runtime.clone())?)
            .build()
            .map_err(io::Error::other)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(GATHER)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler(&config.traces))
            .with_resource(resource())
            .build();
        Ok(Some(Self(provider)))
    }

    /// What takes the spans of this program, and nothing else.
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

    /// Sends what waits, unless that takes too long, and ends.
    pub fn end(&self) {
        // Whatever fails has been warned of when the batch was not taken.
        let _ = self.0.shutdown_with_timeout(LAST);
    }
}

/// A client that has decided whether its trace is recorded has decided it for this server too.
fn sampler(settings: &config::Traces) -> Sampler {
    let share = f64::from(settings.sample.0) / 100.0;
    Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)))
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder_empty().with_service_name("orlop").with_attribute(version).build()
}
