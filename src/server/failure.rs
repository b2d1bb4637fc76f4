//! What to do when a sync fails: nobody knows then what is on the disk.
//!
//! What was being written is thrown away by whoever wrote it, and never synced again. The server turns
//! unready at once. As soon as a fresh write is seen to become durable again, the server ends with an error, so that its
//! supervisor starts it anew on what is proven to be on the disk. While the disk stays broken a new start
//! would help nobody, and what can be read goes on being served.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::open::Opened;

/// How often a broken disk is tried.
const EVERY: Duration = Duration::from_secs(5);

/// The first sync that failed, if one did.
#[derive(Debug, Default)]
pub struct Failures {
    first: Mutex<Option<String>>,
    noted: Notify,
}

impl Failures {
    /// Notes that a sync failed, and why.
    pub fn note(&self, reason: String) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            tracing::error!(%reason, "a write did not become durable; the server will have to start anew");
            *first = Some(reason);
            self.noted.notify_one();
        }
    }

    /// Why the server has to start anew, if it has to.
    pub fn reason(&self) -> Option<String> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is a failure, and starting anew would help.
    pub(super) async fn time_to_end(&self, opened: &Arc<Opened>) {
        self.noted.notified().await;
        while let Err(error) = prove(opened).await {
            tracing::error!(%error, "the disk is still broken; pulls are served as far as possible");
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Proves that fresh writes become durable where bytes and facts are.
async fn prove(opened: &Arc<Opened>) -> Result<(), String> {
    opened.registry.blobs().check().await.map_err(|error| error.to_string())?;
    let opened = Arc::clone(opened);
    let probed = tokio::task::spawn_blocking(move || probe(&opened.metadata_dir.join("probe")));
    match probed.await {
        Ok(probed) => probed.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn probe(path: &Path) -> io::Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(b"probe")?;
        file.sync_all()
    });
    let removed = fs::remove_file(path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::server::Purpose;

    #[tokio::test]
    async fn a_new_start_is_due_once_the_disk_works() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.storage.data = dir.path().join("data");
        let opened = Opened::open(&config, Purpose::Serve).await.expect("opened");
        let opened = Arc::new(opened);
        opened.failures.note("first".into());
        opened.failures.note("second".into());
        assert_eq!(opened.failures.reason().as_deref(), Some("first"));
        opened.failures.time_to_end(&opened).await;
        assert!(!config.metadata_dir().join("probe").exists());
    }
}
