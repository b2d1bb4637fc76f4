//! Stops reading from a connection while memory is short.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;

use super::open::{ConnectionGuard, SHARE_INTERVAL};
use crate::memory::{Holder, ReadGate};

/// One connection's.
pub(super) struct Brake {
    gate: ReadGate,
    entry: Option<Arc<ConnectionGuard>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Brake {
    pub(super) fn new(entry: Arc<ConnectionGuard>) -> Self {
        Self { gate: entry.memory().read_gate(), entry: Some(entry), pause: None }
    }

    /// Ready while a request may begin: for a client that holds nothing also while memory is short. What anonymous
    /// clients hold together does not count: one of them must not keep the others from logging in.
    pub(super) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(entry) = &self.entry {
                if entry.is_newcomer() {
                    return Poll::Ready(());
                }
                if entry.shared.is_over_memory_share(entry) {
                    self.pause = Some(Box::pin(tokio::time::sleep(SHARE_INTERVAL)));
                    continue;
                }
            }
            return self.gate.poll_open(cx, Holder::Authenticated);
        }
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self { gate: crate::memory::MemoryBudget::default().read_gate(), entry: None, pause: None }
    }
}
