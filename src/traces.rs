//! OpenTelemetry spans for requests and background work. They are exported to the collector set in `[traces]`. Without
//! the feature `otlp` all of this compiles to nothing.
//!
//! Span names and fields are fixed words. The only client input in them is what `http` has parsed: no header, query or
//! password is recorded.

/// The `tracing` target of this program's spans. It separates them from the spans of its libraries.
pub const TARGET: &str = "orlop::traces";

/// A span, which ends when its last clone is dropped; or no span.
#[derive(Debug, Clone)]
pub struct Span(#[cfg(feature = "otlp")] tracing::Span);

impl Span {
    /// Returns no span.
    pub const fn none() -> Self {
        Self(
            #[cfg(feature = "otlp")]
            tracing::Span::none(),
        )
    }

    /// Runs `work` within this span.
    pub fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        #[cfg(feature = "otlp")]
        let work = tracing::Instrument::instrument(work, self.0.clone());
        work
    }
}

#[cfg(feature = "otlp")]
impl From<tracing::Span> for Span {
    fn from(span: tracing::Span) -> Self {
        Self(span)
    }
}

#[cfg(feature = "otlp")]
impl std::ops::Deref for Span {
    type Target = tracing::Span;

    fn deref(&self) -> &tracing::Span {
        &self.0
    }
}

/// Returns the current task's span.
pub fn current() -> Span {
    Span(
        #[cfg(feature = "otlp")]
        tracing::Span::current(),
    )
}

/// Starts a step within the current span. Returns no span if there is no current one.
pub fn start_step(name: &'static str) -> Span {
    #[cfg(feature = "otlp")]
    if !tracing::Span::current().is_none() {
        return tracing::info_span!(target: TARGET, "step", otel.name = name).into();
    }
    let _ = name;
    Span::none()
}

/// Starts a span without a parent, for background work.
pub fn start_root(name: &'static str) -> Span {
    #[cfg(feature = "otlp")]
    return tracing::info_span!(target: TARGET, parent: None, "root", otel.name = name).into();
    #[cfg(not(feature = "otlp"))]
    {
        let _ = name;
        Span::none()
    }
}

/// Records the path template of the current task's request.
pub fn record_route(template: &str) {
    #[cfg(feature = "otlp")]
    tracing::Span::current().record("http.route", template);
    let _ = template;
}
