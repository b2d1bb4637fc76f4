//! Records events about the clock, the disk and the budget, and audit entries, and deletes old ones.

use std::net::IpAddr;
use std::time::Duration;

use super::clock_guard::format_span;
use super::{ClockState, Registry, ServiceError};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::metadata::{Audited, EventDetails};

/// How many events or audit entries are deleted in one step.
const DELETE_BATCH: usize = 1000;

impl Registry {
    /// Returns whether the clock can be trusted. After a jump it first corrects the timestamps taken by the wrong
    /// clock.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn clock_state(&self) -> Result<ClockState, ServiceError> {
        let recorded = self.metadata.recorded_time().await?;
        let state = self.clock_guard.check(self.clock.as_ref(), recorded);
        if state != ClockState::Trusted && !self.settings.read_only {
            self.apply_clock_jumps().await?;
        }
        Ok(state)
    }

    async fn apply_clock_jumps(&self) -> Result<(), ServiceError> {
        let mut jumps = self.clock_guard.take_jumps().into_iter();
        while let Some(jump) = jumps.next() {
            let moved = async {
                // Pulls that are not written yet were recorded by the wrong clock as well.
                self.flush_pulls().await?;
                Ok::<_, ServiceError>(self.metadata.apply_clock_jump(jump).await?)
            };
            if let Err(error) = moved.await {
                self.clock_guard.put_back(std::iter::once(jump).chain(jumps));
                return Err(error);
            }
            self.leases_refreshed();
            let by = format_span(jump.by);
            tracing::warn!(%by, "the clock jumped forward; timestamps taken since the start were corrected");
        }
        Ok(())
    }

    /// Records the current state of something that is watched, if it is new: at once if it is worse, and after a while
    /// if it is better. Call it at every check. A failed write is retried at the next check.
    pub async fn record_state(&self, state: EventDetails) {
        if self.settings.read_only {
            return;
        }
        let kind = state.kind();
        let elapsed = self.clock.elapsed();
        let Some(since) = self.states.event_since(kind, elapsed, self.clock.now()) else {
            return;
        };
        match self.metadata.record_state(since, state).await {
            Ok(_) => self.states.set_recorded(kind),
            Err(error) => {
                let error = Chain(&error);
                tracing::debug!(%error, %kind, "recording an event failed; retrying at the next check");
            }
        }
    }

    /// Checks the clock and records whether it is trusted.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn watch_clock(&self) -> Result<(), ServiceError> {
        let state = match self.clock_state().await? {
            ClockState::Trusted => EventDetails::ClockTrusted {},
            ClockState::Suspect(reason) => EventDetails::ClockSuspect { reason },
        };
        self.record_state(state).await;
        Ok(())
    }

    /// Deletes excess events, and old ones unless the clock cannot be trusted.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn forget_events(&self) -> Result<(), ServiceError> {
        let cutoff = self.trusted_cutoff(self.settings.events_keep).await?;
        while self.metadata.forget_events(cutoff, self.settings.max_events, DELETE_BATCH).await?.more {}
        Ok(())
    }

    /// Adds something a client did or attempted to the audit log. `network` is `None` for requests from this machine.
    pub fn audit(&self, audited: Audited, network: Option<IpAddr>) {
        self.audit.add(audited, network, self.clock.as_ref());
    }

    /// Writes the entries collected since the last call. Set `all` at shutdown to write the rest as well.
    ///
    /// # Errors
    /// Fails if the metadata store cannot be written; the next call tries again.
    pub async fn flush_audit(&self, all: bool) -> Result<(), ServiceError> {
        let read_only = self.settings.read_only;
        Ok(self.audit.flush(&self.metadata, self.clock.as_ref(), read_only, all).await?)
    }

    /// Deletes excess audit entries, and old ones unless the clock cannot be trusted.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn forget_audit(&self) -> Result<(), ServiceError> {
        let cutoff = self.trusted_cutoff(self.settings.audit_keep).await?;
        while self.metadata.forget_audit(cutoff, self.settings.max_audit_entries, DELETE_BATCH).await?.more {}
        Ok(())
    }

    /// Returns the time `keep` ago, or `None` if the clock cannot be trusted.
    async fn trusted_cutoff(&self, keep: Duration) -> Result<Option<Timestamp>, ServiceError> {
        let is_trusted = self.clock_state().await? == ClockState::Trusted;
        Ok(is_trusted.then(|| self.clock.now().minus(keep)))
    }
}
