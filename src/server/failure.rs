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
use crate::store::durable;

/// How often a broken disk is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The first sync that failed, if one did.
#[derive(Debug, Default)]
pub struct Failures {
    first: Mutex<Option<String>>,
    recorded: Notify,
}

impl Failures {
    /// Records a failed sync with its reason. Only the first is kept.
    pub fn record(&self, reason: String) {
        let mut first = self.first.lock();
        if first.is_none() {
            tracing::error!(%reason, "a write did not become durable; the server needs a restart");
            *first = Some(reason);
            self.recorded.notify_one();
        }
    }

    /// Returns why the server needs a restart, if it does.
    pub fn reason(&self) -> Option<String> {
        self.first.lock().clone()
    }

    /// Waits until a sync has failed and the disk works again, so that a restart helps.
    pub(super) async fn wait_until_restart_is_due(&self, opened: &Arc<Opened>) {
        self.recorded.notified().await;
        while let Err(error) = probe_stores(opened).await {
            tracing::error!(%error, "the disk is still broken; pulls are served where possible");
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }
}

/// Checks that new writes become durable on the disks of the blobs and of the metadata.
async fn probe_stores(opened: &Arc<Opened>) -> Result<(), String> {
    opened.registry.blobs().check().await.map_err(|error| error.to_string())?;
    let opened = Arc::clone(opened);
    let probed = tokio::task::spawn_blocking(move || durable::probe(&opened.metadata_dir.join("probe")));
    match probed.await {
        Ok(probed) => probed.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
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
        opened.failures.record("first".into());
        opened.failures.record("second".into());
        assert_eq!(opened.failures.reason().as_deref(), Some("first"));
        opened.failures.wait_until_restart_is_due(&opened).await;
        assert!(!config.metadata_dir().join("probe").exists());
    }
}
