//! What may go, as `/metrics` shows it. The look takes up to a second where there are a million blobs: it is
//! taken aside, now and then, and only where somebody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::operations::Operator;
use crate::metadata::Holdings;
use crate::registry::Fault;

/// How old at least the last look is when another is taken.
const EVERY: Duration = Duration::from_secs(30);

/// How many times longer than a look takes the pause after it is at least.
const REST: u32 = 50;

/// The last look.
#[derive(Default)]
struct Last {
    holdings: Option<Holdings>,
    looking: bool,
    next: Option<Instant>,
}

/// What may go, as of the last look.
pub(super) struct Reclaimables {
    operator: Arc<Operator>,
    last: Arc<Mutex<Last>>,
}

impl Reclaimables {
    pub(super) fn new(operator: Arc<Operator>) -> Self {
        Self { operator, last: Arc::default() }
    }

    /// What the last look told, if there was one. Has another taken where that was a while ago.
    pub(super) fn holdings(&self) -> Option<Holdings> {
        let mut last = lock(&self.last);
        let is_due = last.next.is_none_or(|next| Instant::now() >= next);
        if is_due
            && !last.looking
            && let Ok(runtime) = Handle::try_current()
        {
            last.looking = true;
            runtime.spawn(look(Arc::clone(&self.operator), Arc::clone(&self.last)));
        }
        last.holdings
    }
}

async fn look(operator: Arc<Operator>, last: Arc<Mutex<Last>>) {
    let started = Instant::now();
    let found = holdings(&operator).await;
    let mut last = lock(&last);
    last.looking = false;
    last.next = Some(Instant::now() + EVERY.max(started.elapsed() * REST));
    match found {
        Ok(holdings) => last.holdings = Some(holdings),
        Err(error) => tracing::warn!(%error, "what may go could not be told to /metrics"),
    }
}

async fn holdings(operator: &Operator) -> Result<Holdings, Fault> {
    let rules = operator.collector.rules().await?;
    Ok(operator.opened.registry.metadata().holdings(&rules).await?)
}

fn lock(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
