//! The resources an upload holds while bytes arrive: a turn, memory and its writes.

use std::sync::Arc;

use bytes::Bytes;

use super::writes::{MAX_NARROW, MAX_WIDE, Writes};
use super::{Registry, ServiceError};
use crate::fair::{Client, Turn};
use crate::memory::{Holder, MemoryBudget, Purpose, Reservation};
use crate::store::{StagedBytes, StoreError};

/// A body that is being written to the store.
pub(super) struct BodyWriter {
    turn: Turn,
    memory: Reservation,
    budget: MemoryBudget,
    writes: Option<Writes>,
}

impl BodyWriter {
    /// Waits for a turn and for memory.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] or [`ServiceError::OutOfMemory`] if there is no turn or memory in time.
    pub(super) async fn start(registry: &Registry, client: &Client) -> Result<Self, ServiceError> {
        let turn = registry.sessions.turn(client, registry.settings.upload_queue).await?;
        let budget = registry.memory().clone();
        let memory = reserve(&budget).await?;
        Ok(Self { turn, memory, budget, writes: None })
    }

    /// Returns whether the writes have been opened.
    pub(super) fn is_open(&self) -> bool {
        self.writes.is_some()
    }

    /// Opens the writes at the end of `staged`, at byte `offset`.
    pub(super) fn open(&mut self, registry: &Registry, staged: Arc<dyn StagedBytes>, offset: u64) {
        let buffers = Arc::clone(&registry.upload_buffers);
        let mut writes = Writes::new(staged, buffers, offset);
        if self.memory.bytes() < MAX_WIDE {
            writes.narrow();
        }
        self.writes = Some(writes);
    }

    /// Adds a piece. Returns whether that started a write. When memory is scarce, writes become narrow.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        let Some(writes) = &mut self.writes else { return Ok(false) };
        if !writes.is_narrow() && self.budget.is_contended(Holder::Authenticated) {
            writes.flush().await?;
            writes.narrow();
            self.memory.shrink_to(MAX_NARROW);
        }
        let len = piece.len();
        let started = writes.push(piece).await;
        self.turn.record_progress(len);
        started
    }

    /// Writes everything that was pushed.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        match &mut self.writes {
            Some(writes) => writes.flush().await,
            None => Ok(()),
        }
    }

    /// Returns whether another client waits for the turn.
    pub(super) fn is_recalled(&self) -> bool {
        self.turn.is_recalled()
    }

    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }
}

/// Reserves memory: enough for wide writes ([`MAX_WIDE`]) while less than half of the memory is used,
/// otherwise enough for narrow ones ([`MAX_NARROW`]). So uploads leave the rest to other requests.
async fn reserve(budget: &MemoryBudget) -> Result<Reservation, ServiceError> {
    let holder = Holder::Authenticated;
    if !budget.is_half_used(holder)
        && let Some(memory) = budget.try_reserve(holder, Purpose::Bodies, MAX_WIDE)
    {
        return Ok(memory);
    }
    Ok(budget.reserve(holder, Purpose::Bodies, MAX_NARROW).await?)
}
