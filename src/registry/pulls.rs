//! Records when manifests were last pulled, and when tags were last found unchanged by a client that may push. The
//! records are kept in memory until a job writes them, so that neither costs a write.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::metadata::{self, ManifestRecord, Metadata};
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
    /// Records a pull of a manifest.
    pub(super) fn record_pull(&self, repo: &RepoName, digest: &Digest, now: Timestamp) {
        record(&self.pulls, repo, digest, now);
    }

    /// Records that a tag was found at `manifest`, unless it was pushed a moment ago.
    pub(super) fn record_unchanged_push(
        &self,
        repo: &RepoName,
        tag: &Tag,
        manifest: &ManifestRecord,
        now: Timestamp,
    ) {
        if manifest.tagged_at.is_some_and(|at| at < now.minus(RECENT_PUSH)) {
            record(&self.pushes, repo, tag, (manifest.digest.clone(), now));
        }
    }

    /// Swaps the records of two repositories that exchange their names.
    pub(super) fn swap(&self, one: &RepoName, other: &RepoName) {
        swap(&self.pulls, one, other);
        swap(&self.pushes, one, other);
    }

    /// Writes the records; drops them if the store is read-only. Records that could not be written are kept.
    pub(super) async fn flush(&self, metadata: &Metadata, read_only: bool) -> metadata::Result<()> {
        let _writing = self.writing.lock().await;
        let pulls = take(&self.pulls);
        let pushes = take(&self.pushes);
        if read_only {
            return Ok(());
        }
        let written = write_pulls(metadata, &pulls).await;
        if written.is_err() {
            give_back(&self.pulls, pulls);
            give_back(&self.pushes, pushes);
            return written;
        }
        let written = write_pushes(metadata, &pushes).await;
        if written.is_err() {
            give_back(&self.pushes, pushes);
        }
        written
    }
}

async fn write_pulls(metadata: &Metadata, pulls: &ByRepository<Digest, Timestamp>) -> metadata::Result<()> {
    if pulls.is_empty() {
        return Ok(());
    }
    let rows = flat(pulls).map(|(repo, digest, at)| (repo.clone(), digest.clone(), *at));
    metadata.record_pulls(rows.collect()).await
}

async fn write_pushes(
    metadata: &Metadata,
    pushes: &ByRepository<Tag, (Digest, Timestamp)>,
) -> metadata::Result<()> {
    if pushes.is_empty() {
        return Ok(());
    }
    let rows = flat(pushes);
    let rows = rows.map(|(repo, tag, (digest, at))| (repo.clone(), tag.clone(), digest.clone(), *at));
    metadata.record_pushes(rows.collect()).await
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
