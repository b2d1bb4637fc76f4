//! Forwards every method to the wrapped store, with fault injection.

use std::path::Path;

use async_trait::async_trait;

use super::{Faulty, Operation};
use crate::clock::Timestamp;
use crate::metadata::*;
use crate::oci::{Algorithm, BlobKey, Digest, Reference, RepoName, Tag, UploadId};

#[async_trait]
impl<S: Uploads> Uploads for Faulty<S> {
    async fn create_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<UploadCreation> {
        self.faults.apply(Operation::CreateUpload, self.inner.create_upload(repo, id, algorithm, now)).await
    }

    async fn upload(&self, repo: &RepoName, id: UploadId) -> Result<Option<UploadRecord>> {
        self.faults.apply(Operation::Upload, self.inner.upload(repo, id)).await
    }

    async fn record_progress(&self, id: UploadId, progress: Progress, now: Timestamp) -> Result<bool> {
        self.faults.apply(Operation::RecordProgress, self.inner.record_progress(id, progress, now)).await
    }

    async fn record_intent(&self, id: UploadId, intent: &BlobKey) -> Result<bool> {
        self.faults.apply(Operation::RecordIntent, self.inner.record_intent(id, intent)).await
    }

    async fn forget_intent(&self, id: UploadId) -> Result<()> {
        self.faults.apply(Operation::ForgetIntent, self.inner.forget_intent(id)).await
    }

    async fn commit_upload(
        &self,
        id: UploadId,
        key: &BlobKey,
        size: BlobSize,
        end: UploadEnd,
    ) -> Result<Commit> {
        self.faults.apply(Operation::CommitUpload, self.inner.commit_upload(id, key, size, end)).await
    }

    async fn cancel_upload(
        &self,
        id: UploadId,
        idle_since: Option<Timestamp>,
        end: UploadEnd,
    ) -> Result<bool> {
        self.faults.apply(Operation::CancelUpload, self.inner.cancel_upload(id, idle_since, end)).await
    }

    async fn idle_uploads(&self, idle_since: Timestamp, limit: usize) -> Result<Vec<UploadId>> {
        self.faults.apply(Operation::IdleUploads, self.inner.idle_uploads(idle_since, limit)).await
    }

    async fn upload_status(&self, id: UploadId) -> Result<Option<UploadStatus>> {
        self.faults.apply(Operation::UploadStatus, self.inner.upload_status(id)).await
    }

    async fn intended_uploads(&self) -> Result<Vec<(UploadId, BlobKey)>> {
        self.faults.apply(Operation::IntendedUploads, self.inner.intended_uploads()).await
    }
}

#[async_trait]
impl<S: Blobs> Blobs for Faulty<S> {
    async fn blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<BlobRecord>> {
        self.faults.apply(Operation::Blob, self.inner.blob(repo, digest)).await
    }

    async fn renew_lease(&self, repo: &RepoName, target: Target<'_>, renewal: Renewal) -> Result<bool> {
        self.faults.apply(Operation::RenewLease, self.inner.renew_lease(repo, target, renewal)).await
    }

    async fn mount_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        from: Option<&RepoName>,
        now: Timestamp,
    ) -> Result<Mount> {
        self.faults.apply(Operation::MountBlob, self.inner.mount_blob(repo, digest, from, now)).await
    }

    async fn blob_repositories(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>> {
        self.faults.apply(Operation::BlobRepositories, self.inner.blob_repositories(digest, limit)).await
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest, now: Timestamp) -> Result<Deletion> {
        self.faults.apply(Operation::DeleteBlob, self.inner.delete_blob(repo, digest, now)).await
    }

    async fn mark_blob(&self, key: &BlobKey, integrity: Integrity, now: Timestamp) -> Result<bool> {
        self.faults.apply(Operation::MarkBlob, self.inner.mark_blob(key, integrity, now)).await
    }
}

