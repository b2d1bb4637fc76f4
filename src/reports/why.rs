//! What keeps a manifest or blob, and how much space its removal would free.

use super::Reports;
use crate::clock::Timestamp;
use crate::jobs::retention::{RetentionError, Row};
use crate::metadata::{BlobWhy, ManifestWhy};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::ServiceError;

/// The number of holders of each kind, and of repositories, that are named.
const MAX_NAMED: usize = 10;

/// What keeps a manifest or blob.
#[derive(Debug, Clone)]
pub struct Why {
    /// The digest that was found.
    pub digest: Digest,
    /// When the report was made. A lease that has ended by then keeps nothing.
    pub now: Timestamp,
    /// What keeps it as a manifest, for each of the first ten repositories that have it.
    pub manifests: Vec<KeptManifest>,
    /// What keeps it as a blob.
    pub blob: Option<BlobWhy>,
}

/// What keeps a manifest in a repository.
#[derive(Debug, Clone)]
pub struct KeptManifest {
    /// The repository.
    pub repository: RepoName,
    /// What keeps it there, apart from policies.
    pub why: ManifestWhy,
    /// Those of its first tags that no policy may expire.
    pub protected: Vec<Tag>,
    /// Those of these tags that also cannot be moved or deleted.
    pub immutable: Vec<Tag>,
    /// The rule that keeps it although no tag, index or subject does, as of the last run of the policies.
    pub pinned_by: Option<String>,
    /// What policies would do now to the first ten tags that point at it, or to the manifest itself. `None` if the
    /// repository has too many tags to evaluate them for one manifest.
    pub rules: Option<Vec<Row>>,
}

impl Reports {
    /// Explains what keeps a manifest in a repository; `None` if the repository does not have it.
    ///
    /// # Errors
    /// Fails if a store can't be read.
    pub async fn why_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<Why>, RetentionError> {
        let now = self.registry.clock().now();
        let kept = self.kept_manifest(repository, reference).await?;
        Ok(kept.map(|kept| Why { digest: kept.why.digest.clone(), now, manifests: vec![kept], blob: None }))
    }

    /// Explains what keeps a manifest or blob in every repository; `None` if no repository has it.
    ///
    /// # Errors
    /// Fails if a store can't be read.
    pub async fn why_digest(&self, digest: &Digest) -> Result<Option<Why>, RetentionError> {
        let now = self.registry.clock().now();
        let blob = self.why_blob(digest).await?;
        let reference = Reference::Digest(digest.clone());
        let repositories = self.registry.metadata().manifest_repositories(digest, MAX_NAMED).await?;
        let mut manifests = Vec::new();
        for repository in repositories {
            // The manifest may have been removed since.
            manifests.extend(self.kept_manifest(&repository, &reference).await?);
        }
        let found = blob.is_some() || !manifests.is_empty();
        Ok(found.then(|| Why { digest: digest.clone(), now, manifests, blob }))
    }

    async fn kept_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<KeptManifest>, RetentionError> {
        let Some(why) = self.held_manifest(repository, reference).await? else {
            return Ok(None);
        };
        let pinned_by = self.registry.metadata().pin(repository, &why.digest).await?;
        let rules = match self.verdicts(repository, &why.digest).await {
            // Policies that cannot be used expire nothing, so they keep nothing either.
            Err(RetentionError::Policies(_)) => Some(Vec::new()),
            verdicts => verdicts?,
        };
        let rules = rules.map(|rows| rows.into_iter().take(MAX_NAMED).collect());
        let in_force = self.in_force();
        let tags_that = |is: &dyn Fn(&Tag) -> bool| {
            why.tags.first.iter().filter(|tag| is(tag)).cloned().collect::<Vec<_>>()
        };
        Ok(Some(KeptManifest {
            protected: tags_that(&|tag| in_force.is_protected(repository, tag)),
            immutable: tags_that(&|tag| in_force.is_immutable(repository, tag)),
            repository: repository.clone(),
            why,
            pinned_by,
            rules,
        }))
    }

    async fn held_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<ManifestWhy>, ServiceError> {
        let _turn = self.turn().await;
        self.registry.flush_pulls_for_report().await;
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_manifest(repository, reference, &rules, MAX_NAMED).await?)
    }

    async fn verdicts(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        let _turn = self.turn().await;
        self.retention.verdicts(repository, digest).await
    }

    async fn why_blob(&self, digest: &Digest) -> Result<Option<BlobWhy>, ServiceError> {
        let _turn = self.turn().await;
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_blob(digest, &rules, MAX_NAMED).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::jobs::retention::RetentionSettings;
    use crate::jobs::{Collector, CollectorSettings, Retention};
    use crate::metadata::{Access, Metadata};
    use crate::oci::{Algorithm, Hasher};
    use crate::registry::{Registry, Settings};
    use crate::store::MemoryStore;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn reports(dir: &std::path::Path) -> Reports {
        let metadata = Arc::new(Metadata::open(dir, Access::ReadWrite).expect("metadata"));
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let registry = Registry::new(Arc::new(MemoryStore::new()), metadata, clock, Settings::default());
        let rules = CollectorSettings { trash: DAY, untagged: None, upload_expiry: DAY, batch: 1 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let batch = RetentionSettings { batch: 1 };
        let retention = Arc::new(Retention::new(Arc::clone(&registry), Arc::default(), batch));
        Reports::new(registry, collector, retention)
    }

    #[tokio::test]
    async fn reports_run_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let reports = reports(dir.path());
        let name = "app".parse().expect("a name");
        let digest = Hasher::digest(Algorithm::Sha256, b"a");
        let other_report = reports.turn().await.expect("a turn");
        let waiting = tokio::time::timeout(Duration::from_millis(50), reports.verdicts(&name, &digest)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        drop(other_report);
        assert!(reports.verdicts(&name, &digest).await.expect("a report").is_some());
    }
}
