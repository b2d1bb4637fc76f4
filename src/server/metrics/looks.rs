//! Looks at the stores that take longer than a scrape should, up to a second where there are a million blobs. They
//! are taken aside, now and then, and only where somebody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::registry::ServiceError;

/// How many times longer than a look takes the pause after it is at least.
const REST: u32 = 50;

struct Last<T> {
    found: Option<Arc<T>>,
    looking: bool,
    next: Option<Instant>,
}

/// What a look tells, as of the last one.
pub(super) struct Looks<T> {
    every: Duration,
    last: Arc<Mutex<Last<T>>>,
}

impl<T: Send + Sync + 'static> Looks<T> {
    /// None yet; the last is at least `every` old when another is taken.
    pub(super) fn every(every: Duration) -> Self {
        let last = Last { found: None, looking: false, next: None };
        Self { every, last: Arc::new(Mutex::new(last)) }
    }

    /// What the last look told, if there was one. Has another taken where that was a while ago.
    pub(super) fn last<F>(&self, look: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        let mut last = lock(&self.last);
        let is_due = last.next.is_none_or(|next| Instant::now() >= next);
        if is_due
            && !last.looking
            && let Ok(runtime) = Handle::try_current()
        {
            last.looking = true;
            runtime.spawn(take(look(), self.every, Arc::clone(&self.last)));
        }
        last.found.clone()
    }
}

async fn take<T>(
    look: impl Future<Output = Result<T, ServiceError>>,
    every: Duration,
    last: Arc<Mutex<Last<T>>>,
) {
    let started = Instant::now();
    let found = look.await;
    let mut last = lock(&last);
    last.looking = false;
    last.next = Some(Instant::now() + every.max(started.elapsed() * REST));
    match found {
        Ok(found) => last.found = Some(Arc::new(found)),
        Err(error) => tracing::warn!(%error, "/metrics shows what it knew: the store could not be looked at"),
    }
}

fn lock<T>(last: &Mutex<Last<T>>) -> MutexGuard<'_, Last<T>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
