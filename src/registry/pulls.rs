//! When manifests were last pulled, and tags last found unchanged by somebody who may push: kept in memory
//! until a job writes it down, so that neither costs a write.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Fault, Registry, Repository};
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
    /// [`Fault`]; then those are forgotten.
    pub async fn flush_pulls(&self) -> Result<(), Fault> {
        let (pulls, pushes) = (take(&self.pulls.pulls), take(&self.pulls.pushes));
        if self.settings.read_only {
            return Ok(());
        }
        if !pulls.is_empty() {
            let pulls = flat(pulls);
            self.metadata.note_pulls(pulls.collect()).await?;
        }
        if !pushes.is_empty() {
            let pushes = flat(pushes).map(|(repo, tag, (digest, at))| (repo, tag, digest, at));
            self.metadata.note_pushes(pushes.collect()).await?;
        }
        Ok(())
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

fn flat<K, V>(noted: ByRepository<K, V>) -> impl Iterator<Item = (RepoName, K, V)> {
    noted
        .into_iter()
        .flat_map(|(repo, noted)| noted.into_iter().map(move |(key, value)| (repo.clone(), key, value)))
}
