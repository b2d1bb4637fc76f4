//! The audit log on its way to where it is kept: whoever notes something only appends to a list, which a job writes
//! down every second.

mod file;
mod gathered;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ClockState, Registry, ServiceError};
use crate::metadata::{AuditTimes, Audited};

use file::AuditFile;
use gathered::{Gathered, TOGETHER};

/// How many entries are forgotten at once.
const FORGOTTEN: usize = 1000;

/// What of the audit log has been noted, and where it goes.
#[derive(Default)]
pub(super) struct Audit {
    gathered: Mutex<Gathered>,
    /// One writes at a time.
    written: tokio::sync::Mutex<Written>,
    file: Option<Arc<Mutex<AuditFile>>>,
}

/// What was written lately, so that what happens again counts there.
#[derive(Default)]
struct Written(HashMap<Audited, Entry>);

struct Entry {
    id: i64,
    /// When it was begun, by the monotonic clock.
    since: Duration,
    /// What of it the file has not been told.
    untold: Option<AuditTimes>,
}

type Noted = Vec<(Audited, AuditTimes)>;

impl Audit {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        let file = file.map(|path| Arc::new(Mutex::new(AuditFile::new(path))));
        Self { file, ..Self::default() }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to the file, aside. What it cannot take is lost there alone.
    async fn tell_file(&self, entries: Noted) {
        let Some(file) = self.file.clone().filter(|_| !entries.is_empty()) else { return };
        let append = move || file.lock().unwrap_or_else(PoisonError::into_inner).append(&entries);
        match tokio::task::spawn_blocking(append).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "audit.file cannot be written"),
            Err(error) => tracing::error!(%error, "audit.file cannot be written"),
        }
    }
}

impl Written {
    /// Parts what begins an entry from what belongs to one of the last minute.
    fn part(&self, noted: Noted) -> (Noted, Noted) {
        noted.into_iter().partition(|(audited, _)| !self.0.contains_key(audited))
    }

    /// Forgets what is over. What the file has not been told of it, or of all at the `end`.
    fn close(&mut self, elapsed: Duration, end: bool) -> Noted {
        let over = |entry: &Entry| end || elapsed.saturating_sub(entry.since) >= TOGETHER;
        let closed = self.0.extract_if(|_, entry| over(entry));
        closed.filter_map(|(audited, entry)| entry.untold.map(|times| (audited, times))).collect()
    }
}

impl Registry {
    /// Notes for the audit log what somebody did or tried who came from a `network`, if not from this machine.
    pub fn audit(&self, audited: Audited, network: Option<IpAddr>) {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        self.audit.gathered().note(audited, network, now, elapsed);
    }

    /// Writes down what was noted since the last time; at the `end` all of it.
    ///
    /// # Errors
    /// [`ServiceError`]; then it is tried again the next time.
    pub async fn flush_audit(&self, end: bool) -> Result<(), ServiceError> {
        let mut written = self.audit.written.lock().await;
        let elapsed = self.clock.elapsed();
        let mut told = written.close(elapsed, end);
        let noted = self.audit.gathered().take(self.clock.now());
        let recorded = if self.settings.read_only {
            told.extend(noted);
            Ok(())
        } else {
            self.record(&mut written, noted, elapsed).await.map(|new| told.extend(new))
        };
        if end {
            told.extend(written.close(elapsed, end));
        }
        self.audit.tell_file(told).await;
        recorded
    }

    /// Records what was noted. What is new of it, for the file.
    async fn record(
        &self,
        written: &mut Written,
        noted: Noted,
        elapsed: Duration,
    ) -> Result<Noted, ServiceError> {
        if noted.is_empty() {
            return Ok(noted);
        }
        let (new, again) = written.part(noted);
        let counted = again.iter().filter_map(|(audited, times)| Some((written.0.get(audited)?.id, *times)));
        match self.metadata.note_audit(new.clone(), counted.collect()).await {
            Ok(ids) => {
                for (audited, times) in again {
                    if let Some(entry) = written.0.get_mut(&audited) {
                        entry.untold = Some(entry.untold.map_or(times, |untold| untold.and(times)));
                    }
                }
                for ((audited, _), id) in new.iter().zip(ids) {
                    written.0.insert(audited.clone(), Entry { id, since: elapsed, untold: None });
                }
                Ok(new)
            }
            Err(error) => {
                self.audit.gathered().put_back(new.into_iter().chain(again).collect());
                Err(error.into())
            }
        }
    }

    /// Forgets old entries of the audit log, unless the clock is not trusted, and those that are too many.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn forget_audit(&self) -> Result<(), ServiceError> {
        let trusted = self.clock_state().await? == ClockState::Trusted;
        let cutoff = trusted.then(|| self.clock.now().minus(self.settings.audit_keep));
        while self.metadata.forget_audit(cutoff, self.settings.audit_most, FORGOTTEN).await?.more {}
        Ok(())
    }
}
