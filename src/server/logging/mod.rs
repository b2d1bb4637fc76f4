//! Logs to standard error, as text or JSON lines.

mod plain;
mod sink;

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use self::plain::Plain;
use self::sink::Sink;
use crate::config::{Log, LogFormat};
use crate::printable::escape_json;

/// A handle to the running log. Writes buffered lines when it is dropped.
#[derive(Debug)]
pub struct Logs {
    sink: Arc<Sink>,
}

impl Logs {
    /// Writes the buffered lines, unless their reader is too slow.
    pub fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts a server's log, which includes panics.
pub fn start(settings: &Log) -> Arc<Logs> {
    let sink = Sink::start(std::io::stderr());
    let lines = layer(settings.format, &sink).with_filter(filter(settings));
    install(Registry::default().with(lines), sink)
}

/// Starts a server's log and sends spans to `traces`.
#[cfg(feature = "otlp")]
pub fn start_traced(settings: &Log, traces: &super::traces::Traces) -> Arc<Logs> {
    let sink = Sink::start(std::io::stderr());
    let lines = layer(settings.format, &sink).with_filter(filter(settings));
    install(Registry::default().with(vec![lines.boxed(), traces.layer()]), sink)
}

fn install(subscriber: impl SubscriberInitExt, sink: Arc<Sink>) -> Arc<Logs> {
    // A second server in one process, as in tests, keeps the first one's log.
    let _ = subscriber.try_init();
    std::panic::set_hook(Box::new(log_panic));
    Arc::new(Logs { sink })
}

/// Starts warnings for short-lived commands: as text, unbuffered.
pub fn start_plain() {
    let writer = || Plain::new(std::io::stderr(), plain::text);
    let layer = fmt::layer().with_ansi(false).with_writer(writer).without_time().with_target(false);
    // The command prints the messages of its operation itself.
    let filter = EnvFilter::new("warn,orlop::server::admin=off");
    let _ = Registry::default().with(layer.with_filter(filter)).try_init();
}

/// Builds the filter from the configured levels, and silences libraries that log their internals.
fn filter(settings: &Log) -> EnvFilter {
    let mut filter = settings.level.to_filter();
    let quiet = ["refinery_core=warn", if settings.access { "" } else { "orlop::access=off" }];
    for directive in quiet.into_iter().filter_map(|text| text.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    // Spans go to the collector only, so that log lines are the same with and without one.
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
        let plain = match format {
            LogFormat::Json => escape_json,
            LogFormat::Auto if is_coloured => plain::coloured,
            LogFormat::Auto | LogFormat::Text => plain::text,
        };
        Plain::new(sink::LineWriter(Arc::clone(&sink)), plain)
    };
    let layer = fmt::layer().with_timer(SystemTime).with_writer(writer);
    match format {
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Text | LogFormat::Auto => layer.with_ansi(is_coloured).boxed(),
    }
}

/// Logs a panic. It ends its task, not the server, so it must be visible.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(%location, %backtrace, "task panicked: {message}");
}
