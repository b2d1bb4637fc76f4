//! Collects audit entries and writes them. Requests only append to a list in memory; a job writes the list every
//! second.

mod file;
mod gathered;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::{ClockState, Registry, ServiceError};
use crate::metadata::{AuditTimes, Audited};

use file::AuditFile;
use gathered::{Gathered, MERGE_WINDOW};

/// How many entries are deleted in one step.
const DELETE_BATCH: usize = 1000;

/// The entries that were collected, and where they are written.
#[derive(Default)]
pub(super) struct Audit {
    gathered: Mutex<Gathered>,
    /// Held while entries are written, so that only one task writes.
    written: tokio::sync::Mutex<Written>,
    file: Option<Arc<Mutex<AuditFile>>>,
}

/// Entries written during the last minute, so that equal ones are added to their count.
#[derive(Default)]
struct Written(HashMap<Audited, Entry>);

struct Entry {
    id: i64,
    /// When it was first written, by the monotonic clock.
    since: Duration,
    /// The occurrences the file does not contain yet.
    not_in_file: Option<AuditTimes>,
}

type Entries = Vec<(Audited, AuditTimes)>;

impl Audit {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        let file = file.map(|path| Arc::new(Mutex::new(AuditFile::new(path))));
        Self { file, ..Self::default() }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock()
    }

    /// Appends to the file on a blocking thread. Entries that cannot be written there are missing from the file only.
    async fn append_to_file(&self, entries: Entries) {
        let Some(file) = self.file.clone().filter(|_| !entries.is_empty()) else { return };
        let append = move || file.lock().append(&entries);
        match tokio::task::spawn_blocking(append).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "writing audit.file failed"),
            Err(error) => tracing::error!(%error, "writing audit.file failed"),
        }
    }
}

impl Written {
    /// Splits `entries` into new ones and ones that were also written during the last minute.
    fn partition(&self, entries: Entries) -> (Entries, Entries) {
        entries.into_iter().partition(|(audited, _)| !self.0.contains_key(audited))
    }

    /// Removes the entries older than a minute, or all of them if `all` is set. Returns what the file lacks of them.
    fn close(&mut self, elapsed: Duration, all: bool) -> Entries {
        let is_over = |entry: &Entry| all || elapsed.saturating_sub(entry.since) >= MERGE_WINDOW;
        let closed = self.0.extract_if(|_, entry| is_over(entry));
        closed.filter_map(|(audited, entry)| entry.not_in_file.map(|times| (audited, times))).collect()
    }
}

impl Registry {
    /// Adds something a client did or attempted to the audit log. `network` is `None` for requests from this machine.
    pub fn audit(&self, audited: Audited, network: Option<IpAddr>) {
        let now = self.clock.now();
        let elapsed = self.clock.elapsed();
        self.audit.gathered().add(audited, network, now, elapsed);
    }

    /// Writes the entries collected since the last call. Set `all` at shutdown to write the rest as well.
    ///
    /// # Errors
    /// Fails if the metadata store cannot be written; the next call tries again.
    pub async fn flush_audit(&self, all: bool) -> Result<(), ServiceError> {
        let mut written = self.audit.written.lock().await;
        let elapsed = self.clock.elapsed();
        let mut for_file = written.close(elapsed, all);
        let entries = self.audit.gathered().take(self.clock.now());
        let recorded = if self.settings.read_only {
            for_file.extend(entries);
            Ok(())
        } else {
            self.write_audit(&mut written, entries, elapsed).await.map(|new| for_file.extend(new))
        };
        if all {
            for_file.extend(written.close(elapsed, all));
        }
        self.audit.append_to_file(for_file).await;
        recorded
    }

    /// Writes entries to the metadata store. Returns the new ones, for the file.
    async fn write_audit(
        &self,
        written: &mut Written,
        entries: Entries,
        elapsed: Duration,
    ) -> Result<Entries, ServiceError> {
        if entries.is_empty() {
            return Ok(entries);
        }
        let (new, repeated) = written.partition(entries);
        let counted =
            repeated.iter().filter_map(|(audited, times)| Some((written.0.get(audited)?.id, *times)));
        match self.metadata.record_audit(new.clone(), counted.collect()).await {
            Ok(ids) => {
                for (audited, times) in repeated {
                    if let Some(entry) = written.0.get_mut(&audited) {
                        entry.not_in_file =
                            Some(entry.not_in_file.map_or(times, |earlier| earlier.merge(times)));
                    }
                }
                for ((audited, _), id) in new.iter().zip(ids) {
                    written.0.insert(audited.clone(), Entry { id, since: elapsed, not_in_file: None });
                }
                Ok(new)
            }
            Err(error) => {
                self.audit.gathered().put_back(new.into_iter().chain(repeated).collect());
                Err(error.into())
            }
        }
    }

    /// Deletes excess audit entries, and old ones unless the clock cannot be trusted.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn forget_audit(&self) -> Result<(), ServiceError> {
        let is_trusted = self.clock_state().await? == ClockState::Trusted;
        let cutoff = is_trusted.then(|| self.clock.now().minus(self.settings.audit_keep));
        while self.metadata.forget_audit(cutoff, self.settings.max_audit_entries, DELETE_BATCH).await?.more {}
        Ok(())
    }
}
