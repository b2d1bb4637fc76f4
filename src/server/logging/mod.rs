//! Logs: text or JSON lines on standard error.

mod plain;
mod sink;

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use self::sink::Sink;
use crate::config::{Log, LogFormat};

/// Writes what is left to be written when it is dropped.
#[derive(Debug)]
pub struct Logs {
    sink: Arc<Sink>,
}

impl Logs {
    /// Writes what is left to be written, unless its reader takes too long.
    pub fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Switches a server's logs on, panics among them.
pub fn start(settings: &Log) -> Arc<Logs> {
    let sink = Sink::start(std::io::stderr());
    let lines = layer(settings.format, &sink).with_filter(filter(settings));
    begin(Registry::default().with(lines), sink)
}

/// The same, and hands spans to `traces`.
#[cfg(feature = "otlp")]
pub fn start_traced(settings: &Log, traces: &super::traces::Traces) -> Arc<Logs> {
    let sink = Sink::start(std::io::stderr());
    let lines = layer(settings.format, &sink).with_filter(filter(settings));
    begin(Registry::default().with(vec![lines.boxed(), traces.layer()]), sink)
}

fn begin(subscriber: impl SubscriberInitExt, sink: Arc<Sink>) -> Arc<Logs> {
    // A second server in one process, as in tests, keeps the first one's.
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(log_panic));
    Arc::new(Logs { sink })
}

/// Switches warnings on for a command that ends by itself: as text, at once.
pub fn start_plain() {
    let writer = || plain::Plain::text(std::io::stderr());
    let layer = fmt::layer().with_ansi(false).with_writer(writer).without_time().with_target(false);
    // What an operation says to its caller is printed anyway.
    let filter = EnvFilter::new("warn,orlop::server::admin=off");
    let _ = Registry::default().with(layer.with_filter(filter)).try_init();
}

/// What is worth a line: as it was set, but for what a library says of its own affairs.
fn filter(settings: &Log) -> EnvFilter {
    let mut filter = settings.level.to_filter();
    let quiet = ["refinery_core=warn", if settings.access { "" } else { "orlop::access=off" }];
    for directive in quiet.into_iter().filter_map(|text| text.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    // Spans are for a collector: lines look the same with and without one.
    #[cfg(feature = "otlp")]
    let filter = match format!("{}=off", crate::traces::TARGET).parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    filter
}

fn layer(format: LogFormat, sink: &Arc<Sink>) -> Box<dyn Layer<Registry> + Send + Sync> {
    let sink = Arc::clone(sink);
    let is_coloured = format == LogFormat::Auto && std::io::stderr().is_terminal();
    let writer = move || {
        let line = sink::Line(Arc::clone(&sink));
        match format {
            LogFormat::Json => plain::Plain::json(line),
            LogFormat::Auto if is_coloured => plain::Plain::coloured(line),
            LogFormat::Auto | LogFormat::Text => plain::Plain::text(line),
        }
    };
    let layer = fmt::layer().with_timer(SystemTime).with_writer(writer);
    match format {
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Text | LogFormat::Auto => layer.with_ansi(is_coloured).boxed(),
    }
}

/// A panic ends its task, not the server; it must not go unseen.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(%location, %backtrace, "a task panicked: {message}");
}
