//! Reports of the space used. They run on the blocking pool. `ops/accounting.rs` keeps the sums.

use std::collections::BTreeMap;

use crate::metadata::ops::maintenance::stored_blob;
use crate::metadata::ops::repo_id;
use crate::metadata::queries::reclaimable::graph::ReclaimableGraph;
use crate::metadata::queries::reclaimable::{graph, summary};
use crate::metadata::queries::why::WhyOptions;
use crate::metadata::queries::{usage, why};
use crate::metadata::sql::{Snapshot, digest};
use crate::metadata::{
    BigBlob, BlobWhy, ColdTag, CollectionRules, ManifestWhy, Metadata, Operation, PrefixUsage,
    ReclaimableSummary, RepoUsage, Result, Scope, StoredBlob, Usage, UsageDay,
};
use crate::oci::{Digest, Reference, RepoName};

impl Metadata {
    /// Returns some blobs whose allocated size is only an estimate that a migration made.
    pub async fn unmeasured(&self, limit: usize) -> Result<Vec<StoredBlob>> {
        self.query(Operation::Unmeasured, |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size, damaged, CASE WHEN measured <> 0 THEN allocated END FROM blobs WHERE measured = 0
                 ORDER BY digest LIMIT ?1",
            )?;
            query.query_map([limit], stored_blob)?.collect()
        }).await
    }

    /// Returns the bytes that this store itself takes on disk.
    pub async fn own_size(&self) -> Result<u64> {
        self.perform(Operation::OwnSize, async { self.sqlite.allocated_bytes() }).await
    }

    /// Returns what the repositories of `scope` use together. For a prefix it reads every blob of the store.
    pub async fn usage(&self, scope: &Scope) -> Result<Usage> {
        let scope = scope.clone();
        self.query_blocking(Operation::Usage, move |c| usage::usage(c, &scope)).await
    }

    /// Returns the `limit` repositories of `scope` that use the most space, largest first. Reads every
    /// repository of the scope.
    pub async fn biggest_repositories(&self, scope: &Scope, limit: usize) -> Result<Vec<RepoUsage>> {
        let scope = scope.clone();
        self.query_blocking(Operation::BiggestRepositories, move |c| {
            usage::biggest_repositories(c, &scope, limit)
        })
        .await
    }

    /// Returns the `limit` first name segments whose repositories use the most space, largest first, then the
    /// sum of all others, if any. Reads every repository, and nothing else.
    pub async fn biggest_prefixes(&self, limit: usize) -> Result<Vec<PrefixUsage>> {
        self.query_blocking(Operation::BiggestPrefixes, move |c| usage::biggest_prefixes(c, limit)).await
    }

    /// Returns the `limit` largest blobs linked by repositories of `scope`, largest first. Reads every link of
    /// the scope, or every blob.
    pub async fn biggest_blobs(&self, scope: &Scope, limit: usize) -> Result<Vec<BigBlob>> {
        let scope = scope.clone();
        self.query_blocking(Operation::BiggestBlobs, move |c| usage::biggest_blobs(c, &scope, limit)).await
    }

    /// Returns the `limit` tags of `scope` that have not been pulled for the longest time. Tags that were never
    /// pulled come first. Reads every tag of the scope.
    pub async fn coldest_tags(&self, scope: &Scope, limit: usize) -> Result<Vec<ColdTag>> {
        let scope = scope.clone();
        self.query_blocking(Operation::ColdestTags, move |c| usage::coldest_tags(c, &scope, limit)).await
    }

    /// Returns what can be reclaimed in the repositories of `scope`, and when. Blobs that other repositories
    /// link, too, free nothing. Reads the trash and the review queue of these repositories; if many entries
    /// wait there, all edges of these repositories and all blobs.
    pub async fn reclaimable_summary(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
    ) -> Result<ReclaimableSummary> {
        let scope = scope.clone();
        let rules = *rules;
        self.query_report(Operation::ReclaimableSummary, move |c| summary::summarize(c, &scope, &rules)).await
    }

    /// Returns the bytes on disk that deleting these manifests for good would free, together with the children
    /// and referrers that nothing else keeps alive. Manifests that do not exist are ignored. Reads what they
    /// refer to; if there are many, all edges of their repositories.
    pub async fn would_free(&self, manifests: Vec<(RepoName, Digest)>) -> Result<u64> {
        self.query_report(Operation::WouldFree, move |c| {
            let mut wanted: BTreeMap<&RepoName, Vec<Vec<u8>>> = BTreeMap::new();
            for (repo, manifest) in &manifests {
                wanted.entry(repo).or_default().push(digest(manifest));
            }
            let mut graph = ReclaimableGraph::new(c);
            for (repo, wanted) in wanted {
                if let Some(repo) = repo_id(c, repo)? {
                    graph::find(c, repo, wanted)?.into_iter().for_each(|row| graph.add(row, 1));
                }
            }
            Ok(graph.freed_space()?.bytes[0])
        })
        .await
    }

    /// Returns what keeps a manifest alive, with up to `limit` names for each reason.
    pub async fn why_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<ManifestWhy>> {
        let repo = repo.clone();
        let reference = reference.clone();
        let options = WhyOptions { rules: *rules, limit };
        self.query_blocking(Operation::WhyManifest, move |c| {
            let _snapshot = Snapshot::begin(c)?;
            why::manifest(c, &repo, &reference, options)
        })
        .await
    }

    /// Returns the first `limit` repositories that have a manifest, in any state. Reads every repository.
    pub async fn manifest_repositories(&self, wanted: &Digest, limit: usize) -> Result<Vec<RepoName>> {
        let wanted = digest(wanted);
        self.query_blocking(Operation::ManifestRepositories, move |c| {
            usage::manifest_repositories(c, &wanted, limit)
        })
        .await
    }

    /// Returns what keeps a blob alive: up to `limit` repositories that link it, with up to `limit` manifests
    /// in each.
    pub async fn why_blob(
        &self,
        wanted: &Digest,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<BlobWhy>> {
        let wanted = wanted.clone();
        let options = WhyOptions { rules: *rules, limit };
        self.query_blocking(Operation::WhyBlob, move |c| {
            let _snapshot = Snapshot::begin(c)?;
            why::blob(c, &wanted, options)
        })
        .await
    }

    /// Returns the last `limit` recorded days, oldest first.
    pub async fn days(&self, limit: usize) -> Result<Vec<UsageDay>> {
        self.query_blocking(Operation::Days, move |c| usage::days(c, limit)).await
    }
}
