//! Measurements that take longer than a scrape should, up to a second with a million blobs. They run in the background,
//! at intervals, and only while metrics are scraped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::errors::Chain;
use crate::registry::ServiceError;

/// Minimum pause after a measurement, as a multiple of its duration.
const PAUSE_FACTOR: u32 = 50;

struct Last<T> {
    value: Option<Arc<T>>,
    running: bool,
    next: Option<Instant>,
}

/// The cached result of a slow measurement.
pub(super) struct CachedMeasurement<T> {
    every: Duration,
    last: Arc<Mutex<Last<T>>>,
}

impl<T: Send + Sync + 'static> CachedMeasurement<T> {
    /// Creates a cache without a result, which is measured again once it is `every` old.
    pub(super) fn every(every: Duration) -> Self {
        let last = Last { value: None, running: false, next: None };
        Self { every, last: Arc::new(Mutex::new(last)) }
    }

    /// Returns the last result, if there is one. Starts `measure` in the background if the result is too old.
    pub(super) fn last<F>(&self, measure: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        let mut last = self.last.lock();
        let is_due = last.next.is_none_or(|next| Instant::now() >= next);
        if is_due
            && !last.running
            && let Ok(runtime) = Handle::try_current()
        {
            last.running = true;
            runtime.spawn(run(measure(), self.every, Arc::clone(&self.last)));
        }
        last.value.clone()
    }
}

async fn run<T>(
    measurement: impl Future<Output = Result<T, ServiceError>>,
    every: Duration,
    last: Arc<Mutex<Last<T>>>,
) {
    let started = Instant::now();
    let measured = measurement.await;
    let mut last = last.lock();
    last.running = false;
    last.next = Some(Instant::now() + every.max(started.elapsed() * PAUSE_FACTOR));
    match measured {
        Ok(value) => last.value = Some(Arc::new(value)),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "measurement failed; /metrics shows the last values");
        }
    }
}
