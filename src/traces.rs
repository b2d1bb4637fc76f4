//! Spans: what is done for a request or in the background and how long it takes, for a collector of traces (`[traces]`
//! in the settings). In a build without the feature `otlp` there is nothing of them.
//!
//! Their names and fields are words that are chosen here, and of what clients send only what `http` has parsed: no
//! header, no query and no password is in one.

/// What the spans of this program are known by among those of its libraries.
pub const TARGET: &str = "orlop::traces";

/// A span, which ends with its last copy; or none.
#[derive(Debug, Clone)]
pub struct Span(#[cfg(feature = "otlp")] tracing::Span);

impl Span {
    /// None.
    pub const fn none() -> Self {
        Self(
            #[cfg(feature = "otlp")]
            tracing::Span::none(),
        )
    }

    /// Does `work` within this span.
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

/// The span that the calling task is in.
pub fn current() -> Span {
    Span(
        #[cfg(feature = "otlp")]
        tracing::Span::current(),
    )
}

/// A step of what the calling task is about: nothing, if nobody watches that.
pub fn step(name: &'static str) -> Span {
    #[cfg(feature = "otlp")]
    if !tracing::Span::current().is_none() {
        return tracing::info_span!(target: TARGET, "step", otel.name = name).into();
    }
    let _ = name;
    Span::none()
}

/// Work of its own, which no request asked for.
pub fn root(name: &'static str) -> Span {
    #[cfg(feature = "otlp")]
    return tracing::info_span!(target: TARGET, parent: None, "root", otel.name = name).into();
    #[cfg(not(feature = "otlp"))]
    {
        let _ = name;
        Span::none()
    }
}

/// Notes the form of the path of the request that the calling task is about.
pub fn note_route(template: &str) {
    #[cfg(feature = "otlp")]
    tracing::Span::current().record("http.route", template);
    let _ = template;
}
