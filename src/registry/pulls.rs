//! When manifests were last pulled, and tags last found unchanged by somebody who may push: kept in memory
//! until a job writes it down, so that neither costs a write.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Registry, Repository, ServiceError};
use crate::clock::Timestamp;
use crate::metadata::ManifestRecord;
use crate::oci::{Digest, RepoName, Tag};

/// A tag that was pushed within this time is not worth noting again.
const LATELY: Duration = Duration::from_secs(60);

type ByRepository<K, V> = HashMap<RepoName, HashMap<K, V>>;

#[derive(Default)]
pub(super) struct PullLog {
    pulls: Mutex<ByRepository<Digest, Timestamp>>,
    pushes: Mutex<ByRepository<Tag, (Digest, Timestamp)>>,
    /// Held while they are written: a report that follows must not miss what is on its way.
    writing: tokio::sync::Mutex<()>,
}

impl PullLog {
    /// What was noted under two names that change places.
    pub(super) fn swap(&self, one: &RepoName, other: &RepoName) {
        swap(&self.pulls, one, other);
        swap(&self.pushes, one, other);
    }
}

impl Repository {
    /// Notes that a manifest was pulled.
    pub fn note_pull(&self, digest: &Digest) {
        let now = self.registry.clock.now();
        note(&self.registry.pulls.pulls, &self.name, digest, now);
    }

    /// Notes that a caller who may push looked at a tag and found `manifest`: a push that finds nothing to do
    /// ends here, and the tag is as young as if it had been pushed.
    pub fn note_push(&self, tag: &Tag, manifest: &ManifestRecord) {
        let now = self.registry.clock.now();
        if !self.access.push || manifest.tagged_at.is_none_or(|at| at >= now.minus(LATELY)) {
            return;
        }
        note(&self.registry.pulls.pushes, &self.name, tag, (manifest.digest.clone(), now));
    }
}

impl Registry {
    /// Writes down the pulls, and the pushes without a change, that were noted since the last time.
    ///
    /// # Errors
    /// [`ServiceError`]; then they stay noted for the next time.
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

    /// Writes down what was noted, for a report that is about to tell of it. A store that takes no writes is no
    /// reason to refuse a report.
    pub async fn settle_pulls(&self) {
        if let Err(error) = self.flush_pulls().await {
            tracing::debug!(%error, "the last pulls could not be recorded yet");
        }
    }

    async fn write_pulls(&self, pulls: &ByRepository<Digest, Timestamp>) -> Result<(), ServiceError> {
        if pulls.is_empty() {
            return Ok(());
        }
        let rows = flat(pulls).map(|(repo, digest, at)| (repo.clone(), digest.clone(), *at));
        Ok(self.metadata.note_pulls(rows.collect()).await?)
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
        Ok(self.metadata.note_pushes(rows.collect()).await?)
    }
}

fn note<K: Hash + Eq + Clone, V>(log: &Mutex<ByRepository<K, V>>, repo: &RepoName, key: &K, value: V) {
    let mut last = log.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(noted) = last.get_mut(repo).and_then(|noted| noted.get_mut(key)) {
        *noted = value;
        return;
    }
    last.entry(repo.clone()).or_default().insert(key.clone(), value);
}

fn take<K, V>(log: &Mutex<ByRepository<K, V>>) -> ByRepository<K, V> {
    std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner))
}

fn swap<K, V>(log: &Mutex<ByRepository<K, V>>, one: &RepoName, other: &RepoName) {
    let mut last = log.lock().unwrap_or_else(PoisonError::into_inner);
    let (of_one, of_other) = (last.remove(one), last.remove(other));
    last.extend(of_one.map(|noted| (other.clone(), noted)));
    last.extend(of_other.map(|noted| (one.clone(), noted)));
}

/// Notes again what could not be written, unless something newer was noted meanwhile.
fn give_back<K: Hash + Eq, V>(log: &Mutex<ByRepository<K, V>>, unwritten: ByRepository<K, V>) {
    let mut last = log.lock().unwrap_or_else(PoisonError::into_inner);
    for (repo, noted) in unwritten {
        let of_repo = last.entry(repo).or_default();
        for (key, value) in noted {
            of_repo.entry(key).or_insert(value);
        }
    }
}

fn flat<K, V>(noted: &ByRepository<K, V>) -> impl Iterator<Item = (&RepoName, &K, &V)> {
    noted.iter().flat_map(|(repo, noted)| noted.iter().map(move |(key, value)| (repo, key, value)))
}
