//! Executes the steps of a plan. Each step is compared with the current state first.

use std::time::Duration;

use futures_util::future::join_all;

use super::plan::{PlanReport, Row};
use crate::clock::Timestamp;
use crate::metadata::{Change, ExpiryOutcome, ManifestExpiry, PinEffect, TagExpiry};
use crate::oci::{Digest, RepoName, Tag};
use crate::registry::{Registry, ServiceError};
use crate::retention::{Cause, Expiry};

/// The number of steps in flight at once. The store takes them in order and makes them durable together.
const CONCURRENT_STEPS: usize = 32;

/// The maximum number of skipped steps listed in a report.
const MAX_LISTED_SKIPS: usize = 1000;

/// The result of applying a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppliedReport {
    /// When the run started.
    pub began_at: Timestamp,
    /// The number of tags removed.
    pub tags: u64,
    /// The number of manifests moved to the trash directly; manifests that belong to them follow.
    pub manifests: u64,
    /// The number of steps skipped because something had changed.
    pub skipped: u64,
    /// The number of steps left out because they would free nothing: another registry's tree has the files too.
    pub futile: u64,
    /// The first skipped steps.
    pub skips: Vec<Skip>,
    /// Whether the run stopped early.
    pub stopped: bool,
}

/// A step that was skipped because its target has changed since it was evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The repository.
    pub repo: RepoName,
    /// The tag; `None` for a manifest.
    pub tag: Option<Tag>,
    /// The manifest, or the one the tag pointed at.
    pub digest: Digest,
}

/// The context in which steps are executed.
pub(super) struct Steps<'a> {
    pub(super) registry: &'a Registry,
    pub(super) plan: &'a PlanReport,
    /// The length of a lease: what a client with push access has checked for within this time stays.
    pub(super) lease: Duration,
    pub(super) by: Option<&'a str>,
}

impl Steps<'_> {
    /// Executes up to `limit` steps starting at `from`, and adds the results to `report`. Returns the next step; `None`
    /// after the last, or after a skipped step if `strict`.
    pub(super) async fn run(
        &self,
        from: usize,
        limit: usize,
        strict: bool,
        report: &mut AppliedReport,
    ) -> Result<Option<usize>, ServiceError> {
        // Pulls that are not recorded yet must count.
        self.registry.flush_pulls().await?;
        let end = from.saturating_add(limit).min(self.plan.steps());
        let mut next = from;
        while next < end {
            let until = end.min(next + if strict { 1 } else { CONCURRENT_STEPS });
            // Each step is handed to the store when it is first polled, so they keep this order.
            for (number, done) in (next..until).zip(join_all((next..until).map(|step| self.step(step))).await)
            {
                self.record_step(number, done?, report);
            }
            next = until;
            if strict && report.skipped > 0 {
                report.stopped = true;
                return Ok(None);
            }
        }
        Ok((next < self.plan.steps()).then_some(next))
    }

    async fn step(&self, number: usize) -> Result<ExpiryOutcome, ServiceError> {
        let Some((repo, row, expiry)) = self.plan.step(number) else {
            return Ok(ExpiryOutcome::Skipped);
        };
        let change = Change {
            by: self.by.map(str::to_owned),
            ..Change::from(self.registry.clock().now()).because(expiry.rule.to_string())
        };
        let repo = repo.clone();
        // Skips what was pulled after the evaluation.
        let pulled_before = Some(expiry.pulled_at.map_or(Timestamp(1), |at| at.plus(MILLISECOND)));
        let Row { digest, at, .. } = row;
        match &row.tag {
            Some(tag) => {
                let attached_to = match &expiry.cause {
                    Cause::Subject(subject) => Some(subject.clone()),
                    Cause::Rule | Cause::Tags | Cause::Index(_) => None,
                };
                self.registry
                    .expire_tag(TagExpiry {
                        repo,
                        tag: tag.clone(),
                        digest: digest.clone(),
                        updated_at: *at,
                        pulled_before,
                        attached_to,
                        lease: self.lease,
                        change,
                    })
                    .await
            }
            None => {
                let pin = if self.plan.pressure { PinEffect::Ignored } else { PinEffect::Protects };
                self.registry
                    .expire_manifest(ManifestExpiry {
                        repo,
                        digest: digest.clone(),
                        alone_at: *at,
                        pulled_before,
                        lease: self.lease,
                        pin,
                        change,
                    })
                    .await
            }
        }
    }

    fn record_step(&self, number: usize, done: ExpiryOutcome, report: &mut AppliedReport) {
        let Some((repo, row, expiry)) = self.plan.step(number) else {
            return;
        };
        match done {
            ExpiryOutcome::Removed { removed_manifest } => {
                report.tags += u64::from(row.tag.is_some());
                report.manifests += u64::from(removed_manifest);
                log_expiry(repo, row, expiry);
            }
            ExpiryOutcome::Skipped => {
                report.skipped += 1;
                if report.skips.len() < MAX_LISTED_SKIPS {
                    report.skips.push(Skip {
                        repo: repo.clone(),
                        tag: row.tag.clone(),
                        digest: row.digest.clone(),
                    });
                }
            }
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn log_expiry(repo: &RepoName, row: &Row, expiry: &Expiry) {
    let tag = row.tag.as_ref().map_or("", Tag::as_str);
    tracing::debug!(repository = %repo, tag, digest = %row.digest, rule = %expiry.rule, "expired");
}
