//! Stops reading from a connection while memory is short.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;

use super::open::{ConnectionGuard, SHARE_INTERVAL};
use crate::memory::{Holder, ReadGate};

/// The brake of one connection.
pub(super) struct Brake {
    gate: ReadGate,
    guard: Option<Arc<ConnectionGuard>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Brake {
    pub(super) fn new(guard: Arc<ConnectionGuard>) -> Self {
        Self { gate: guard.memory().read_gate(), guard: Some(guard), pause: None }
    }

    /// Ready while a request may start. A client that holds no memory may start one even while memory is
    /// short. Memory held by other anonymous clients does not count: one of them must not keep the others
    /// from logging in.
    pub(super) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(guard) = &self.guard {
                if guard.is_newcomer() {
                    return Poll::Ready(());
                }
                if guard.shared.is_over_memory_share(guard) {
                    self.pause = Some(Box::pin(tokio::time::sleep(SHARE_INTERVAL)));
                    continue;
                }
            }
            return self.gate.poll_open(cx, Holder::Authenticated);
        }
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self { gate: crate::memory::MemoryBudget::default().read_gate(), guard: None, pause: None }
    }
}