#[async_trait]
impl<S: Manifests> Manifests for Faulty<S> {
    async fn manifest(&self, repo: &RepoName, reference: &Reference) -> Result<Option<ManifestRecord>> {
        self.faults.apply(Operation::Manifest, self.inner.manifest(repo, reference)).await
    }

    async fn put_manifest(&self, put: PutManifest) -> Result<PutOutcome> {
        self.faults.apply(Operation::PutManifest, self.inner.put_manifest(put)).await
    }

    async fn has_config_details(&self, config: &Digest) -> Result<bool> {
        self.faults.apply(Operation::HasConfigDetails, self.inner.has_config_details(config)).await
    }

    async fn delete_manifest(&self, repo: &RepoName, digest: &Digest, change: &Change) -> Result<Deletion> {
        self.faults.apply(Operation::DeleteManifest, self.inner.delete_manifest(repo, digest, change)).await
    }

    async fn delete_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<Deletion> {
        self.faults.apply(Operation::DeleteTag, self.inner.delete_tag(repo, tag, change)).await
    }

    async fn tags(&self, repo: &RepoName, after: Option<&str>, limit: usize) -> Result<Option<Vec<Tag>>> {
        self.faults.apply(Operation::Tags, self.inner.tags(repo, after, limit)).await
    }

    async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>> {
        self.faults
            .apply(Operation::Referrers, self.inner.referrers(repo, subject, artifact_type, after, limit))
            .await
    }

    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Vec<RepoName>> {
        self.faults.apply(Operation::Repositories, self.inner.repositories(after, limit)).await
    }

    async fn repository_exists(&self, repo: &RepoName) -> Result<bool> {
        self.faults.apply(Operation::RepositoryExists, self.inner.repository_exists(repo)).await
    }

    async fn record_pulls(&self, pulls: Vec<(RepoName, Digest, Timestamp)>) -> Result<()> {
        self.faults.apply(Operation::RecordPulls, self.inner.record_pulls(pulls)).await
    }
}

#[async_trait]
impl<S: Listings> Listings for Faulty<S> {
    async fn list_repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>> {
        self.faults.apply(Operation::ListRepositories, self.inner.list_repositories(query, visible)).await
    }

    async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>> {
        let found = self.inner.repository_names(after, limit, visible);
        self.faults.apply(Operation::RepositoryNames, found).await
    }

    async fn repository_entry(&self, repo: &RepoName) -> Result<Option<RepositoryEntry>> {
        self.faults.apply(Operation::RepositoryEntry, self.inner.repository_entry(repo)).await
    }

    async fn list_tags(&self, repo: &RepoName, query: &ListQuery) -> Result<Option<ListPage<TagEntry>>> {
        self.faults.apply(Operation::ListTags, self.inner.list_tags(repo, query)).await
    }

    async fn tag_entry(&self, repo: &RepoName, tag: &Tag) -> Result<Option<TagEntry>> {
        self.faults.apply(Operation::TagEntry, self.inner.tag_entry(repo, tag)).await
    }

    async fn manifest_entry(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Option<(ManifestEntry, Related)>> {
        self.faults.apply(Operation::ManifestEntry, self.inner.manifest_entry(repo, digest)).await
    }
}

#[async_trait]
impl<S: Collection> Collection for Faulty<S> {
    async fn review_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::ReviewManifests, self.inner.review_manifests(rules, limit)).await
    }

    async fn expire_trash(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::ExpireTrash, self.inner.expire_trash(rules, limit)).await
    }

    async fn purge_manifests(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::PurgeManifests, self.inner.purge_manifests(rules, limit)).await
    }

    async fn review_links(&self, rules: &CollectionRules, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::ReviewLinks, self.inner.review_links(rules, limit)).await
    }

    async fn pending_deletions(&self, limit: usize) -> Result<Vec<(BlobKey, u64)>> {
        self.faults.apply(Operation::PendingDeletions, self.inner.pending_deletions(limit)).await
    }

    async fn forget_pending_deletions(&self, keys: &[BlobKey]) -> Result<()> {
        self.faults.apply(Operation::ForgetPendingDeletions, self.inner.forget_pending_deletions(keys)).await
    }

    async fn dry_run(&self, rules: &CollectionRules) -> Result<Garbage> {
        self.faults.apply(Operation::DryRun, self.inner.dry_run(rules)).await
    }
}

