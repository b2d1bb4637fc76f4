//! Handling of failed syncs. After one, the content of the disk is unknown.
//!
//! The writer discards what it was writing and never syncs it again. The server becomes unready at once. As soon as a
//! new write becomes durable, the server stops with an error, so that its supervisor restarts it on the data that is
//! proven to be on the disk. While the disk stays broken a restart would not help, so the server keeps serving reads.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::open::Opened;
use crate::errors::{BoxError, Chain, SharedError};
use crate::store::durable;

/// How often a broken disk is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The first sync that failed, if one did.
#[derive(Debug, Default)]
pub struct Failures {
    first: Mutex<Option<SharedError>>,
    recorded: Notify,
}

impl Failures {
    /// Records the error of a failed sync. Only the first is kept.
    pub fn record(&self, error: impl Into<BoxError>) {
        let mut first = self.first.lock();
        if first.is_none() {
            let error = error.into();
            let reason = Chain(&*error);
            tracing::error!(%reason, "a write did not become durable; the server needs a restart");
            *first = Some(error.into());
            self.recorded.notify_one();
        }
    }

    /// Returns the error because of which the server needs a restart, if there is one.
    pub(super) fn first(&self) -> Option<SharedError> {
        self.first.lock().clone()
    }

    /// Returns why the server needs a restart, if it does.
    pub fn reason(&self) -> Option<String> {
        self.first().map(|error| Chain(&*error).to_string())
    }

    /// Waits until a sync has failed and the disk works again, so that a restart helps.
    pub(super) async fn wait_until_restart_is_due(&self, opened: &Arc<Opened>) {
        self.recorded.notified().await;
        while let Err(error) = probe_stores(opened).await {
            tracing::error!(error = %Chain(&*error), "the disk is still broken; pulls are served where possible");
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }
}

/// Checks that new writes become durable on the disks of the blobs and of the metadata.
async fn probe_stores(opened: &Arc<Opened>) -> Result<(), BoxError> {
    opened.registry.blobs().check().await?;
    let opened = Arc::clone(opened);
    let probed = tokio::task::spawn_blocking(move || durable::probe(&opened.metadata_dir.join("probe")));
    Ok(probed.await??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::server::Purpose;

    #[tokio::test]
    async fn restart_is_due_once_the_disk_works() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.storage.data = dir.path().join("data");
        let opened = Opened::open(&config, Purpose::Serve).await.expect("opened");
        let opened = Arc::new(opened);
        opened.failures.record("first");
        opened.failures.record("second");
        assert_eq!(opened.failures.reason().as_deref(), Some("first"));
        opened.failures.wait_until_restart_is_due(&opened).await;
        assert!(!config.metadata_dir().join("probe").exists());
    }
}
