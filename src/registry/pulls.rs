//! Records when manifests were last pulled, and when tags were last found unchanged by a client that may push. The
//! records are kept in memory until a job writes them, so that neither costs a write.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Registry, Repository, ServiceError};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::metadata::ManifestRecord;
use crate::oci::{Digest, RepoName, Tag};

/// A tag that was pushed within this time is not recorded again.
const RECENT_PUSH: Duration = Duration::from_secs(60);

type ByRepository<K, V> = HashMap<RepoName, HashMap<K, V>>;

#[derive(Default)]
pub(super) struct PullLog {
    pulls: Mutex<ByRepository<Digest, Timestamp>>,
    pushes: Mutex<ByRepository<Tag, (Digest, Timestamp)>>,
    /// Held while the records are written: a report that follows must not miss records that are being written.
    writing: tokio::sync::Mutex<()>,
}

impl PullLog {
    /// Swaps the records of two repositories that exchange their names.
    pub(super) fn swap(&self, one: &RepoName, other: &RepoName) {
        swap(&self.pulls, one, other);
        swap(&self.pushes, one, other);
    }
}

impl Repository {
    /// Records a pull of a manifest.
    pub fn record_pull(&self, digest: &Digest) {
        let now = self.registry.clock.now();
        record(&self.registry.pulls.pulls, &self.name, digest, now);
    }

    /// Records that a caller who may push looked up a tag and found `manifest`. A push that finds nothing to upload
    /// ends here, and the tag counts as pushed now.
    pub fn record_unchanged_push(&self, tag: &Tag, manifest: &ManifestRecord) {
        let now = self.registry.clock.now();
        if !self.access.push || manifest.tagged_at.is_none_or(|at| at >= now.minus(RECENT_PUSH)) {
            return;
        }
        record(&self.registry.pulls.pushes, &self.name, tag, (manifest.digest.clone(), now));
    }
}

impl Registry {
    /// Writes the pulls and the pushes without a change that were recorded since the last call.
    ///
    /// # Errors
    /// Fails if the metadata store cannot be written; the records are kept for the next call.
    pub async fn flush_pulls(&self) -> Result<(), ServiceError> {
        let _writing = self.pulls.writing.lock().await;
        let pulls = take(&self.pulls.pulls);
        let pushes = take(&self.pulls.pushes);
        if self.settings.read_only {
            return Ok(());
        }
        let written = self.write_pulls(&pulls).await;
        if written.is_err() {
            give_back(&self.pulls.pulls, pulls);
            give_back(&self.pulls.pushes, pushes);
            return written;
        }
        let written = self.write_pushes(&pushes).await;
        if written.is_err() {
            give_back(&self.pulls.pushes, pushes);
        }
        written
    }

    /// Writes the records before a report that shows them. A failure is only logged: a store that cannot be written is
    /// no reason to refuse a report.
    pub async fn flush_pulls_for_report(&self) {
        if let Err(error) = self.flush_pulls().await {
            tracing::debug!(error = %Chain(&error), "recording the last pulls failed; retrying later");
        }
    }

    async fn write_pulls(&self, pulls: &ByRepository<Digest, Timestamp>) -> Result<(), ServiceError> {
        if pulls.is_empty() {
            return Ok(());
        }
        let rows = flat(pulls).map(|(repo, digest, at)| (repo.clone(), digest.clone(), *at));
        Ok(self.metadata.record_pulls(rows.collect()).await?)
    }

    async fn write_pushes(
        &self,
        pushes: &ByRepository<Tag, (Digest, Timestamp)>,
    ) -> Result<(), ServiceError> {
        if pushes.is_empty() {
            return Ok(());
        }
        let rows = flat(pushes);
        let rows = rows.map(|(repo, tag, (digest, at))| (repo.clone(), tag.clone(), digest.clone(), *at));
        Ok(self.metadata.record_pushes(rows.collect()).await?)
    }
}

fn record<K: Hash + Eq + Clone, V>(log: &Mutex<ByRepository<K, V>>, repo: &RepoName, key: &K, value: V) {
    let mut last = log.lock();
    if let Some(recorded) = last.get_mut(repo).and_then(|recorded| recorded.get_mut(key)) {
        *recorded = value;
        return;
    }
    last.entry(repo.clone()).or_default().insert(key.clone(), value);
}

fn take<K, V>(log: &Mutex<ByRepository<K, V>>) -> ByRepository<K, V> {
    std::mem::take(&mut *log.lock())
}

fn swap<K, V>(log: &Mutex<ByRepository<K, V>>, one: &RepoName, other: &RepoName) {
    let mut last = log.lock();
    let of_one = last.remove(one);
    let of_other = last.remove(other);
    last.extend(of_one.map(|records| (other.clone(), records)));
    last.extend(of_other.map(|records| (one.clone(), records)));
}

/// Puts back records that could not be written, unless there is a newer one.
fn give_back<K: Hash + Eq, V>(log: &Mutex<ByRepository<K, V>>, unwritten: ByRepository<K, V>) {
    let mut last = log.lock();
    for (repo, records) in unwritten {
        let of_repo = last.entry(repo).or_default();
        for (key, value) in records {
            of_repo.entry(key).or_insert(value);
        }
    }
}

fn flat<K, V>(records: &ByRepository<K, V>) -> impl Iterator<Item = (&RepoName, &K, &V)> {
    records.iter().flat_map(|(repo, records)| records.iter().map(move |(key, value)| (repo, key, value)))
}
