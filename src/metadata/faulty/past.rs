//! Forwards the methods for history, events, audit, trash, expiry and repository changes, with fault injection.

use async_trait::async_trait;

use super::{Faulty, Operation};
use crate::clock::Timestamp;
use crate::metadata::*;
use crate::oci::{Digest, RepoName, Tag};

#[async_trait]
impl<S: History> History for Faulty<S> {
    async fn tag_history(
        &self,
        repo: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>> {
        self.faults.apply(Operation::TagHistory, self.inner.tag_history(repo, tag, before, limit)).await
    }

    async fn rollback(
        &self,
        repo: &RepoName,
        tag: &Tag,
        to: Option<&Digest>,
        change: &Change,
    ) -> Result<TagRestoration> {
        self.faults.apply(Operation::Rollback, self.inner.rollback(repo, tag, to, change)).await
    }

    async fn restore_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<TagRestoration> {
        self.faults.apply(Operation::RestoreTag, self.inner.restore_tag(repo, tag, change)).await
    }

    async fn forget_history(&self, cutoff: Timestamp, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::ForgetHistory, self.inner.forget_history(cutoff, limit)).await
    }

    async fn record_pushes(&self, pushes: Vec<(RepoName, Tag, Digest, Timestamp)>) -> Result<()> {
        self.faults.apply(Operation::RecordPushes, self.inner.record_pushes(pushes)).await
    }
}

#[async_trait]
impl<S: Events> Events for Faulty<S> {
    async fn record_state(&self, at: Timestamp, state: EventDetails) -> Result<bool> {
        self.faults.apply(Operation::RecordState, self.inner.record_state(at, state)).await
    }

    async fn events(
        &self,
        kind: Option<EventKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<Event>> {
        self.faults.apply(Operation::Events, self.inner.events(kind, before, limit)).await
    }

    async fn forget_events(&self, cutoff: Option<Timestamp>, max: usize, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::ForgetEvents, self.inner.forget_events(cutoff, max, limit)).await
    }
}

#[async_trait]
impl<S: AuditLog> AuditLog for Faulty<S> {
    async fn record_audit(
        &self,
        new: Vec<(Audited, AuditTimes)>,
        again: Vec<(i64, AuditTimes)>,
    ) -> Result<Vec<i64>> {
        self.faults.apply(Operation::RecordAudit, self.inner.record_audit(new, again)).await
    }

    async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<AuditPage> {
        self.faults.apply(Operation::Audit, self.inner.audit(query, limit)).await
    }

    async fn forget_audit(&self, cutoff: Option<Timestamp>, max: usize, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::ForgetAudit, self.inner.forget_audit(cutoff, max, limit)).await
    }
}

#[async_trait]
impl<S: Trash> Trash for Faulty<S> {
    async fn removed_manifests(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedManifest>> {
        self.faults.apply(Operation::RemovedManifests, self.inner.removed_manifests(repo, after, limit)).await
    }

    async fn removed_tags(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedTag>> {
        self.faults.apply(Operation::RemovedTags, self.inner.removed_tags(repo, after, limit)).await
    }

    async fn restore_manifest(
        &self,
        repo: &RepoName,
        digest: &Digest,
        change: &Change,
    ) -> Result<Restoration> {
        self.faults.apply(Operation::RestoreManifest, self.inner.restore_manifest(repo, digest, change)).await
    }

    async fn oldest_trash(&self, limit: usize) -> Result<Vec<(RepoName, Digest)>> {
        self.faults.apply(Operation::OldestTrash, self.inner.oldest_trash(limit)).await
    }

    async fn empty_trash(&self, repo: Option<&RepoName>, cutoff: Timestamp, limit: usize) -> Result<Batch> {
        self.faults.apply(Operation::EmptyTrash, self.inner.empty_trash(repo, cutoff, limit)).await
    }
}

#[async_trait]
impl<S: Expiry> Expiry for Faulty<S> {
    async fn expire_tag(&self, expiry: ExpireTag) -> Result<Expired> {
        self.faults.apply(Operation::ExpireTag, self.inner.expire_tag(expiry)).await
    }

    async fn expire_manifest(&self, expiry: ExpireManifest) -> Result<Expired> {
        self.faults.apply(Operation::ExpireManifest, self.inner.expire_manifest(expiry)).await
    }
}

#[async_trait]
impl<S: RepositoryChanges> RepositoryChanges for Faulty<S> {
    async fn rename_repository(&self, from: &RepoName, to: &RepoName, change: &Change) -> Result<Renaming> {
        self.faults.apply(Operation::RenameRepository, self.inner.rename_repository(from, to, change)).await
    }

    async fn start_deletion(&self, repo: &RepoName, change: &Change) -> Result<Option<RepositoryWork>> {
        self.faults.apply(Operation::StartDeletion, self.inner.start_deletion(repo, change)).await
    }

    async fn start_restoration(
        &self,
        repo: &RepoName,
        removal: Option<i64>,
        change: &Change,
    ) -> Result<Option<RepositoryWork>> {
        self.faults
            .apply(Operation::StartRestoration, self.inner.start_restoration(repo, removal, change))
            .await
    }

    async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>> {
        self.faults.apply(Operation::RepositoryWork, self.inner.repository_work(limit)).await
    }

    async fn advance_repository(
        &self,
        repo: &RepoName,
        limit: usize,
        change: &Change,
    ) -> Result<Option<RepositoryStep>> {
        self.faults
            .apply(Operation::AdvanceRepository, self.inner.advance_repository(repo, limit, change))
            .await
    }

    async fn forget_repositories(&self, after: i64, limit: usize) -> Result<(Option<i64>, u64)> {
        self.faults.apply(Operation::ForgetRepositories, self.inner.forget_repositories(after, limit)).await
    }
}
