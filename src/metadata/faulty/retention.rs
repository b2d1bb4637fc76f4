//! Forwards the methods for snapshots, pins, policies and retention runs, with fault injection.

use async_trait::async_trait;

use super::{Faulty, Operation};
use crate::clock::Timestamp;
use crate::metadata::*;
use crate::oci::{Digest, RepoName};

#[async_trait]
impl<S: Snapshots> Snapshots for Faulty<S> {
    async fn retention_snapshot(
        &self,
        repo: &RepoName,
        query: &SnapshotQuery,
    ) -> Result<Option<LoadedSnapshot>> {
        self.faults.apply(Operation::RetentionSnapshot, self.inner.retention_snapshot(repo, query)).await
    }
}

#[async_trait]
impl<S: Pins> Pins for Faulty<S> {
    async fn set_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()> {
        self.faults.apply(Operation::SetPins, self.inner.set_pins(repo, pins)).await
    }

    async fn add_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()> {
        self.faults.apply(Operation::AddPins, self.inner.add_pins(repo, pins)).await
    }

    async fn pin(&self, repo: &RepoName, digest: &Digest) -> Result<Option<String>> {
        self.faults.apply(Operation::Pin, self.inner.pin(repo, digest)).await
    }

    async fn record_evaluation(&self, evaluation: &EvaluationRecord) -> Result<()> {
        self.faults.apply(Operation::RecordEvaluation, self.inner.record_evaluation(evaluation)).await
    }

    async fn last_evaluation(&self) -> Result<Option<EvaluationRecord>> {
        self.faults.apply(Operation::LastEvaluation, self.inner.last_evaluation()).await
    }
}

#[async_trait]
impl<S: PolicyRecords> PolicyRecords for Faulty<S> {
    async fn policies(&self) -> Result<Vec<PolicyRecord>> {
        self.faults.apply(Operation::Policies, self.inner.policies()).await
    }

    async fn set_policy(&self, record: PolicyRecord) -> Result<()> {
        self.faults.apply(Operation::SetPolicy, self.inner.set_policy(record)).await
    }

    async fn remove_policy(&self, name: &str, now: Timestamp, by: Option<&str>) -> Result<bool> {
        self.faults.apply(Operation::RemovePolicy, self.inner.remove_policy(name, now, by)).await
    }

    async fn policy_history(&self, before: Option<i64>, limit: usize) -> Result<Page<PolicyChange>> {
        self.faults.apply(Operation::PolicyHistory, self.inner.policy_history(before, limit)).await
    }
}

#[async_trait]
impl<S: RetentionRuns> RetentionRuns for Faulty<S> {
    async fn record_retention_run(&self, run: RetentionRun) -> Result<()> {
        self.faults.apply(Operation::RecordRetentionRun, self.inner.record_retention_run(run)).await
    }

    async fn retention_runs(&self, before: Option<i64>, limit: usize) -> Result<Page<RetentionRun>> {
        self.faults.apply(Operation::RetentionRuns, self.inner.retention_runs(before, limit)).await
    }
}
