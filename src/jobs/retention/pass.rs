//! The job: a pass over all repositories, in bounded batches.

use std::sync::Arc;

use async_trait::async_trait;

use super::plan::PlanReport;
use super::policy_set::InForce;
use super::{AppliedReport, PAGE, Retention, RetentionError};
use crate::clock::Timestamp;
use crate::jobs::Job;
use crate::metadata::{Judged, RunCause};
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::traces;

/// A pass that has begun.
pub(super) struct Pass {
    in_force: Arc<InForce>,
    /// Until when what lost its last holder has been seen.
    began_at: Timestamp,
    /// The repository that was judged last.
    after: Option<RepoName>,
    /// The plan of a repository, and its next step.
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
    /// Does passes to their end: what a server does every interval.
    ///
    /// # Errors
    /// [`ServiceError`], of the first batch that failed.
    pub async fn run_to_end(&self) -> Result<(), ServiceError> {
        while traces::root("retention").run(self.batch()).await? {}
        Ok(())
    }

    /// A batch. `true` if the pass is not over.
    async fn batch(&self) -> Result<bool, ServiceError> {
        let Some(in_force) = self.unless_paused().await? else {
            return Ok(false);
        };
        let mut slot = self.pass.lock().await;
        // With other policies it begins anew.
        let begun = slot.take().filter(|pass| Arc::ptr_eq(&pass.in_force, &in_force));
        let mut pass = begun.unwrap_or_else(|| Pass::new(in_force, self.now()));
        let more = match pass.current.take() {
            Some((plan, from)) => {
                let steps = self.steps(&plan, None);
                let next = steps.run(from, self.settings.batch, false, &mut pass.done).await?;
                pass.current = next.map(|next| (plan, next));
                true
            }
            None => self.judge_next(&mut pass).await?,
        };
        if more {
            *slot = Some(pass);
        } else {
            self.finish(&pass).await?;
        }
        Ok(more)
    }

    /// Judges the next repository that a rule is for. `false` behind the last.
    async fn judge_next(&self, pass: &mut Pass) -> Result<bool, ServiceError> {
        let metadata = self.registry.metadata();
        let from = pass.after.as_ref().map(RepoName::as_str);
        let names = metadata.repositories(from, PAGE).await?;
        if names.is_empty() {
            return Ok(false);
        }
        self.registry.flush_pulls().await?;
        for repo in names {
            let now = self.now();
            let judged = self.judge(&pass.in_force.compiled, &repo, now, false).await?;
            pass.after = Some(repo.clone());
            let Some(mut rows) = judged else {
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
        let judged = Judged { at: pass.began_at, policies: pass.in_force.fingerprint.clone() };
        self.registry.metadata().note_judged(&judged).await?;
        self.lock().last_run = Some(self.now());
        self.conclude(&pass.done, RunCause::Interval, None, None).await
    }

    async fn unless_paused(&self) -> Result<Option<Arc<InForce>>, ServiceError> {
        let usable = match self.usable() {
            Ok(in_force) => self.trust_clock().await.map(|()| in_force),
            Err(error) => Err(error),
        };
        let (in_force, paused) = match usable {
            Ok(in_force) => (Some(in_force), None),
            Err(RetentionError::Service(fault)) => return Err(fault),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut status = self.lock();
        if let Some(reason) = &paused
            && status.paused.is_none()
        {
            tracing::warn!(reason, "retention pauses");
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
        traces::root("retention").run(self.batch()).await
    }
}
