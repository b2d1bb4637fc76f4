//! Doing what a plan says, compared step by step with what is there.

use std::time::Duration;

use futures_util::future::join_all;

use super::plan::{PlanReport, Row};
use crate::clock::Timestamp;
use crate::metadata::{Change, ExpireManifest, ExpireTag, Expired, PinHolds};
use crate::oci::{Digest, RepoName, Tag};
use crate::registry::{Registry, ServiceError};
use crate::retention::{Cause, Expiry};

/// How many steps are under way at once. The store takes them in their order and makes them durable together.
const TOGETHER: usize = 32;

/// How many skipped steps are told one by one.
const MOST_SKIPPED: usize = 1000;

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppliedReport {
    /// When it was begun.
    pub began_at: Timestamp,
    /// How many tags went.
    pub tags: u64,
    /// How many manifests went to the trash at once; what belongs to them follows.
    pub manifests: u64,
    /// How many steps were skipped, because something had changed.
    pub skipped: u64,
    /// The first of these.
    pub skips: Vec<Skip>,
    /// Whether it stopped at one.
    pub stopped: bool,
}

/// A step that was not done: what it is about is not what it was judged by any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// Whose.
    pub repo: RepoName,
    /// The tag; `None` for a manifest.
    pub tag: Option<Tag>,
    /// The manifest, or what the tag pointed at.
    pub digest: Digest,
}

/// What steps are done with.
pub(super) struct Steps<'a> {
    pub(super) registry: &'a Registry,
    pub(super) plan: &'a PlanReport,
    pub(super) lease: Duration,
    pub(super) by: Option<&'a str>,
}

impl Steps<'_> {
    /// Does up to `limit` steps from `from` on, and puts them into `report`. Where to go on; `None` after the
    /// last, or behind a change if it is `strict`.
    pub(super) async fn run(
        &self,
        from: usize,
        limit: usize,
        strict: bool,
        report: &mut AppliedReport,
    ) -> Result<Option<usize>, ServiceError> {
        // A pull that was not written down yet must count.
        self.registry.flush_pulls().await?;
        let end = from.saturating_add(limit).min(self.plan.steps());
        let mut next = from;
        while next < end {
            let until = end.min(next + if strict { 1 } else { TOGETHER });
            // Each is handed to the store when it is first looked at: in this order.
            for (number, done) in (next..until).zip(join_all((next..until).map(|step| self.step(step))).await)
            {
                self.note(number, done?, report);
            }
            next = until;
            if strict && report.skipped > 0 {
                report.stopped = true;
                return Ok(None);
            }
        }
        Ok((next < self.plan.steps()).then_some(next))
    }

    async fn step(&self, number: usize) -> Result<Expired, ServiceError> {
        let Some((repo, row, expiry)) = self.plan.step(number) else {
            return Ok(Expired::Changed);
        };
        let change = Change {
            by: self.by.map(str::to_owned),
            ..Change::from(self.registry.clock().now()).because(expiry.rule.to_string())
        };
        let repo = repo.clone();
        // Whatever of it was pulled since it was judged.
        let pulled_before = Some(expiry.pulled_at.map_or(Timestamp(1), |at| at.plus(MILLISECOND)));
        let Row { digest, at, .. } = row;
        match &row.tag {
            Some(tag) => {
                let (tag, digest, updated_at, lease) = (tag.clone(), digest.clone(), *at, self.lease);
                let attached_to = match &expiry.cause {
                    Cause::Subject(subject) => Some(subject.clone()),
                    Cause::Rule | Cause::Tags | Cause::Index(_) => None,
                };
                self.registry
                    .expire_tag(ExpireTag {
                        repo,
                        tag,
                        digest,
                        updated_at,
                        pulled_before,
                        attached_to,
                        lease,
                        change,
                    })
                    .await
            }
            None => {
                let (digest, alone_at, lease) = (digest.clone(), *at, self.lease);
                let pin = if self.plan.pressure { PinHolds::No } else { PinHolds::Yes };
                let expiry = ExpireManifest { repo, digest, alone_at, pulled_before, lease, pin, change };
                self.registry.expire_manifest(expiry).await
            }
        }
    }

    fn note(&self, number: usize, done: Expired, report: &mut AppliedReport) {
        let Some((repo, row, expiry)) = self.plan.step(number) else {
            return;
        };
        match done {
            Expired::Done { removed_manifest } => {
                report.tags += u64::from(row.tag.is_some());
                report.manifests += u64::from(removed_manifest);
                told(repo, row, expiry);
            }
            Expired::Changed => {
                report.skipped += 1;
                if report.skips.len() < MOST_SKIPPED {
                    let (repo, tag, digest) = (repo.clone(), row.tag.clone(), row.digest.clone());
                    report.skips.push(Skip { repo, tag, digest });
                }
            }
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn told(repo: &RepoName, row: &Row, expiry: &Expiry) {
    let tag = row.tag.as_ref().map_or("", Tag::as_str);
    tracing::debug!(repository = %repo, tag, digest = %row.digest, rule = %expiry.rule, "expired");
}