#[async_trait]
impl<S: Scrubbing> Scrubbing for Faulty<S> {
    async fn scrub_position(&self) -> Result<Option<String>> {
        self.faults.apply(Operation::ScrubPosition, self.inner.scrub_position()).await
    }

    async fn record_scrub_position(&self, position: &str) -> Result<()> {
        self.faults.apply(Operation::RecordScrubPosition, self.inner.record_scrub_position(position)).await
    }

    async fn quarantined_blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<QuarantinedBlob>> {
        self.faults.apply(Operation::QuarantinedBlobs, self.inner.quarantined_blobs(after, limit)).await
    }

    async fn count_quarantined(&self, max: usize) -> Result<u64> {
        self.faults.apply(Operation::CountQuarantined, self.inner.count_quarantined(max)).await
    }
}

#[async_trait]
impl<S: Maintenance> Maintenance for Faulty<S> {
    async fn bind_store(&self, store_id: &str) -> Result<String> {
        self.faults.apply(Operation::BindStore, self.inner.bind_store(store_id)).await
    }

    async fn recorded_time(&self) -> Result<Option<Timestamp>> {
        self.faults.apply(Operation::RecordedTime, self.inner.recorded_time()).await
    }

    async fn record_time(&self, now: Timestamp) -> Result<()> {
        self.faults.apply(Operation::RecordTime, self.inner.record_time(now)).await
    }

