//! Accounting of the space used. Triggers keep the counters; the reports run on the blocking pool.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use async_trait::async_trait;
use rusqlite::params;

use super::codec::digest;
use super::freed::{self, ReclaimableGraph};
use super::maintenance::stored_blob;
use super::why::{self, WhyOptions};
use super::{Durability, SqliteMetadata, holdings, repo_id, usage};
use crate::clock::Timestamp;
use crate::metadata::{
    Accounting, BigBlob, BlobWhy, ColdTag, CollectionRules, ManifestWhy, MetadataError, PrefixUsage,
    ReclaimableSummary, RepoUsage, Result, Scope, StoredBlob, Usage, UsageDay,
};
use crate::oci::{BlobKey, Digest, Reference, RepoName};

/// Milliseconds in a day.
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Sums the allocated bytes of the files in a directory: the database, its log, copies from before migrations, and the
/// reserved space.
fn allocated_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        match entry?.metadata() {
            Ok(file) if file.is_file() => bytes += file.blocks() * 512,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[async_trait]
impl Accounting for SqliteMetadata {
    async fn unmeasured(&self, limit: usize) -> Result<Vec<StoredBlob>> {
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size, damaged, iif(measured, allocated, NULL) FROM blobs WHERE measured = 0
                 ORDER BY digest LIMIT ?1",
            )?;
            query.query_map([limit.cast_signed()], stored_blob)?.collect()
        })
    }

    async fn record_allocated(&self, measured: Vec<(BlobKey, u64)>) -> Result<()> {
        self.write_behind(Durability::Lazy, move |c| {
            let mut update = c.prepare_cached(
                "UPDATE blobs SET allocated = ?3, measured = 1 WHERE digest = ?1 AND generation = ?2",
            )?;
            measured.iter().try_for_each(|(key, allocated)| {
                update
                    .execute(params![digest(&key.digest), key.generation, allocated.cast_signed()])
                    .map(drop)
            })
        })
        .await
    }

    async fn own_size(&self) -> Result<u64> {
        let dir = self.path.parent().unwrap_or(&self.path);
        allocated_bytes(dir).map_err(|error| MetadataError::Failed(error.to_string()))
    }

    async fn usage(&self, scope: &Scope) -> Result<Usage> {
        let scope = scope.clone();
        self.read_blocking(move |c| usage::usage(c, &scope)).await
    }

    async fn biggest_repositories(&self, scope: &Scope, limit: usize) -> Result<Vec<RepoUsage>> {
        let scope = scope.clone();
        self.read_blocking(move |c| usage::biggest_repositories(c, &scope, limit)).await
    }

    async fn biggest_prefixes(&self, limit: usize) -> Result<Vec<PrefixUsage>> {
        self.read_blocking(move |c| usage::biggest_prefixes(c, limit)).await
    }

    async fn biggest_blobs(&self, scope: &Scope, limit: usize) -> Result<Vec<BigBlob>> {
        let scope = scope.clone();
        self.read_blocking(move |c| usage::biggest_blobs(c, &scope, limit)).await
    }

    async fn coldest_tags(&self, scope: &Scope, limit: usize) -> Result<Vec<ColdTag>> {
        let scope = scope.clone();
        self.read_blocking(move |c| usage::coldest_tags(c, &scope, limit)).await
    }

    async fn reclaimable_summary(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
    ) -> Result<ReclaimableSummary> {
        let scope = scope.clone();
        let rules = *rules;
        self.read_report(move |c| holdings::summarize(c, &scope, &rules)).await
    }

    async fn would_free(&self, manifests: Vec<(RepoName, Digest)>) -> Result<u64> {
        self.read_report(move |c| {
            let mut wanted: BTreeMap<&RepoName, Vec<Vec<u8>>> = BTreeMap::new();
            for (repo, manifest) in &manifests {
                wanted.entry(repo).or_default().push(digest(manifest));
            }
            let mut graph = ReclaimableGraph::new(c);
            for (repo, wanted) in wanted {
                if let Some(repo) = repo_id(c, repo)? {
                    freed::find(c, repo, wanted)?.into_iter().for_each(|row| graph.add(row, 1));
                }
            }
            Ok(graph.freed_space()?.bytes[0])
        })
        .await
    }

    async fn why_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<ManifestWhy>> {
        let repo = repo.clone();
        let reference = reference.clone();
        let options = WhyOptions { rules: *rules, limit };
        self.read_blocking(move |c| why::manifest(&*c.unchecked_transaction()?, &repo, &reference, options))
            .await
    }

    async fn manifest_repositories(&self, wanted: &Digest, limit: usize) -> Result<Vec<RepoName>> {
        let wanted = digest(wanted);
        self.read_blocking(move |c| usage::manifest_repositories(c, &wanted, limit)).await
    }

    async fn why_blob(
        &self,
        wanted: &Digest,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<BlobWhy>> {
        let wanted = wanted.clone();
        let options = WhyOptions { rules: *rules, limit };
        self.read_blocking(move |c| why::blob(&*c.unchecked_transaction()?, &wanted, options)).await
    }

    async fn record_day(&self, now: Timestamp) -> Result<()> {
        let day = now.0.div_euclid(DAY_MILLIS);
        if self.read(|c| usage::is_day_recorded(c, day))? {
            return Ok(());
        }
        self.write(Durability::Lazy, move |c| usage::record_day(c, day)).await
    }

    async fn days(&self, limit: usize) -> Result<Vec<UsageDay>> {
        self.read_blocking(move |c| usage::days(c, limit)).await
    }
}
