//! Reclaims space within a quota before a push is rejected.
//!
//! Idle uploads within the quota's scope end first. Then content that nothing holds any more is removed, and then the
//! oldest trash of the scope. As under the budget, leases are as short as they may be. Other scopes are not affected.

use std::time::Duration;

use super::{ClockState, Registry, ServiceError};
use crate::metadata::{CollectionRules, Reclaimed, Scope};
use crate::oci::UploadId;

/// How long an upload may be idle while something else needs the space. It is long enough for a client to continue
/// after space was reclaimed, and short enough that one push that is too large does not block all others for a day.
pub const IDLE_WHEN_FULL: Duration = Duration::from_secs(10 * 60);

/// The maximum number of manifests removed from the trash in one step.
const MAX_STEP_MANIFESTS: usize = 256;

/// How many steps in a row may free nothing: the content of the purged manifests may still be leased.
const MAX_STEPS_IN_VAIN: u32 = 3;

/// How many rows a transaction examines.
const BATCH: usize = 1000;

/// How many blobs pending deletion are removed from the disk at once.
const REMOVAL_BATCH: usize = 256;

/// The progress of reclaiming space for one request.
#[derive(Debug, Default)]
pub(super) struct Relief {
    /// How many steps there have been.
    steps: u32,
    /// How many steps in a row removed nothing but manifests.
    in_vain: u32,
}

impl Relief {
    /// Removes something within the scope, if anything may be removed. Returns whether it did.
    pub(super) async fn step(&mut self, registry: &Registry, scope: &Scope) -> Result<bool, ServiceError> {
        let _turn = registry.relief_lock.lock().await;
        if registry.settings.read_only || matches!(registry.clock_state().await?, ClockState::Suspect(_)) {
            return Ok(false);
        }
        self.steps += 1;
        if self.steps == 1 {
            let ended = registry.end_idle_uploads(scope).await?;
            let collected = registry.collect_below(scope, 0).await?;
            if ended > 0 || collected != Reclaimed::default() {
                return Ok(true);
            }
        }
        if self.in_vain == MAX_STEPS_IN_VAIN {
            return Ok(false);
        }
        let manifests = MAX_STEP_MANIFESTS.min(1 << (self.steps - 1).min(16));
        let relieved = registry.collect_below(scope, manifests).await?;
        self.in_vain = if relieved.links > 0 { 0 } else { self.in_vain + 1 };
        Ok(relieved != Reclaimed::default())
    }
}

impl Registry {
    /// Purges up to `trash` manifests of the scope's trash, oldest first, and removes content that becomes free.
    async fn collect_below(&self, scope: &Scope, trash: usize) -> Result<Reclaimed, ServiceError> {
        let rules = CollectionRules {
            now: self.clock.now(),
            lease: self.settings.shortest_lease(),
            trash: Duration::ZERO,
            untagged: None,
            leases_recorded_since: self.leases_recorded_since(),
        };
        let mut all = self.metadata.reclaim_now(scope, &rules, trash, BATCH).await?;
        loop {
            let more = self.metadata.reclaim_now(scope, &rules, 0, BATCH).await?;
            if more == Reclaimed::default() {
                break;
            }
            all.manifests += more.manifests;
            all.links += more.links;
        }
        self.remove_pending_blobs(REMOVAL_BATCH).await?;
        Ok(all)
    }

    /// Ends the uploads of a scope that have received nothing for a while. Returns how many.
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

    /// Returns whether received bytes are not recorded yet. The time of the last byte is not recorded either in that
    /// case.
    fn has_unrecorded_bytes(&self, id: UploadId) -> bool {
        let slot = self.sessions.if_idle(id);
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|upload| upload.recorded != upload.offset))
    }
}