    async fn apply_clock_jump(&self, jump: ClockJump) -> Result<()> {
        self.faults.apply(Operation::ApplyClockJump, self.inner.apply_clock_jump(jump)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.faults.apply(Operation::Totals, self.inner.totals()).await
    }

    async fn blobs_after(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>> {
        self.faults.apply(Operation::BlobsAfter, self.inner.blobs_after(after, limit)).await
    }

    async fn stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>> {
        self.faults.apply(Operation::StoredBlob, self.inner.stored_blob(digest)).await
    }

    async fn manifests_after(&self, after: i64, limit: usize) -> Result<Vec<StoredManifest>> {
        self.faults.apply(Operation::ManifestsAfter, self.inner.manifests_after(after, limit)).await
    }

    async fn edges_of(&self, manifest: i64) -> Result<Vec<Edge>> {
        self.faults.apply(Operation::EdgesOf, self.inner.edges_of(manifest)).await
    }

    async fn verify(&self) -> Result<Vec<String>> {
        self.faults.apply(Operation::Verify, self.inner.verify()).await
    }

    async fn copy_to(&self, path: &Path) -> Result<()> {
        self.faults.apply(Operation::CopyTo, self.inner.copy_to(path)).await
    }

    async fn tidy(&self) -> Result<()> {
        self.faults.apply(Operation::Tidy, self.inner.tidy()).await
    }

    async fn check(&self) -> Result<()> {
        self.faults.apply(Operation::Check, self.inner.check()).await
    }
}

#[async_trait]
impl<S: Accounting> Accounting for Faulty<S> {
    async fn unmeasured(&self, limit: usize) -> Result<Vec<StoredBlob>> {
        self.faults.apply(Operation::Unmeasured, self.inner.unmeasured(limit)).await
    }

    async fn record_allocated(&self, measured: Vec<(BlobKey, u64)>) -> Result<()> {
        self.faults.apply(Operation::RecordAllocated, self.inner.record_allocated(measured)).await
    }

    async fn own_size(&self) -> Result<u64> {
        self.faults.apply(Operation::OwnSize, self.inner.own_size()).await
    }

    async fn usage(&self, scope: &Scope) -> Result<Usage> {
        self.faults.apply(Operation::Usage, self.inner.usage(scope)).await
    }

    async fn biggest_repositories(&self, scope: &Scope, limit: usize) -> Result<Vec<RepoUsage>> {
        self.faults.apply(Operation::BiggestRepositories, self.inner.biggest_repositories(scope, limit)).await
    }

    async fn biggest_prefixes(&self, limit: usize) -> Result<Vec<PrefixUsage>> {
        self.faults.apply(Operation::BiggestPrefixes, self.inner.biggest_prefixes(limit)).await
    }

    async fn biggest_blobs(&self, scope: &Scope, limit: usize) -> Result<Vec<BigBlob>> {
        self.faults.apply(Operation::BiggestBlobs, self.inner.biggest_blobs(scope, limit)).await
    }

    async fn coldest_tags(&self, scope: &Scope, limit: usize) -> Result<Vec<ColdTag>> {
        self.faults.apply(Operation::ColdestTags, self.inner.coldest_tags(scope, limit)).await
    }

    async fn reclaimable_summary(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
    ) -> Result<ReclaimableSummary> {
        self.faults.apply(Operation::ReclaimableSummary, self.inner.reclaimable_summary(scope, rules)).await
    }

    async fn would_free(&self, manifests: Vec<(RepoName, Digest)>) -> Result<u64> {
        self.faults.apply(Operation::WouldFree, self.inner.would_free(manifests)).await
    }

    async fn why_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<ManifestWhy>> {
        self.faults
            .apply(Operation::WhyManifest, self.inner.why_manifest(repo, reference, rules, limit))
            .await
    }

    async fn manifest_repositories(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>> {
        let found = self.inner.manifest_repositories(digest, limit);
        self.faults.apply(Operation::ManifestRepositories, found).await
    }

    async fn why_blob(
        &self,
        digest: &Digest,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<BlobWhy>> {
        self.faults.apply(Operation::WhyBlob, self.inner.why_blob(digest, rules, limit)).await
    }

    async fn record_day(&self, now: Timestamp) -> Result<()> {
        self.faults.apply(Operation::RecordDay, self.inner.record_day(now)).await
    }

    async fn days(&self, limit: usize) -> Result<Vec<UsageDay>> {
        self.faults.apply(Operation::Days, self.inner.days(limit)).await
    }
}

#[async_trait]
impl<S: Quotas> Quotas for Faulty<S> {
    async fn set_quotas(&self, quotas: &[Quota]) -> Result<()> {
        self.faults.apply(Operation::SetQuotas, self.inner.set_quotas(quotas)).await
    }

    async fn quotas(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>> {
        self.faults.apply(Operation::Quotas, self.inner.quotas(repo)).await
    }

    async fn measure_quotas(&self, quotas: &[Quota]) -> Result<Vec<QuotaUse>> {
        self.faults.apply(Operation::MeasureQuotas, self.inner.measure_quotas(quotas)).await
    }

    async fn is_counted(&self, repo: &RepoName, target: Target<'_>) -> Result<bool> {
        self.faults.apply(Operation::IsCounted, self.inner.is_counted(repo, target)).await
    }

    async fn reclaim_now(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
        trash: usize,
        rows: usize,
    ) -> Result<Reclaimed> {
        self.faults.apply(Operation::ReclaimNow, self.inner.reclaim_now(scope, rules, trash, rows)).await
    }
}

#[async_trait]
impl<S: Accounts> Accounts for Faulty<S> {
    async fn accounts(&self) -> Result<AccountRecords> {
        self.faults.apply(Operation::Accounts, self.inner.accounts()).await
    }

    async fn change_accounts(&self, change: AccountChange) -> Result<AccountOutcome> {
        self.faults.apply(Operation::ChangeAccounts, self.inner.change_accounts(change)).await
    }

    async fn record_token_uses(&self, uses: Vec<(String, Timestamp)>) -> Result<()> {
        self.faults.apply(Operation::RecordTokenUses, self.inner.record_token_uses(uses)).await
    }

    async fn forget_tokens(&self, now: Timestamp) -> Result<usize> {
        self.faults.apply(Operation::ForgetTokens, self.inner.forget_tokens(now)).await
    }
}
