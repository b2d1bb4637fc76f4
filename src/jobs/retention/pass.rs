//! The retention job: passes over all repositories, in bounded batches.

use std::sync::Arc;

use async_trait::async_trait;

use super::plan::PlanReport;
use super::policy_set::InForce;
use super::{AppliedReport, REPOSITORY_PAGE, Retention, RetentionError};
use crate::clock::Timestamp;
use crate::jobs::Job;
use crate::metadata::{EvaluationRecord, RunCause};
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::traces;

/// A pass in progress.
pub(super) struct Pass {
    in_force: Arc<InForce>,
    /// The start of the pass. It covers everything that became unreferenced before.
    began_at: Timestamp,
    /// The repository that was evaluated last.
    after: Option<RepoName>,
    /// The plan of the current repository, and its next step.
    current: Option<(PlanReport, usize)>,
    done: AppliedReport,
}

impl Pass {
    fn new(in_force: Arc<InForce>, began_at: Timestamp) -> Self {
        let done = AppliedReport { began_at, ..AppliedReport::default() };
        Self { in_force, began_at, after: None, current: None, done }
    }
}

impl Retention {
    /// Runs one pass to its end: what a server does every interval.
    ///
    /// # Errors
    /// Fails with the error of the first batch that failed.
    pub async fn run_to_end(&self) -> Result<(), ServiceError> {
        while traces::start_root("retention").run(self.batch()).await? {}
        Ok(())
    }

    /// Does one batch. Returns `true` if the pass has not ended.
    async fn batch(&self) -> Result<bool, ServiceError> {
        let Some(in_force) = self.unless_paused().await? else {
            return Ok(false);
        };
        let mut slot = self.pass.lock().await;
        // A pass starts over if the policies have changed.
        let current = slot.take().filter(|pass| Arc::ptr_eq(&pass.in_force, &in_force));
        let mut pass = current.unwrap_or_else(|| Pass::new(in_force, self.now()));
        let more = match pass.current.take() {
            Some((plan, from)) => {
                let steps = self.steps(&plan, None);
                let next = steps.run(from, self.settings.batch, false, &mut pass.done).await?;
                pass.current = next.map(|next| (plan, next));
                true
            }
            None => self.evaluate_next(&mut pass).await?,
        };
        if more {
            *slot = Some(pass);
        } else {
            self.finish(&pass).await?;
        }
        Ok(more)
    }

    /// Evaluates the next repository that a rule applies to. Returns `false` after the last one.
    async fn evaluate_next(&self, pass: &mut Pass) -> Result<bool, ServiceError> {
        let metadata = self.registry.metadata();
        let from = pass.after.as_ref().map(RepoName::as_str);
        let names = metadata.repositories(from, REPOSITORY_PAGE).await?;
        if names.is_empty() {
            return Ok(false);
        }
        self.registry.flush_pulls().await?;
        for repo in names {
            let now = self.now();
            let evaluated = self.evaluate(&pass.in_force.compiled, &repo, now, false).await?;
            pass.after = Some(repo.clone());
            let Some(mut rows) = evaluated else {
                metadata.set_pins(&repo, Vec::new()).await?;
                continue;
            };
            metadata.set_pins(&repo, rows.pins.clone()).await?;
            rows.leave_out_kept();
            let plan = PlanReport::new(&pass.in_force, now, false, vec![rows]);
            pass.current = (plan.steps() > 0).then_some((plan, 0));
            return Ok(true);
        }
        Ok(true)
    }

    async fn finish(&self, pass: &Pass) -> Result<(), ServiceError> {
        let record = EvaluationRecord { at: pass.began_at, policies: pass.in_force.fingerprint.clone() };
        self.registry.metadata().record_evaluation(&record).await?;
        self.lock().last_run = Some(self.now());
        self.record_run(&pass.done, RunCause::Interval, None, None).await
    }

    async fn unless_paused(&self) -> Result<Option<Arc<InForce>>, ServiceError> {
        let usable = match self.usable_policies() {
            Ok(in_force) => self.trust_clock().await.map(|()| in_force),
            Err(error) => Err(error),
        };
        let (in_force, paused) = match usable {
            Ok(in_force) => (Some(in_force), None),
            Err(RetentionError::Service(error)) => return Err(error),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut status = self.lock();
        if let Some(reason) = &paused
            && status.paused.is_none()
        {
            tracing::warn!(reason, "retention paused");
        }
        status.paused = paused;
        Ok(in_force)
    }
}

#[async_trait]
impl Job for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        traces::start_root("retention").run(self.batch()).await
    }
}
