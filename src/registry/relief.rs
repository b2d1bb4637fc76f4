//! Making room below a quota: before a push is refused, what nobody misses goes at once.
//!
//! First the uploads of the quota's scope that have been idle for a while, then what nothing holds any more, and then
//! the oldest trash of the scope. As under the budget, leases are as short as they may be, and other scopes keep what
//! they have.

use std::time::Duration;

use super::{ClockState, Registry, ServiceError};
use crate::metadata::{CollectionRules, Relieved, Scope};
use crate::oci::UploadId;

/// How long an upload may be idle while something needs room: long enough to go on after room was made, and not so long
/// that one push too large keeps all others from pushing for a day.
pub const IDLE_WHEN_FULL: Duration = Duration::from_secs(10 * 60);

/// The most manifests that leave the trash in one step.
const MAX_STEP: usize = 256;

/// More trash goes in vain at most so many times in a row: what it held may be leased yet.
const MAX_IN_VAIN: u32 = 3;

/// How many rows a transaction looks at.
const BATCH: usize = 1000;

/// How many doomed blobs are removed from the medium at once.
const REMOVED: usize = 256;

/// What was done to make room for one request.
#[derive(Debug, Default)]
pub(super) struct Relief {
    /// How often room was made.
    steps: u32,
    /// How often in a row nothing but manifests went.
    in_vain: u32,
}

impl Relief {
    /// Removes something below a quota, if anything is left that may go. Whether it did.
    pub(super) async fn step(&mut self, registry: &Registry, scope: &Scope) -> Result<bool, ServiceError> {
        let _turn = registry.relief.lock().await;
        if registry.settings.read_only || matches!(registry.clock_state().await?, ClockState::Suspect(_)) {
            return Ok(false);
        }
        self.steps += 1;
        if self.steps == 1 {
            let ended = registry.end_idle_uploads(scope).await?;
            let collected = registry.collect_below(scope, 0).await?;
            if ended > 0 || collected != Relieved::default() {
                return Ok(true);
            }
        }
        if self.in_vain == MAX_IN_VAIN {
            return Ok(false);
        }
        let manifests = MAX_STEP.min(1 << (self.steps - 1).min(16));
        let relieved = registry.collect_below(scope, manifests).await?;
        self.in_vain = if relieved.links > 0 { 0 } else { self.in_vain + 1 };
        Ok(relieved != Relieved::default())
    }
}

impl Registry {
    /// Purges up to `trash` manifests of a scope's trash, oldest first, and removes what comes free.
    async fn collect_below(&self, scope: &Scope, trash: usize) -> Result<Relieved, ServiceError> {
        let rules = CollectionRules {
            now: self.clock.now(),
            lease: self.settings.shortest_lease(),
            trash: Duration::ZERO,
            untagged: None,
            leases_recorded_since: self.leases_recorded_since(),
        };
        let mut all = self.metadata.relieve(scope, &rules, trash, BATCH).await?;
        loop {
            let more = self.metadata.relieve(scope, &rules, 0, BATCH).await?;
            if more == Relieved::default() {
                break;
            }
            all.manifests += more.manifests;
            all.links += more.links;
        }
        self.remove_doomed(REMOVED).await?;
        Ok(all)
    }

    /// Ends the uploads of a scope that no byte has come to for a while. How many.
    async fn end_idle_uploads(&self, scope: &Scope) -> Result<usize, ServiceError> {
        let mut ended = 0;
        for id in self.reservations.uploads(scope) {
            ended += usize::from(self.end_if_idle(id).await?);
        }
        Ok(ended)
    }

    async fn end_if_idle(&self, id: UploadId) -> Result<bool, ServiceError> {
        if self.sessions.is_busy(id) || self.has_unrecorded_bytes(id) {
            return Ok(false);
        }
        self.expire_upload(id, self.clock.now().minus(IDLE_WHEN_FULL)).await
    }

    /// Whether bytes have come that are not recorded yet: then so is not when the last of them came.
    fn has_unrecorded_bytes(&self, id: UploadId) -> bool {
        let slot = self.sessions.if_idle(id);
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|upload| upload.noted != upload.offset))
    }
}
