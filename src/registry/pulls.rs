//! When manifests were last pulled, kept in memory until a job writes it down: a pull costs no write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Fault, Registry, Repository};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName};

#[derive(Default)]
pub(super) struct PullLog {
    last: Mutex<HashMap<RepoName, HashMap<Digest, Timestamp>>>,
}

impl Repository {
    /// Notes that a manifest was pulled.
    pub fn note_pull(&self, digest: &Digest) {
        let now = self.registry.clock.now();
        let mut last = self.registry.pulls.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = last.get_mut(&self.name).and_then(|pulls| pulls.get_mut(digest)) {
            *at = now;
            return;
        }
        last.entry(self.name.clone()).or_default().insert(digest.clone(), now);
    }
}

impl Registry {
    /// Writes down the pulls that were noted since the last time.
    ///
    /// # Errors
    /// [`Fault`]; then those pulls are forgotten.
    pub async fn flush_pulls(&self) -> Result<(), Fault> {
        let pulls = std::mem::take(&mut *self.pulls.last.lock().unwrap_or_else(PoisonError::into_inner));
        if pulls.is_empty() || self.settings.read_only {
            return Ok(());
        }
        let each = |(repo, pulls): (RepoName, HashMap<Digest, Timestamp>)| {
            pulls.into_iter().map(move |(digest, at)| (repo.clone(), digest, at))
        };
        Ok(self.metadata.note_pulls(pulls.into_iter().flat_map(each).collect()).await?)
    }
}
